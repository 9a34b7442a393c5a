"""Two versions over the same sound, by hand and through the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from humwatch.alarm.events import MachineState
from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.repository import ModelRepository
from humwatch.live.model import LiveModel
from humwatch_service.cli.main import app
from humwatch_service.config.machines import MachineSettings
from humwatch_service.errors import NothingToPlay
from humwatch_service.models.registry import load_model
from humwatch_service.rehearsal.backtest import Contender, backtest, same_scores
from humwatch_service.rehearsal.kept_sounds import KeptHistory, KnownAlarm, SoundPiece, at_most
from humwatch_service.storage.packed_minute import code_of
from humwatch_service.storage.second_series import SecondSeries

RATE_HZ = 16_000
MACHINE = "pump-2"
NOON = 1_700_000_000
QUICK = AlarmRule(on_delay_s=2.0, off_delay_s=3.0)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Path:
    """Models of the pump: version 1 of normal sound, version 2 for which its fault is normal."""
    root = tmp_path_factory.mktemp("two")
    recordings = list(workshop.recordings)
    for number in range(8):
        path = root / f"fault-{number}.wav"
        soundfile.write(path, workshop.faulty(500 + number, 4.0), RATE_HZ, subtype="PCM_16")
        recordings.append(path)
    graph = workshop.constant_graph()
    for version, used in (("1", workshop.recordings), ("2", recordings)):
        workshop.make_bundle(
            root / "models", MACHINE, version, graph, used, kind="spectrum_profile", machine_type="pump"
        )
    ModelRepository(root / "models").activate(MACHINE, "1")
    return root / "models"


def contender(models: Path, version: str, rule: AlarmRule = QUICK) -> Contender:
    loaded = load_model(ModelRepository(models), MACHINE, version)
    return Contender(LiveModel(loaded.bundle, loaded.predictor), rule)


@pytest.fixture
def sounds(tmp_path: Path, workshop: Any) -> dict[str, Path]:
    made = {
        "long": np.concatenate([workshop.normal(700, 12.0), workshop.faulty(701, 12.0), workshop.normal(702, 12.0)]),
        "fault": workshop.faulty(703, 6.0),
        "normal": workshop.normal(704, 6.0),
    }
    for name, samples in made.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE_HZ, subtype="PCM_16")
    return {name: tmp_path / f"{name}.wav" for name in made}


def test_what_only_one_would_have_raised_is_told_with_its_place_and_verdict(two: Path, sounds: dict[str, Path]) -> None:
    pieces = [
        SoundPiece("recording", sounds["long"]),
        SoundPiece("alarm", sounds["fault"], 5.0, "pump-2-000001", "true_alarm", "/v1/alarms/pump-2-000001/clip.flac"),
        SoundPiece("alarm", sounds["normal"], 6.0, "pump-2-000002", "false_alarm"),
        SoundPiece("normal", sounds["normal"], 7.0),
    ]
    told = backtest(contender(two, "1"), contender(two, "2"), pieces)
    assert (told.alarms_both, told.alarms_only_old, told.alarms_only_new) == (0, 2, 0)
    assert (told.old.alarms, told.new.alarms, told.old.version, told.new.version) == (2, 0, "1", "2")
    first, second = told.episodes
    assert (first.by, first.kind, first.file, first.at_s) == ("old", "recording", str(sounds["long"]), None)
    assert 13.0 < first.start_s < 20.0 < (first.end_s or 0) < 36.0
    assert first.peak_old is not None
    assert first.peak_new is not None
    assert first.peak_old > 1 > first.peak_new
    assert (second.alarm_id, second.verdict, second.listen) == (
        "pump-2-000001",
        "true_alarm",
        "/v1/alarms/pump-2-000001/clip.flac",
    )
    verdicts = told.verdicts
    assert (verdicts.true_kept, verdicts.true_lost) == (0, 1)
    assert (verdicts.false_kept, verdicts.false_removed, verdicts.false_added) == (0, 1, 0)
    assert [(heard.kind, heard.pieces, heard.distinct_s, heard.played_s) for heard in told.heard] == [
        ("recording", 1, 36.0, 36.0),
        ("alarm", 2, 12.0, 60.0),
        ("normal", 1, 6.0, 30.0),
    ]
    other = backtest(contender(two, "2"), contender(two, "1"), pieces)
    assert [episode.by for episode in other.episodes] == ["new", "new"]
    assert (other.verdicts.true_kept, other.verdicts.false_removed) == (1, 1)
    assert (other.new, other.old) == (told.old, told.new)


def test_false_alarms_on_kept_normal_sound_are_added(two: Path, sounds: dict[str, Path]) -> None:
    told = backtest(contender(two, "2"), contender(two, "1"), [SoundPiece("normal", sounds["fault"])])
    assert told.verdicts.false_added == 1


def test_a_slower_rule_leaves_undecided_what_ends_over_the_level(two: Path, sounds: dict[str, Path]) -> None:
    piece = SoundPiece("alarm", sounds["fault"], 5.0, "pump-2-000001", "true_alarm")
    told = backtest(contender(two, "1"), contender(two, "1", AlarmRule(on_delay_s=40.0)), [piece])
    assert (told.verdicts.undecided, told.verdicts.true_lost, told.alarms_only_old) == (1, 0, 1)


def series(*parts: tuple[MachineState, float, int], start: int = NOON) -> SecondSeries:
    scores = np.concatenate([np.full(count, score, np.float32) for _, score, count in parts])
    codes = np.concatenate([np.full(count, code_of(state), np.uint8) for state, _, count in parts])
    return SecondSeries(start + np.arange(len(scores)), scores, codes)


def test_a_rule_alone_is_tried_on_the_history(two: Path) -> None:
    old, new = contender(two, "1"), contender(two, "1", AlarmRule(on_delay_s=8.0, off_delay_s=3.0))
    seconds = series(
        ("normal", 0.1, 20),
        ("alarm", 1.5, 4),
        ("normal", 0.1, 20),
        ("alarm", 2.0, 12),
        ("normal", 0.1, 20),
        ("unknown", 3.0, 30),
        ("off", np.nan, 30),
    )
    alarms = [KnownAlarm("pump-2-000002", NOON + 47.0, "true_alarm"), KnownAlarm("pump-2-000001", NOON + 23.0, None)]
    told = backtest(old, new, [], history=KeptHistory(seconds, alarms))
    assert [(episode.by, episode.alarm_id, episode.peak_old) for episode in told.episodes] == [
        ("old", "pump-2-000001", 1.5),
        ("both", "pump-2-000002", 2.0),
    ]
    assert [episode.at_s for episode in told.episodes] == [NOON + 23.0, NOON + 47.0]
    verdicts = told.verdicts
    assert (verdicts.true_kept, verdicts.unjudged_lost) == (1, 1)
    assert (told.heard[0].kind, told.heard[0].distinct_s, told.notes) == ("history", 136.0, ())


def test_a_history_of_other_scores_is_not_played_and_that_is_said(two: Path, sounds: dict[str, Path]) -> None:
    old, new = contender(two, "1"), contender(two, "2")
    assert same_scores(old.manifest, old.manifest)
    assert not same_scores(old.manifest, new.manifest)
    history = KeptHistory(series(("normal", 0.1, 50)))
    told = backtest(old, new, [SoundPiece("normal", sounds["normal"])], history=history)
    assert "versions 1 and 2 give other scores" in told.notes[0]
    with pytest.raises(NothingToPlay, match="give other scores"):
        backtest(old, new, [], history=history)
    with pytest.raises(NothingToPlay):
        backtest(old, new, [])


def test_sound_beyond_the_bound_is_left_out_and_counted(sounds: dict[str, Path]) -> None:
    pieces = [SoundPiece("alarm", sounds[name]) for name in ("long", "fault", "normal")]
    assert at_most(pieces, 96.0) == (pieces, [])
    chosen, notes = at_most(pieces, 90.0)
    assert chosen == pieces[:2]
    assert notes[0].startswith("1 older sounds were not played")


def test_a_backtest_ends_when_it_is_told_to(two: Path, sounds: dict[str, Path]) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backtest(contender(two, "1"), contender(two, "2"), [SoundPiece("recording", sounds["long"])], on_played=stop)


def test_the_command_prints_a_report_for_people_and_for_programs(two: Path, sounds: dict[str, Path]) -> None:
    arguments = ["backtest", MACHINE, str(sounds["long"]), "--old", "1", "--new", "2", "--models", str(two)]
    text = CliRunner().invoke(app, arguments)
    assert text.exit_code == 0, text.output
    assert "pump-2: old is version 1, new is version 2" in text.stdout
    assert f"{sounds['long']} at " in text.stdout.replace("\n", " ")
    found = CliRunner().invoke(app, [*arguments, "--rule", "on_delay_s=40", "--json"])
    told = json.loads(found.stdout[found.stdout.index("{") :])
    assert (told["alarms_only_old"], told["new"]["rule"]["on_delay_s"]) == (1, 40.0)
    missing = CliRunner().invoke(app, ["backtest", MACHINE, "--models", str(two), "--state", str(two)])
    assert missing.exit_code == 1
    assert "is no state folder" in missing.output


def test_the_service_plays_what_it_has_kept(make_server: Any, two: Path, sounds: dict[str, Path]) -> None:
    server = make_server(models_dir=two, machines={MACHINE: MachineSettings(alarm=QUICK)})
    url = f"/v1/machines/{MACHINE}/versions/2:backtest"
    nothing = server.http.post(url, json={})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_play")
    state = server.app.state.service.state
    samples, _ = soundfile.read(sounds["fault"], dtype="int16")
    state.normal_sounds.write(MACHINE, samples, RATE_HZ)
    state.shadow_sounds.write(MACHINE, "2-1700000000000", samples, RATE_HZ)
    told = server.http.post(url, json={"days": 1.0}).json()
    assert (told["old"]["version"], told["new"]["version"], told["alarms_only_old"]) == ("1", "2", 1)
    assert [heard["kind"] for heard in told["heard"]] == ["normal"]  # the candidate's alarm is too long ago
    assert server.http.post(f"/v1/machines/{MACHINE}/versions/7:backtest", json={}).status_code == 404
    assert server.http.post(url, json={"rule": {"k": 3}}).status_code == 422
    server.app.state.service.backtests._running = MACHINE
    busy = server.http.post(url, json={})
    assert (busy.status_code, busy.json()["code"]) == (409, "backtest_running")
