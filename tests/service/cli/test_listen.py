"""`humwatch listen` and `humwatch devices`, with a card of the tests' own."""

from __future__ import annotations

import io
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from humwatch_service.cli import devices as commands_devices
from humwatch_service.cli import listen as commands_listen
from humwatch_service.cli.main import app
from humwatch_service.cli.meter import FLOOR_DBFS, LineDisplay, MeterDisplay, MeterState, levels_dbfs
from humwatch_service.client import Connected, Waiting
from humwatch_service.client.refusal import Refusal
from humwatch_service.protocol.messages import Clock, Ready, Score, StateChange, Warn
from humwatch_service.sources.capture import NATIVE_FORMATS
from tests.processes import interrupted
from tests.sound_cards import FakeSound, card
from tests.stream_server import MACHINE, Refused, StreamServer, served

SOUND = np.random.default_rng(6).integers(-20_000, 20_000, 80_000, np.int16).tobytes()


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> FakeSound:
    sound = FakeSound([card("Speakers", channels=0), card("mic", rate_hz=8_000)], default=1)
    sound.feed = SOUND
    sound.speed = 20.0
    for module in (commands_listen, commands_devices):
        monkeypatch.setattr(module, "load_sounddevice", lambda: sound)
    return sound


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_sends_what_the_card_hears_until_it_is_told_to_stop(sound: FakeSound, number: int) -> None:
    with (
        served(StreamServer()) as service,
        interrupted(number, lambda: service.streams and service.stream.samples > 30_000),
    ):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url, "--json")
    assert result.exit_code == 0, result.output
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    assert (messages[0]["type"], messages[-1]["type"]) == ("ready", "bye")
    stream = service.stream
    assert messages[-1]["samples"] == stream.samples > 30_000
    assert messages[-1]["gap_samples"] == 0
    heard = b"".join(data for _, data in stream.runs)
    assert heard[:60_000] == SOUND[:60_000]
    hello = stream.hello
    assert (hello.rate_hz, hello.channels, hello.format, hello.realtime) == (8_000, 1, "s16le", True)
    clocks = [message for message in stream.messages if isinstance(message, Clock)]
    assert len(clocks) >= 3
    assert clocks == sorted(clocks, key=lambda clock: clock.time_s)
    assert "connected: pump-2" in result.stderr
    assert sound.streams[-1].closed


def test_a_card_of_24_bits_is_sent_as_such(sound: FakeSound) -> None:
    with (
        served(StreamServer()) as service,
        interrupted(signal.SIGTERM, lambda: service.streams and service.stream.samples > 10_000),
    ):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url, "--24-bits")
    assert result.exit_code == 0, result.output
    assert sound.streams[-1].dtype == "int24"
    assert service.stream.hello.format == NATIVE_FORMATS[24]
    assert b"".join(data for _, data in service.stream.runs)[:30_000] == SOUND[:30_000]


def test_without_a_terminal_it_writes_lines_to_stderr_and_nothing_to_stdout(sound: FakeSound) -> None:
    with (
        served(StreamServer()) as service,
        interrupted(signal.SIGINT, lambda: service.streams and service.stream.samples > 90_000),
    ):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url, "--device", "mic")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "pump-2: normal; " in result.stderr
    assert "dBFS" in result.stderr
    assert "samples were heard, 0 are missing" in result.stderr


def test_a_machine_that_is_not_there_yet_is_waited_for(sound: FakeSound, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"code": "machine_not_found", "detail": "no such machine"}'
    patience = commands_listen.PATIENCE
    assert (patience.slow_s, patience.first_s, patience.lost_s) == (30.0, None, None)
    monkeypatch.setattr(
        commands_listen, "PATIENCE", commands_listen.Patience(slow_codes=patience.slow_codes, slow_s=0.05)
    )
    service = StreamServer()
    service.refusals.append((404, {}, body))
    service.errors.append(Refused("stream_owned", "another one listens"))
    with served(service), interrupted(signal.SIGINT, lambda: service.streams and service.stream.samples > 8_000):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url)
    assert result.exit_code == 0, result.output
    assert "machine_not_found: no such machine; trying again in" in result.stderr
    assert "stream_owned: another one listens; trying again in" in result.stderr


def test_a_proxy_that_is_not_set_up_yet_is_waited_for(sound: FakeSound, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = commands_listen.PATIENCE
    monkeypatch.setattr(
        commands_listen, "PATIENCE", commands_listen.Patience(slow_codes=patience.slow_codes, slow_s=0.05)
    )
    service = StreamServer()
    service.refusals.append((426, {}, b'{"code": "upgrade_required", "detail": "a proxy dropped it"}'))
    service.refusals.append((426, {}, b"<html>"))
    with served(service), interrupted(signal.SIGINT, lambda: service.streams and service.stream.samples > 8_000):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url)
    assert result.exit_code == 0, result.output
    assert "upgrade_required: a proxy dropped it; trying again in" in result.stderr
    assert "http_426: the answer was HTTP status 426 and no WebSocket" in result.stderr


