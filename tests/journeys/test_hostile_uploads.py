"""Whatever is sent: the right 4xx with a code of its own, bounded memory, and a service that lives on."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile

from tests.coded_sounds import THROUGH_LIBSNDFILE, THROUGH_PYAV, coded


def post(client: httpx.Client, data: bytes, machine_id: str = "pump-2", **params: Any) -> httpx.Response:
    return client.post(
        "/score", params={"machine_id": machine_id, **params}, content=data, headers={"Content-Type": "audio/wav"}
    )


def wav(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate_hz: int = 16_000,
    bits: int = 16,
    block: int | None = None,
    claimed: int | None = None,
) -> bytes:
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    head = struct.pack("<4sI", b"data", len(data) if claimed is None else claimed)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(fmt) + len(head) + len(data), b"WAVE") + fmt + head + data


SECOND = b"\x01\x02" * 16_000


def not_a_number() -> bytes:
    samples = np.full(80_000, 0.1, np.float32)
    samples[40_000] = np.nan
    return wav(samples.tobytes(), tag=3, bits=32)


def flac_silence(frames: int, channels: int, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate_hz, channels, "PCM_16", format="FLAC") as file:
        block = np.zeros((1 << 16, channels), np.int16)
        for start in range(0, frames, len(block)):
            file.write(block[: min(len(block), frames - start)])
    return buffer.getvalue()


HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "text": (b"this is not sound, whatever its name says\n" * 100, 415, "audio_format_unsupported"),
    "mp3 in wav": (wav(SECOND * 5, tag=0x55), 415, "audio_format_unsupported"),
    "empty": (b"", 422, "audio_empty"),
    "no samples": (wav(b""), 422, "audio_empty"),
    "truncated": (wav(SECOND * 5)[:-1000], 422, "audio_truncated"),
    "lying length": (wav(SECOND * 5, claimed=0x6FFF_0000), 422, "audio_truncated"),
    "lying block": (wav(SECOND * 5, block=7), 422, "audio_header_invalid"),
    "no data chunk": (wav(SECOND * 5)[:36], 422, "audio_header_invalid"),
    "0 channels": (wav(SECOND * 5, channels=0, block=0), 422, "audio_header_invalid"),
    "0 Hz": (wav(SECOND * 5, rate_hz=0), 422, "audio_rate_unsupported"),
    "4 GHz": (wav(SECOND * 5, rate_hz=0xFFFF_FFFF), 422, "audio_rate_unsupported"),
    "65,535 channels": (wav(SECOND * 5, channels=65_535), 422, "audio_too_many_channels"),
    "17 channels": (wav(SECOND * 17, channels=17), 422, "audio_too_many_channels"),
    "not a number": (not_a_number(), 422, "audio_not_finite"),
    "too short": (wav(SECOND[:3200]), 422, "audio_too_short"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_each_kind_of_bad_sound_has_a_code_of_its_own(client: httpx.Client, name: str) -> None:
    data, status, code = HOSTILE[name]
    for answer in (
        post(client, data),
        client.post("/score", data={"machine_id": "pump-2"}, files={"file": ("a.wav", data, "audio/wav")}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert answer.json()["detail"]
    assert client.get("/livez").text == "ok"


def test_too_long_is_known_from_the_header(make_server: Any, workshop: Any) -> None:
    http = make_server(max_duration_s=6.0).http
    assert post(http, workshop.encoded(workshop.normal(seconds=5.0))).status_code == 200
    answer = post(http, workshop.encoded(workshop.normal(seconds=7.0)))
    assert (answer.status_code, answer.json()["code"]) == (413, "audio_too_long")


def test_too_many_samples_is_known_from_the_header(make_server: Any) -> None:
    http = make_server(max_decoded_samples=1_000_000).http
    answer = post(http, flac_silence(200_000, 8, 16_000))
    assert (answer.status_code, answer.json()["code"]) == (413, "audio_too_large")


@pytest.mark.parametrize(
    ("kind", "code"), [("m4a", "audio_too_long"), ("opus", "audio_too_long"), ("mka", "audio_too_long")]
)
def test_minutes_of_silence_in_a_few_bytes_are_bounded(make_server: Any, kind: str, code: str) -> None:
    data = coded(np.zeros(48_000 * 120, np.float32), 48_000, kind, bits_per_s=6_000)
    assert len(data) < 400_000
    answer = post(make_server(max_duration_s=60.0).http, data)
    assert (answer.status_code, answer.json()["code"]) == (413, code)


@pytest.mark.parametrize("kind", [*THROUGH_PYAV, *THROUGH_LIBSNDFILE])
def test_random_damage_to_any_form_never_breaks_the_service(client: httpx.Client, workshop: Any, kind: str) -> None:
    rng = np.random.default_rng(7)
    rate_hz = {"mka": 48_000, "3gp": 8_000, "amr": 8_000}.get(kind, 16_000)
    whole = coded(workshop.normal(seconds=1.5), rate_hz, kind)
    for _ in range(8):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(400, len(whole)), 4):
            damaged[at] = rng.integers(0, 256)
        assert post(client, bytes(damaged)).status_code in (200, 413, 415, 422)
    assert client.get("/readyz").status_code == 200


BOMB_PROBE = """
    import io, resource, sys, threading
    from pathlib import Path
    import httpx
    from humwatch_service.app import create_app
    from humwatch_service.web.server import listen, server_of
    from humwatch_service.config.settings import Settings

    settings = Settings(models_dir=Path(sys.argv[1]), port=0, score_workers=1, max_decoded_samples=60_000_000)
    app = create_app(settings)
    listening = listen("127.0.0.1", 0)
    server = server_of(app, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not app.state.service.models.loaded:
        pass
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/machines/pump-2/score"
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with httpx.Client(trust_env=False, timeout=60) as http:
        small = Path(sys.argv[2]).read_bytes()
        assert http.post(url, content=small, headers={"Content-Type": "audio/wav"}).status_code == 200
        before = peak()
        for bomb in sys.argv[3:]:
            answer = http.post(url, content=Path(bomb).read_bytes(), headers={"Content-Type": "audio/flac"})
            print(answer.status_code, answer.json().get("code") or answer.json()["state"], peak() - before)
    server.should_exit = True
    thread.join()
"""


@pytest.mark.process
def test_a_bomb_takes_no_memory(tmp_path: Path, shared_models: Path, workshop: Any) -> None:
    small, refused, taken = tmp_path / "small.wav", tmp_path / "refused.flac", tmp_path / "taken.flac"
    small.write_bytes(workshop.encoded(workshop.normal()))
    # 268 MB as float32, and over the limit of the probe.
    refused.write_bytes(flac_silence(1 << 23, 8, 192_000))
    # 192 MB as float32, and within all limits: decoded block by block.
    taken.write_bytes(flac_silence(6_000_000, 8, 96_000))
    assert refused.stat().st_size < 1 << 20
    probe = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMB_PROBE), shared_models, small, refused, taken],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert probe.returncode == 0, probe.stderr
    first, second = (line.split() for line in probe.stdout.splitlines())
    assert first[:2] == ["413", "audio_too_large"]
    assert second[:2] == ["200", "unknown"]
    assert int(first[2]) < 30
    assert int(second[2]) < 60, "MiB of resident memory more than a small recording takes"


@pytest.mark.parametrize(
    "machine_id", ["../pump-2", "..", "a\0b", "x" * 10_000, "Pump-2", "pump 2", "%00", "é", "-a", "pump-2/1"]
)
def test_what_is_no_machine_id_is_refused(client: httpx.Client, workshop: Any, machine_id: str) -> None:
    data = workshop.encoded(workshop.normal(seconds=1.5))
    answers = [
        post(client, data, machine_id),
        client.post("/score", data={"machine_id": machine_id}, files={"file": ("a.wav", data)}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "machine_id_invalid")
        assert len(answer.text) < 1_000
    in_path = client.post(
        f"/v1/machines/{quote(machine_id, safe='')}/score", content=data, headers={"Content-Type": "audio/wav"}
    )
    assert in_path.status_code in (404, 422)
    assert client.get(f"/v1/machines/{quote(machine_id, safe='')}").status_code in (404, 422)


def test_an_unknown_machine_is_not_found(client: httpx.Client) -> None:
    answer = post(client, SECOND, "nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")


def test_a_machine_id_of_any_length_is_answered_not_cut_off(client: httpx.Client) -> None:
    answer = client.get("/v1/machines/" + "x" * 10_000)
    assert (answer.status_code, answer.json()["code"]) == (422, "machine_id_invalid")


@pytest.mark.parametrize(
    ("send", "status", "code"),
    [
        ({"content": SECOND, "headers": {"Content-Type": "application/json"}}, 415, "media_type_unsupported"),
        ({"data": {"machine_id": "pump-2"}}, 415, "media_type_unsupported"),
        ({"content": SECOND, "headers": {"Content-Encoding": "gzip"}}, 415, "media_type_unsupported"),
        ({"files": {"other": (None, "text")}}, 422, "request_invalid"),
        ({"files": {"file": (None, "text")}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND)), ("file", ("b", SECOND))]}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": {"channel": "one"}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": {"channel": "9" * 5000}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": {"machine_id": "fan-1"}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": {"machine_id": ["pump-2"] * 2}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": {"colour": "red"}}, 422, "request_invalid"),
        ({"files": [("file", ("a", SECOND))], "data": dict.fromkeys("abcdefghijk", "x")}, 400, "request_malformed"),
        ({"files": [("file", ("a", SECOND))], "data": {"channel": "1" * 100_000}}, 400, "request_malformed"),
        ({"content": b"xx", "headers": {"Content-Type": "multipart/form-data"}}, 400, "request_malformed"),
        ({"content": b"xx", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "request_malformed"),
        ({"content": SECOND, "params": {"machine_id": "pump-2", "channel": -1}}, 422, "request_invalid"),
        ({"content": SECOND, "params": {"machine_id": "pump-2", "plot": "gif"}}, 422, "request_invalid"),
        ({"content": wav(SECOND * 5), "params": {"machine_id": "pump-2", "channel": 3}}, 422, "audio_channel_missing"),
    ],
)
def test_bad_requests_are_named(client: httpx.Client, send: dict[str, Any], status: int, code: str) -> None:
    answer = client.post("/score", **{"params": {"machine_id": "pump-2"}, **send})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert len(answer.text) < 2_000


def test_without_a_machine_id_the_answer_says_so(client: httpx.Client) -> None:
    answer = client.post("/score", content=SECOND)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert "machine_id" in answer.json()["detail"]


def test_random_damage_to_a_header_never_breaks_the_service(client: httpx.Client, workshop: Any) -> None:
    rng = np.random.default_rng(5)
    for form in ("WAV", "WAVEX", "FLAC"):
        whole = workshop.encoded(workshop.normal(seconds=1.5), form=form)
        for _ in range(25):
            damaged = bytearray(whole)
            for at in rng.integers(0, 90, 3):
                damaged[at] = rng.integers(0, 256)
            assert post(client, bytes(damaged)).status_code in (200, 413, 415, 422)
    assert client.get("/readyz").status_code == 200
