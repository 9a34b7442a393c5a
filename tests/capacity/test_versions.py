"""Versions beside each other, and the floor under them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from humwatch.bundle.bundle import read_bundle
from humwatch_capacity.comparison import compared
from humwatch_capacity.floor import least_ms, measure_floor
from humwatch_capacity.played_sound import normal_sound
from humwatch_capacity.report import AgainstReport, LatencyReport, LevelReport
from humwatch_capacity.text import floor_line, report_text
from humwatch_capacity.version import THIS, version_at
from humwatch_service.errors import RequestInvalid
from tests.capacity.test_report import level, report

ROOT = Path(__file__).parents[2]


def other(streams: int, ms: float, p99_s: float | None = 0.5) -> LevelReport:
    latency = LatencyReport(scores=10, lost_scores=0, p50_s=0.2, p99_s=p99_s, max_s=1.0)
    return level(streams, version="old", ms_a_stream_second=ms, latency=latency)


def test_rounds_are_compared_by_their_medians() -> None:
    mine = [level(8, ms_a_stream_second=ms) for ms in (2.0, 9.0, 2.2)]
    theirs = [other(8, ms) for ms in (6.6, 6.0, 30.0)]
    [pair] = compared([*mine, level(16), level(8, beside="page", ms_a_stream_second=50.0)], [*theirs, other(4, 1.0)])
    assert (pair.streams, pair.rounds) == (8, 3)
    assert (pair.ms_a_stream_second, pair.against_ms_a_stream_second) == (2.2, 6.6)
    assert pair.ratio == pytest.approx(3.0)
    assert (pair.against_p50_s, pair.against_p99_s) == (0.2, 0.5)


def test_the_text_has_both_versions_side_by_side() -> None:
    mine, theirs = [level(8, ms_a_stream_second=2.0)], [other(8, 6.0, p99_s=None)]
    against = AgainstReport(
        version="old",
        model=report().model,
        sustained_streams=4,
        limited_by=["latency"],
        levels=theirs,
        compared=compared(mine, theirs),
        score=None,
    )
    text = report_text(report(levels=mine, against=against))
    assert "against old" in text
    assert "it follows 4 streams" in text
    assert "2.00 |  6.00   3.00" in text


def test_a_version_is_a_checkout_an_environment_or_a_command(tmp_path: Path) -> None:
    checkout = version_at(str(ROOT))
    program = [*checkout.command, "--help"]
    environment = {**os.environ, **checkout.environment}
    found = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "capacity" in found.stdout
    command = tmp_path / "bin" / "humwatch"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert version_at(str(tmp_path)).command == version_at(str(command)).command == (str(command),)
    assert THIS.command[0] == sys.executable


@pytest.mark.parametrize("given", ["no-such-humwatch", "."])
def test_what_is_no_version_is_named(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestInvalid, match="neither"):
        version_at(given)


def test_the_floor_has_every_stage(shared_models: Path) -> None:
    bundle = read_bundle(shared_models / "fan-1" / "1")
    floor = measure_floor(bundle, normal_sound(None, bundle.manifest.features.rate_hz))
    assert set(floor.stages) == {"front end", "predictor", "evidence", "lines", "scores"}
    assert floor.ms_a_stream_second == pytest.approx(sum(floor.stages.values()))
    assert floor.stages["front end"] > 0
    assert f"{floor.ms_a_stream_second:.2f}" in floor_line(floor)


def test_the_least_of_some_tries_counts() -> None:
    calls: list[int] = []
    assert least_ms(lambda: calls.append(1), 1.0, tries=4) >= 0
    assert len(calls) == 5
