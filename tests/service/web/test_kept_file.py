"""Files that are replaced or deleted while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from humwatch.alarm.events import AlarmEvent, AlarmSnapshot
from humwatch_service.errors import EvidenceGone
from humwatch_service.storage.evidence import CLIP, EvidenceFolder
from humwatch_service.storage.records import MachineChange
from humwatch_service.web.kept_file import kept_file

ALARM = "pump-2-000001"
RATE_HZ = 16_000


@pytest.fixture
def server(make_server: Any) -> Any:
    """A service with an alarm, of whose sound the end is missing."""
    server = make_server()
    state = server.app.state.service.state
    raised = AlarmEvent("raised", 1e9, "normal", "alarm", alarm=1, score=2.0)
    state.store.commit(MachineChange(machine_id="pump-2", snapshot=AlarmSnapshot(), events=(raised,)))
    state.evidence.write_clip(ALARM, noise(20), RATE_HZ, partial=True)
    return server


def noise(seconds: int) -> np.ndarray:
    return np.random.default_rng(seconds).integers(-9_000, 9_000, seconds * RATE_HZ).astype(np.int16)


def asked(app: Any, path: str, meanwhile: Callable[[], object], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask the app, and let something happen when its headers are sent; return status, headers and body."""
    start: dict[str, Any] = {}
    body = bytearray()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            meanwhile()
        else:
            body.extend(message.get("body", b""))

    async def receive() -> Any:
        if start:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    asyncio.run(app(scope, receive, send))
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, bytes(body)


@pytest.mark.parametrize("whole_s", [10, 40], ids=["shorter", "longer"])
def test_a_clip_that_is_replaced_while_it_is_sent_is_sent_as_it_was(server: Any, whole_s: int) -> None:
    evidence: EvidenceFolder = server.app.state.service.state.evidence
    before = evidence.clip_path(ALARM).read_bytes()
    status, headers, body = asked(
        server.app,
        f"/v1/alarms/{ALARM}/clip.flac",
        lambda: evidence.write_clip(ALARM, noise(whole_s), RATE_HZ, partial=False),
    )
    assert (status, headers["content-length"]) == (200, str(len(before)))
    assert body == before
    assert evidence.state(ALARM) == "kept"


def test_a_range_is_of_the_file_that_its_size_is_of(server: Any) -> None:
    evidence: EvidenceFolder = server.app.state.service.state.evidence
    before = evidence.clip_path(ALARM).read_bytes()
    status, headers, body = asked(
        server.app,
        f"/v1/alarms/{ALARM}/clip.flac",
        lambda: evidence.write_clip(ALARM, noise(40), RATE_HZ, partial=False),
        range="bytes=100000-",
    )
    assert (status, headers["content-range"]) == (206, f"bytes 100000-{len(before) - 1}/{len(before)}")
    assert body == before[100_000:]


def test_a_picture_that_is_deleted_while_it_is_sent_is_sent(server: Any) -> None:
    evidence: EvidenceFolder = server.app.state.service.state.evidence
    evidence.write_picture(ALARM, b"picture" * 100_000)
    status, _, body = asked(
        server.app,
        f"/v1/alarms/{ALARM}/picture.png",
        lambda: evidence.enforce(4e9, ()),
    )
    assert (status, body) == (200, b"picture" * 100_000)
    assert server.http.get(f"/v1/alarms/{ALARM}/picture.png").status_code == 410


def test_a_file_that_goes_before_it_is_opened_is_looked_for_again(tmp_path: Path) -> None:
    found = iter([tmp_path / "gone", tmp_path / "there"])
    (tmp_path / "there").write_bytes(b"sound")
    answer = asyncio.run(kept_file(lambda: next(found), media_type="audio/flac"))
    assert asked(answer, "/", lambda: None)[2] == b"sound"


def test_a_clip_that_becomes_whole_between_two_looks_is_found(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence: EvidenceFolder = server.app.state.service.state.evidence
    is_file = Path.is_file

    def looked(path: Path) -> bool:
        found = is_file(path)
        if path.name == CLIP and not found:
            monkeypatch.undo()
            evidence.write_clip(ALARM, noise(40), RATE_HZ, partial=False)
        return found

    monkeypatch.setattr(Path, "is_file", looked)
    assert evidence.clip_path(ALARM).name == CLIP
    with pytest.raises(EvidenceGone):
        evidence.clip_path("pump-2-000002")