def test_a_wrong_key_ends_it(sound: FakeSound, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("# for the plant\nwrong-key-of-the-test\n")
    with served(StreamServer(key="the-right-one")) as service:
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url, "--key-file", key_file, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "service_refused"
    assert "error: service_refused: unauthorised" in result.stderr
    assert "wrong-key" not in result.output
    assert sound.streams[-1].closed


def test_a_service_that_is_not_there_does_not_keep_it_from_ending(
    sound: FakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_listen, "GOODBYE_S", 0.2)
    with interrupted(signal.SIGTERM, lambda: sound.streams and time.sleep(0.3) is None):
        result = humwatch("listen", "--machine", MACHINE, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 0
    assert "service_unreachable" in result.stderr
    assert "did not take the rest" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--device", "nothing"], 1, "sound_device_unavailable"),
        (["--url", "nonsense"], 1, "request_invalid"),
        (["--key-file", "/nowhere/key"], 1, "file_unreadable"),
        (["--rate", "3"], 2, "--rate"),
        (["--channels", "17"], 2, "--channels"),
    ],
)
def test_what_cannot_be_is_named(sound: FakeSound, arguments: list[str], code: int, said: str) -> None:
    result = humwatch("listen", "--machine", MACHINE, *arguments)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_channel_to_judge_is_taken_with_those_before_it(sound: FakeSound) -> None:
    with (
        served(StreamServer()) as service,
        interrupted(signal.SIGINT, lambda: service.streams and service.stream.samples > 4_000),
    ):
        result = humwatch("listen", "--machine", MACHINE, "--url", service.url, "--channel", 2, "--rate", 16_000)
    assert result.exit_code == 0, result.output
    hello = service.stream.hello
    assert (hello.channels, hello.channel, hello.rate_hz) == (3, 2, 16_000)


def test_devices_are_listed(sound: FakeSound) -> None:
    listed = humwatch("devices", "--json")
    assert json.loads(listed.stdout) == {
        "devices": [{"number": 1, "name": "mic", "host_api": "ALSA", "channels": 1, "rate_hz": 8_000, "default": True}]
    }
    text = humwatch("devices").stdout
    assert [word in text for word in ("1 *", "mic", "ALSA", "8000")] == [True] * 4
    sound.cards.clear()
    assert humwatch("devices").stdout == "no input device\n"


def test_levels_are_those_of_the_samples() -> None:
    full = np.array([-32_768] * 4, np.int16)
    native = NATIVE_FORMATS[16]
    assert levels_dbfs(full.tobytes(), native) == (0.0, 0.0)
    half = np.array([16_384, 0, 0, 0], np.int16)
    peak, rms = levels_dbfs(half.tobytes(), native)
    assert (round(peak, 2), round(rms, 2)) == (-6.02, -12.04)
    assert levels_dbfs(bytes(8), native) == levels_dbfs(b"", native) == (FLOOR_DBFS, FLOOR_DBFS)
    assert levels_dbfs(b"\x00\x00\x80", "s24le") == (0.0, 0.0)


def change(state: str, *reasons: str) -> StateChange:
    return StateChange.model_validate(
        {
            "event": "state_changed",
            "state": state,
            "before": "unknown",
            "reasons": list(reasons),
            "at_s": 1.0,
            "alarm_id": None,
        }
    )


def test_a_line_is_written_when_the_state_changes_and_once_a_minute() -> None:
    now = [0.0]
    lines: list[str] = []
    meter = MeterState("pump-2", "mic")
    shown = LineDisplay(meter, lines.append, clock=lambda: now[0])
    for second in range(150):
        now[0] = float(second)
        if second == 70:
            meter.on_message(change("alarm"))
        shown.changed()
    assert [line.split(";")[0] for line in lines] == ["pump-2: unknown"] * 2 + ["pump-2: alarm"] * 2
    meter.on_message(change("unknown", "silent"))
    shown.changed()
    assert lines[-1].startswith("pump-2: unknown (silent); no score yet; ")


def test_a_lost_connection_is_never_shown_as_normal() -> None:
    meter = MeterState("pump-2", "mic")
    meter.on_message(change("normal"))
    meter.on_link(Waiting(Refusal("service_unreachable", "gone", retry=True), 3.0))
    assert meter.state == "unknown"
    assert meter.connection == "service_unreachable: gone; trying again in 3 s"


def test_the_meter_shows_state_score_levels_and_faults(sound: FakeSound) -> None:
    meter = MeterState("pump[2]", "mic")
    meter.on_message(change("warning", "drift"))
    fields = {"start_sample": 0, "end_sample": 1, "step_score": 0.1, "clip_start_sample": 0, "raw_score": 2.0}
    meter.on_message(Score.model_validate({**fields, "score": 0.87, "state": "warning", "level_dbfs": -20.0}))
    meter.on_message(Warn(code="clipping", message="too loud", active=True))
    meter.on_message(Warn(code="hum", message="50 Hz", active=True))
    meter.on_message(Warn(code="hum", message="50 Hz", active=False))
    meter.peak_dbfs, meter.rms_dbfs, meter.dropped_samples = -3.0, -15.0, 77
    limits = {"max_message_bytes": 1, "buffer_s": 1.0, "idle_timeout_s": 1.0}
    ready = {"stream_id": "s", "machine_id": "m", "model_version": "1", "model_sha256": "", "next_sample": 0}
    meter.on_link(Connected(Ready.model_validate({**ready, "resumed": False, "state": "normal", "limits": limits}), 0))
    out = io.StringIO()
    shown = MeterDisplay(meter, Console(file=out, force_terminal=True, width=120, color_system=None))
    with shown.live:
        shown.changed()
        shown.note("a [note]")
        shown.live.refresh()
    text = out.getvalue()
    expected = ("pump[2]", "warning", "score 0.87", "drift", "connected", "too loud", "peak -3 dBFS", "77", "a [note]")
    assert [part for part in expected if part not in text] == []
    assert "━" * 30 + " " in text
    assert "50 Hz" not in text
