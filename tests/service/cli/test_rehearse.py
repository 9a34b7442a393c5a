from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from humwatch.alarm.rule import AlarmRule
from humwatch_service.cli.main import app
from humwatch_service.cli.rehearse import changed_rule

RATE_HZ = 16_000


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch: pytest.MonkeyPatch, shared_models: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HUMWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(shared_models))


@pytest.fixture
def normal(tmp_path: Path, workshop: Any) -> Path:
    """A folder of two recordings, 15 s together."""
    (tmp_path / "normal").mkdir()
    for name, samples in (("a", workshop.normal(300, 9.0)), ("b", workshop.normal(306, 6.0))):
        soundfile.write(tmp_path / "normal" / f"{name}.wav", samples, RATE_HZ, subtype="PCM_16")
    return tmp_path / "normal"


@pytest.fixture
def faults(tmp_path: Path, workshop: Any) -> Path:
    (tmp_path / "faults").mkdir()
    for number in (1, 2):
        path = tmp_path / "faults" / f"{number}.wav"
        soundfile.write(path, workshop.faulty(310 + number, 5.0), RATE_HZ, subtype="PCM_16")
    return tmp_path / "faults"


def rehearsed(*arguments: object) -> dict[str, Any]:
    result = humwatch("rehearse", *arguments, "--machine", "pump-2", "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_recordings_are_heard_once_with_the_rule_of_the_configuration(
    normal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "humwatch.toml").write_text('[machines."pump-2".alarm]\non_delay_s = 7.5\nrealarm_s = inf\n')
    monkeypatch.setenv("HUMWATCH_CONFIG", str(tmp_path / "humwatch.toml"))
    told = rehearsed(normal, "--rule", "off_delay_s=2", "--rule", "latch=true")
    assert told["rule"] == {
        **AlarmRule().model_dump(),
        "on_delay_s": 7.5,
        "realarm_s": None,
        "off_delay_s": 2.0,
        "latch": True,
    }
    assert (told["heard_s"], told["distinct_s"], told["alarms"]) == (15.0, 15.0, [])


def test_hours_are_heard_in_a_loop_and_inserted_folders_file_by_file(normal: Path, faults: Path) -> None:
    told = rehearsed(normal, "--hours", "0.02", "--insert", faults, "--insert", normal / "a.wav")
    assert (told["heard_s"], told["distinct_s"]) == (72.0, 15.0)
    found = [(insertion["file"], insertion["outcome"]) for insertion in told["insertions"]]
    assert found == [
        (str(faults / "1.wav"), "detected"),
        (str(faults / "2.wav"), "detected"),
        (str(normal / "a.wav"), "missed"),
    ]


def test_the_text_has_every_figure(normal: Path, faults: Path) -> None:
    result = humwatch(
        "rehearse", normal, faults / "1.wav", "--machine", "pump-2@1", "--hours", "0.05", "--insert", faults / "2.wav"
    )
    assert result.exit_code == 0, result.output
    told = rehearsed(normal, faults / "1.wav", "--hours", "0.05")
    text = " ".join(result.stdout.split())
    assert "pump-2, model version 1, 0:03:00.0 of sound" in text
    assert "rule: decision=sequential, false_alarms_a_week=1.0, on_delay_s=5.0, off_delay_s=30.0" in text
    rate = told["alarm_rate"]
    assert rate["count"] >= 1
    assert f"alarms {rate['count']} {rate['a_day']:.1f} {rate['low_a_day']:.1f} to {rate['high_a_day']:.1f}" in text
    assert f"{told['clips_over']['heard']:.0f} a day here" in text
    assert f"{told['clips_over']['expected']:.0f} a day expected by the model" in text
    assert f"alarm {told['states']['alarm']:.3%}" in text
    assert f"{told['alarms'][0]['file']} at {told['alarms'][0]['file_s']:.1f} s" in text
    assert "0 of 1 detected" in text or "1 of 1 detected" in text
    assert "20 s of sound were heard again and again" in result.stderr


def test_of_many_alarms_the_first_are_printed(normal: Path, faults: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("humwatch_service.cli.rehearse.SHOWN", 2)
    quick = ("--rule", "on_delay_s=0", "--rule", "off_delay_s=0", "--hours", "0.05")
    count = rehearsed(normal, faults / "1.wav", *quick)["alarm_rate"]["count"]
    text = humwatch("rehearse", normal, faults / "1.wav", "--machine", "pump-2", *quick).stdout
    assert count > 2
    assert f"{count - 2} more are in the answer of --json" in text


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["gone.wav"], 1, "error: file_unreadable: gone.wav"),
        (["{normal}", "--insert", "{slow}"], 1, "error: request_invalid: "),
        (["{normal}", "{slow}"], 1, "error: request_invalid: "),
        (["{normal}", "--channel", "3"], 1, "error: audio_channel_missing: "),
        (["{normal}", "--hours", "0"], 2, "--hours"),
        (["{normal}", "--rule", "on_delay=3"], 2, "--rule"),
        (["{normal}", "--rule", "on_delay_s"], 2, "--rule"),
        (["{normal}", "--rule", "on_delay_s=-3"], 2, "on_delay_s"),
        ([], 2, "files"),
    ],
)
def test_what_cannot_be_rehearsed_is_named(
    normal: Path, tmp_path: Path, arguments: list[str], exit_code: int, said: str
) -> None:
    soundfile.write(tmp_path / "slow.wav", [0.1] * 8_000, 8_000)
    places = {"{normal}": str(normal), "{slow}": str(tmp_path / "slow.wav")}
    result = humwatch("rehearse", *(places.get(word, word) for word in arguments), "--machine", "pump-2")
    assert result.exit_code == exit_code, result.output
    assert said in result.stderr


def test_a_machine_that_is_not_there_is_named(normal: Path) -> None:
    result = humwatch("rehearse", normal, "--machine", "nobody", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "machine_not_found"


def test_a_rule_is_changed_value_by_value() -> None:
    rule = changed_rule(AlarmRule(dead_band=0.3), ["k=3", "n=5", "realarm_s=inf", "latch=yes"])
    assert rule == AlarmRule(dead_band=0.3, k=3, n=5, realarm_s=float("inf"), latch=True)
    assert changed_rule(rule, []) == rule


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["k=3"], "k is more than n"),
        (["n=2.5"], "n: .*integer"),
        (["dead_band="], "dead_band: .*number"),
        (["speed=3"], "'speed=3' is not NAME=VALUE with one of decision, false_alarms_a_week, on_delay_s, "),
    ],
)
def test_a_rule_that_cannot_be_says_why(changes: list[str], said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        changed_rule(AlarmRule(), changes)
