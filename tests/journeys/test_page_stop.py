"""A real process that is told to stop while connections look on, one of which reads nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.event_reader import reading
from tests.live_service import MACHINE, Nursery, Service, nursery, s16

pytestmark = pytest.mark.process

SOUND = f"/v1/machines/{MACHINE}/live"
PCM = {"Content-Type": "audio/x-raw;format=S16LE;rate=16000;channels=1"}


@pytest.fixture
def mother() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


def test_it_stops_without_being_cut_short(tmp_path: Path, mother: Nursery, shared_models: Path, workshop: Any) -> None:
    service = Service(mother, tmp_path, shared_models)
    service.start()
    sound = s16(np.tile(workshop.normal(seconds=5.0), 60))
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http, socket.socket() as lazy:
        while http.get("/readyz").status_code != 200:
            pass
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.settimeout(20)
        lazy.connect(("127.0.0.1", service.port))
        lazy.sendall(f"GET {SOUND} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert lazy.recv(15) == b"HTTP/1.1 200 OK"
        while "humwatch_page_events_dropped_total 0.0" in http.get("/metrics").text:  # until it holds something up
            http.post(f"/v1/machines/{MACHINE}/stream", params={"realtime": "false"}, headers=PCM, content=sound)
        with reading(http, "/v1/live") as fleet, reading(http, SOUND) as heard:
            assert (fleet.next().name, heard.next().name) == ("fleet", "hello")
            assert service.stop() == 0
            fleet.rest()
            heard.rest()
    assert "graceful shutdown exceeded" not in service.log
    assert "Traceback" not in service.log
