"""Any form of the same samples gives the same score."""

from __future__ import annotations

import io
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from scipy.signal import resample_poly

from humwatch.recording import score_recording
from tests.coded_sounds import coded

EXACT = 1e-12


def post(client: httpx.Client, data: bytes, machine_id: str = "pump-2", **params: Any) -> httpx.Response:
    return client.post(
        "/score", params={"machine_id": machine_id, **params}, content=data, headers={"Content-Type": "audio/wav"}
    )


@pytest.fixture(scope="module")
def on_16_bits(workshop: Any) -> Any:
    """Normal and faulty sound, float32 on the grid of 16-bit samples, so that finer formats hold the same numbers."""
    return {
        name: (np.round(clip * 32768) / 32768).astype(np.float32)
        for name, clip in (("normal", workshop.normal()), ("faulty", workshop.faulty()))
    }


@pytest.fixture(scope="module")
def reference(server: Any, workshop: Any, on_16_bits: Any) -> Any:
    """What core says of the same samples, with no service in between."""
    machine = server.app.state.service.models.get("pump-2")

    def score(name: str) -> float:
        result = score_recording(
            io.BytesIO(workshop.encoded(on_16_bits[name])),
            machine.manifest.pipeline,
            lambda rate, channel: machine.bundle.monitor(machine.predictor, source_rate_hz=rate, channel=channel),
        )
        return result.worst.score

    return {name: score(name) for name in on_16_bits}


@pytest.mark.parametrize("name", ["normal", "faulty"])
@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_16"),
        ("WAVEX", "FLOAT"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
    ],
)
def test_every_format_gives_the_score_of_the_same_samples(
    client: httpx.Client, workshop: Any, on_16_bits: Any, reference: Any, name: str, form: str, subtype: str
) -> None:
    answer = post(client, workshop.encoded(on_16_bits[name], form=form, subtype=subtype))
    assert answer.status_code == 200, answer.text
    assert answer.json()["score"] == pytest.approx(reference[name], abs=EXACT)


def test_a_recording_whose_length_nobody_filled_in_gives_the_score_of_the_same_samples(
    client: httpx.Client, workshop: Any, on_16_bits: Any, reference: Any
) -> None:
    wav, rf64, flac = (workshop.encoded(on_16_bits["faulty"], form=form) for form in ("WAV", "RF64", "FLAC"))
    data, ds64 = wav.index(b"data") + 4, rf64.index(b"ds64") + 8
    total = 4 + 4 + 13
    unsized = {
        "size 0": wav[:4] + bytes(4) + wav[8:data] + bytes(4) + wav[data + 4 :],
        "4 GiB": wav[:data] + b"\xff" * 4 + wav[data + 4 :],
        "ds64 of ones": rf64[:ds64] + b"\xff" * 24 + rf64[ds64 + 24 :],
        "BW64, ds64 of zeros": b"BW64" + rf64[4:ds64] + bytes(24) + rf64[ds64 + 24 :],
        "FLAC": flac[:total] + bytes([flac[total] & 0xF0, 0, 0, 0, 0]) + flac[total + 5 :],
    }
    for name, sent in unsized.items():
        answer = post(client, sent)
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["score"] == pytest.approx(reference["faulty"], abs=EXACT), name
        assert answer.json()["duration_s"] == pytest.approx(len(on_16_bits["faulty"]) / 16_000)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus", "m4a", "aac", "wma", "aiff", "caf", "au", "w64", "alac"])
def test_what_phones_and_recorders_write_is_judged_and_its_coding_named(
    client: httpx.Client, on_16_bits: Any, kind: str
) -> None:
    faulty, normal = (
        post(client, coded(on_16_bits[name], 16_000, kind, bits_per_s=96_000)) for name in ("faulty", "normal")
    )
    assert faulty.status_code == 200, faulty.text
    warnings = {warning["code"]: warning["message"] for warning in faulty.json()["warnings"]}
    assert ("lossy_coded" in warnings) == (kind in ("mp3", "ogg", "opus", "m4a", "aac", "wma"))
    if "coarse_samples" in warnings:
        assert faulty.json()["state"] == "unknown"
    else:
        assert (faulty.json()["state"], normal.json()["state"] in ("normal", "warning")) == ("alarm", True)


def test_eight_bit_samples_are_scored_but_not_judged(client: httpx.Client, workshop: Any, on_16_bits: Any) -> None:
    answer = post(client, workshop.encoded(on_16_bits["faulty"], subtype="PCM_U8"))
    assert answer.status_code == 200
    assert answer.json()["state"] == "unknown"
    assert "coarse_samples" in [warning["code"] for warning in answer.json()["warnings"]]


def test_eight_channels_of_wave_format_extensible(
    client: httpx.Client, workshop: Any, on_16_bits: Any, reference: Any
) -> None:
    channels = np.stack([on_16_bits["normal"]] * 3 + [on_16_bits["faulty"]] + [on_16_bits["normal"]] * 4, axis=1)
    data = workshop.encoded(channels, form="WAVEX")
    assert struct.unpack("<H", data[20:22])[0] == 0xFFFE
    default = post(client, data).json()
    assert default["score"] == pytest.approx(reference["normal"], abs=EXACT)
    assert "channel_selected" in {warning["code"] for warning in default["warnings"]}
    chosen = post(client, data, channel=3).json()
    assert chosen["score"] == pytest.approx(reference["faulty"], abs=EXACT)
    assert "channel_selected" not in {warning["code"] for warning in chosen["warnings"]}


