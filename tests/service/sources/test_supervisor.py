"""Sound that the service fetches itself."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch_service.config.sources import FolderSource, LoopSource, SoundCardSource
from humwatch_service.config.webhooks import WebhookSettings

RATE_HZ = 16_000


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def status(server: Any, machine_id: str = "pump-2") -> Any:
    return server.http.get(f"/v1/machines/{machine_id}/status").json()


def record(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")


@pytest.mark.slow
def test_a_loop_is_heard_in_real_time(make_server: Callable[..., Any], workshop: Any, tmp_path: Path) -> None:
    record(tmp_path / "a.wav", workshop.normal(500, 3.0))
    source = LoopSource(kind="loop", machine="pump-2", files=(tmp_path / "a.wav",) * 2)
    server = make_server(sources=(source,))
    first = until(lambda: status(server)["stream"])
    began_s = time.monotonic()
    assert (first["connected"], first["rate_hz"], first["realtime"]) == (True, RATE_HZ, True)
    found = until(lambda: (found := status(server))["state"] == "normal" and found)
    heard_s = (found["stream"]["samples"] - first["samples"]) / RATE_HZ
    assert heard_s == pytest.approx(time.monotonic() - began_s, abs=1.0)


@pytest.mark.slow
def test_a_watched_folder_is_heard_file_by_file(make_server: Callable[..., Any], workshop: Any, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    record(folder / "0-old.wav", workshop.faulty(510))
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.2)
    server = make_server(sources=(source,))
    until(lambda: server.app.state.service.live.machines.by_id)
    time.sleep(0.5)
    for number in range(3):
        record(folder / f"{number + 1}.wav", workshop.normal(511 + number))
    (folder / "4.wav").write_bytes(b"this is no recording")
    (folder / "notes.txt").write_text("nor this")
    found = until(lambda: (found := status(server))["state"] == "normal" and found)
    until(lambda: status(server)["stream"]["samples"] == 3 * 5 * RATE_HZ)
    assert found["stream"]["realtime"] is False
    record(folder / "5.wav", workshop.normal(520))
    until(lambda: status(server)["stream"]["samples"] == 4 * 5 * RATE_HZ)
    assert sorted(path.name for path in folder.iterdir()) == [
        "0-old.wav",
        "1.wav",
        "2.wav",
        "3.wav",
        "4.wav",
        "5.wav",
        "notes.txt",
    ]


def test_files_of_a_folder_may_be_deleted_once_they_were_heard(
    make_server: Callable[..., Any], workshop: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    record(folder / "1.wav", workshop.normal(530))
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, delete=True)
    server = make_server(sources=(source,))
    until(lambda: not list(folder.iterdir()))
    assert status(server)["stream"]["samples"] == 5 * RATE_HZ


@pytest.mark.slow
def test_a_file_that_is_still_written_is_not_read(
    make_server: Callable[..., Any], workshop: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=1.5)
    server = make_server(sources=(source,))
    until(lambda: server.app.state.service.live.machines.by_id)
    time.sleep(0.5)
    record(tmp_path / "whole.wav", workshop.normal(540))
    data = (tmp_path / "whole.wav").read_bytes()
    with (folder / "1.wav").open("wb") as file:
        for at in range(0, len(data), len(data) // 4):
            file.write(data[at : at + len(data) // 4])
            file.flush()
            time.sleep(0.7)
            assert status(server)["stream"] is None
    until(lambda: (status(server)["stream"] or {}).get("samples") == 5 * RATE_HZ)


def test_a_folder_or_a_card_that_is_not_there_is_tried_again(
    make_server: Callable[..., Any], workshop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "later"
    sources = (
        FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, delete=True),
        SoundCardSource(kind="sound_card", machine="fan-1", device="no such card"),
    )
    server = make_server(sources=sources)
    until(lambda: {"file_unreadable", "sound_device_unavailable"} <= codes(caplog))
    assert server.http.get("/readyz").status_code == 200
    folder.mkdir()
    record(folder / "1.wav", workshop.normal(550))
    until(lambda: (status(server)["stream"] or {}).get("samples") == 5 * RATE_HZ)
    assert status(server, "fan-1")["reasons"] == ["no_sound"]


def codes(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.msg["code"] for record in caplog.records if isinstance(record.msg, dict) and "code" in record.msg}


def test_an_alarm_of_a_loop_reaches_a_webhook(make_server: Callable[..., Any], workshop: Any, tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        folder = tmp_path / "incoming"
        folder.mkdir()
        for number in range(4):
            record(folder / f"{number}.wav", workshop.faulty(560 + number))
        webhook = WebhookSettings(
            name="cmms",
            url=f"http://127.0.0.1:{receiver.server_port}/hook",
            secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        server = make_server(
            sources=(FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, delete=True),),
            webhooks=(webhook,),
            webhook_hosts=("127.0.0.1",),
        )
        until(lambda: got)
        assert got[0]["type"] == "alarm.raised"
        assert got[0]["data"]["alarm_id"] == "pump-2-000001"
        health = until(lambda: (h := server.http.get("/healthz").json())["webhooks"][0]["delivered"] and h)
        assert (health["webhooks"][0]["name"], health["webhooks"][0]["circuit"]) == ("cmms", "closed")
        assert health["live_streams"] == 1
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


def test_two_services_do_not_share_a_state_folder(make_server: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first = make_server(state_dir=folder)
    assert first.http.get("/readyz").status_code == 200
    second = make_server(state_dir=folder)
    answer = second.http.get("/readyz")
    assert answer.status_code == 503
    assert "in use by another humwatch" in str(answer.json()["reasons"])
    refused = second.http.get("/v1/machines/pump-2/status")
    assert (refused.status_code, refused.json()["code"]) == (503, "state_unusable")


def test_a_machine_that_leaves_and_comes_back_goes_on_counting_its_alarms(
    make_server: Callable[..., Any], models: Path, workshop: Any, tmp_path: Path
) -> None:
    server = make_server()
    headers = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000"}
    sound = (np.concatenate([workshop.faulty(570 + i) for i in range(4)]) * 32_767).astype("<i2").tobytes()
    url = "/v1/machines/pump-2/stream?realtime=false"
    assert "pump-2-000001" in server.http.post(url, content=sound, headers=headers).text
    server.http.post("/v1/alarms/pump-2-000001:ack", json={"who": "ann"})
    shutil.move(models / "pump-2", tmp_path / "away")
    server.http.post("/v1/models:reload")
    assert server.http.get("/v1/machines/pump-2/status").status_code == 404
    shutil.move(tmp_path / "away", models / "pump-2")
    server.http.post("/v1/models:reload")
    found = status(server)
    assert (found["alarm_id"], found["acknowledged"]["who"]) == ("pump-2-000001", "ann")


def test_recordings_of_a_day_ago_raise_an_alarm_of_a_day_ago(
    make_server: Callable[..., Any], workshop: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "incoming" / "2026"
    folder.mkdir(parents=True)
    began_s = int(time.time()) - 86_400.0
    for number in range(6):
        sound = workshop.normal(600 + number) if number < 2 else workshop.faulty(600 + number)
        name = datetime.fromtimestamp(began_s + 5 * number, UTC).strftime("take_%Y-%m-%dT%H-%M-%SZ.wav")
        record(folder / name, sound)
    source = FolderSource(kind="folder", machine="pump-2", folder=folder.parent, settle_s=0.1, existing="hear")
    server = make_server(sources=(source,))
    alarms = until(lambda: server.http.get("/v1/alarms").json()["alarms"])
    assert began_s + 10.0 < alarms[0]["raised_s"] < began_s + 31.0
    found = until(lambda: (found := server.http.get("/v1/sources").json()["folders"][0])["waiting"] == 0 and found)
    assert found["recordings"] == {"heard": 6}
    assert found["newest_recorded_s"] == began_s + 25.0


def test_recordings_that_cannot_be_used_are_counted_and_the_others_are_heard(
    make_server: Callable[..., Any], workshop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    record(folder / "1.wav", workshop.normal(610))
    (folder / "2.wav").write_bytes((folder / "1.wav").read_bytes()[:40_000])  # truncated
    (folder / "3.wav").write_bytes(b"this is no recording")
    (folder / "4.wav").touch()
    record(folder / "5.wav", workshop.normal(611)[:1_000], rate_hz=500)
    record(folder / "6.wav", workshop.normal(612))
    for number in range(1, 7):
        os.utime(folder / f"{number}.wav", (1_790_000_000 + 10 * number,) * 2)
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, existing="hear")
    server = make_server(sources=(source,))

    def counts() -> Any:
        return server.http.get("/v1/sources").json()["folders"][0]["recordings"]

    expected = {"heard": 2, "unreadable": 1, "unsupported": 2, "empty": 1}
    until(lambda: counts() == expected)
    skipped = [record.msg for record in caplog.records if "skipped" in str(record.msg)]
    assert {one["recording"]: one["outcome"] for one in skipped} == {
        "2.wav": "unreadable",
        "3.wav": "unsupported",
        "4.wav": "empty",
        "5.wav": "unsupported",
    }
    text = server.http.get("/metrics").text
    assert 'humwatch_folder_recordings_total{machine_id="pump-2",outcome="unreadable"} 1.0' in text
    assert 'humwatch_folder_recordings_total{machine_id="pump-2",outcome="heard"} 2.0' in text
    assert 'humwatch_folder_recordings_pending{machine_id="pump-2"} 0.0' in text


def test_a_folder_that_is_away_for_a_while_is_heard_on_where_it_was(
    serving: Callable[..., Any], workshop: Any, tmp_path: Path
) -> None:
    folder, away = tmp_path / "incoming", tmp_path / "away"
    folder.mkdir()
    state_dir = tmp_path / "state-of-two"
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, existing="hear")
    for number in range(2):
        record(folder / f"{number}.wav", workshop.normal(620 + number))
    with serving(sources=(source,), state_dir=state_dir) as server:
        until(lambda: (status(server)["stream"] or {}).get("samples") == 2 * 5 * RATE_HZ)
    folder.rename(away)
    folder.mkdir()  # where nothing is mounted
    with serving(sources=(source,), state_dir=state_dir) as server:
        until(lambda: server.app.state.service.live.machines.by_id)
        folder.rmdir()
        away.rename(folder)
        record(folder / "2.wav", workshop.normal(622))
        until(lambda: (status(server)["stream"] or {}).get("samples", 0) >= 14 * RATE_HZ)
        found = server.http.get("/v1/sources").json()["folders"][0]
        assert found["recordings"] == {"heard": 3}