@pytest.mark.parametrize("channels", range(1, 17))
def test_one_to_sixteen_channels(
    client: httpx.Client, workshop: Any, on_16_bits: Any, reference: Any, channels: int
) -> None:
    sound = np.zeros((len(on_16_bits["normal"]), channels), np.float32)
    sound[:, -1] = on_16_bits["normal"]
    answer = post(client, workshop.encoded(sound), channel=channels - 1)
    assert answer.status_code == 200
    assert answer.json()["score"] == pytest.approx(reference["normal"], abs=EXACT)


@pytest.mark.parametrize(("rate_hz", "up", "down"), [(44_100, 441, 160), (48_000, 3, 1), (96_000, 6, 1)])
def test_higher_rates_are_resampled_and_say_so(
    client: httpx.Client, workshop: Any, on_16_bits: Any, rate_hz: int, up: int, down: int
) -> None:
    states = {}
    for name, sound in on_16_bits.items():
        data = workshop.encoded(resample_poly(sound, up, down).astype(np.float32), rate_hz, subtype="PCM_24")
        answer = post(client, data).json()
        states[name] = answer["state"]
        assert "resampled" in {warning["code"] for warning in answer["warnings"]}
        assert answer["duration_s"] == pytest.approx(len(sound) / 16_000, abs=1e-3)
    assert states == {"normal": "normal", "faulty": "alarm"}


def test_at_8_khz_the_state_is_unknown(client: httpx.Client, workshop: Any, on_16_bits: Any) -> None:
    data = workshop.encoded(resample_poly(on_16_bits["normal"], 1, 2).astype(np.float32), 8_000)
    answer = post(client, data)
    assert answer.status_code == 200
    assert answer.json()["state"] == "unknown"
    assert "bandwidth_limited" in {warning["code"] for warning in answer.json()["warnings"]}


def test_silence_is_unknown(client: httpx.Client, workshop: Any) -> None:
    answer = post(client, workshop.encoded(np.zeros(5 * 16_000, np.float32))).json()
    assert answer["state"] == "unknown"
    assert "silent" in {warning["code"] for warning in answer["warnings"]}


def test_shorter_than_a_clip_is_decided_by_its_worst_second(client: httpx.Client, workshop: Any) -> None:
    answer = post(client, workshop.encoded(workshop.faulty(seconds=2.0))).json()
    assert answer["score_scale"] == "step"
    assert all(moment["clip_score"] is None for moment in answer["timeline"])
    assert "shorter_than_clip" in {warning["code"] for warning in answer["warnings"]}


def test_all_ways_to_send_a_recording_give_the_same_answer(client: httpx.Client, workshop: Any) -> None:
    data = workshop.encoded(workshop.faulty())
    answers = [
        post(client, data),
        client.post("/score?machine_id=pump-2", content=data, headers={"Content-Type": "application/octet-stream"}),
        client.post("/score?machine_id=pump-2", content=iter([data[:1000], data[1000:]])),
        client.post("/v1/machines/pump-2/score", content=data, headers={"Content-Type": "audio/flac"}),
        client.post("/score", data={"machine_id": "pump-2"}, files={"file": ("a.wav", data, "audio/wav")}),
        client.post("/score", data={"machine_id": "pump-2", "channel": "0"}, files={"file": ("a", data)}),
        client.post("/score?machine_id=pump-2", files={"file": ("a.txt", data, "text/plain")}),
        client.post("/v1/machines/pump-2/score?channel=0", files={"file": ("a.wav", data)}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert {**answer.json(), "request_id": ""} == {**answers[0].json(), "request_id": ""}
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]


def test_the_answer_is_consistent(client: httpx.Client, workshop: Any) -> None:
    answer = post(client, workshop.encoded(workshop.faulty(seconds=9.3))).json()
    assert answer["state"] == "alarm"
    assert answer["score"] > answer["thresholds"]["alarm"] == 1.0 > answer["thresholds"]["warn"] > 0
    assert answer["raw_score"] > answer["raw_thresholds"]["alarm"] > answer["raw_thresholds"]["warn"]
    assert answer["score"] == max(moment["clip_score"] or 0.0 for moment in answer["timeline"])
    assert answer["worst"]["end_s"] - answer["worst"]["start_s"] == pytest.approx(4.0, abs=0.05)
    assert answer["timeline"][-1]["end_s"] <= answer["duration_s"] == pytest.approx(9.3)
    squeal = answer["bands"][0]
    assert squeal["low_hz"] < 3_100 < squeal["high_hz"]
    assert squeal["departure_db"] > 3
    alarms = answer["expected_false_alarms_a_day"]
    assert alarms["low"] < alarms["value"] < alarms["high"]
    assert not alarms["promised"]


@pytest.mark.parametrize(
    ("params", "accept", "media_type"),
    [
        ({}, "*/*", "application/json"),
        ({}, "image/png", "image/png"),
        ({}, "image/png;q=0.5, application/json", "application/json"),
        ({}, "text/html, image/png, */*;q=0.8", "image/png"),
        ({}, "nonsense;;q=x,", "application/json"),
        ({"plot": "png"}, "application/json", "image/png"),
    ],
)
def test_a_picture_is_sent_to_who_wants_one(
    client: httpx.Client, workshop: Any, params: dict[str, str], accept: str, media_type: str
) -> None:
    answer = client.post(
        "/v1/machines/pump-2/score",
        params=params,
        content=workshop.encoded(workshop.faulty()),
        headers={"Accept": accept, "Content-Type": "audio/wav"},
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    if media_type == "image/png":
        assert answer.content.startswith(b"\x89PNG")
        assert answer.headers["X-Humwatch-State"] == "alarm"
        assert float(answer.headers["X-Humwatch-Score"]) > 1
