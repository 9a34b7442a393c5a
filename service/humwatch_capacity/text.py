"""The report as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from humwatch_capacity.report import (
    AgainstReport,
    CapacityReport,
    ComparedLevel,
    EndedReport,
    FloorReport,
    LevelReport,
    OverloadReport,
    ScoreReport,
    SoakReport,
)
from humwatch_capacity.version import THIS
from humwatch_service.cpu_allowance import CpuAllowance

LEVEL_COLUMNS: Final = (
    "streams   p50 ms   p99 ms   max ms  scores  lost  taken  breaks  cores  ms/stream s  RSS MB  MB/stream  player"
    "  others  lag ms"
)
COMPARED_COLUMNS: Final = "streams    ms/stream s    ratio        p50 ms         p99 ms      MB/stream"
MUCH: Final = 0.1
"""Of all processors: what other programs take from a level that is not sustained."""
LATE_S: Final = 0.05
"""A player that is later than this measures itself, too."""


def level_line(level: LevelReport) -> str:
    """Return a row under ``LEVEL_COLUMNS``."""
    latency = level.latency
    times = "  ".join(_ms(value) for value in (latency.p50_s, latency.p99_s, latency.max_s))
    verdict = "sustained" if level.sustained else f"not sustained: {', '.join(level.failed_by)}"
    if level.beside is not None:
        verdict += f", beside: {level.beside}"
    if level.version != THIS.name:
        verdict += f" ({level.version})"
    return (
        f"{level.streams:7d}  {times}  {latency.scores:6d}  {latency.lost_scores:4d}  {level.admitted:5d}"
        f"  {sum(ended.times for ended in level.breaks):6d}  {level.service_cores:5.2f}"
        f"  {level.ms_a_stream_second:11.2f}  {level.rss_mb:6.0f}"
        f"  {level.mb_a_stream:9.1f}  {level.player_cores:6.2f}  {level.other_cores:6.2f}"
        f"  {1e3 * level.player_lag_s:6.1f}  {verdict}"
    )


def floor_line(floor: FloorReport) -> str:
    """Return the floor, under the column of what a second of a stream costs."""
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in floor.stages.items())
    at = LEVEL_COLUMNS.index("ms/stream s") - len("the arithmetic alone")
    return (
        f"the arithmetic alone{floor.ms_a_stream_second:{at + len('ms/stream s')}.2f}  ms: {stages}"
        f" ({floor.batch_windows} windows at a time)"
    )


def report_text(report: CapacityReport) -> str:
    """Return the whole report; rows of readings and of levels were written while they were made."""
    model = report.model
    head = (
        f"{model.machine_id}, model version {model.version} ({model.strategy}, {model.score}, windows every"
        f" {model.hop_frames} frames); {CpuAllowance(report.processors, report.cpu_quota)} for service and player"
    )
    rows = [LEVEL_COLUMNS, *map(level_line, report.levels), *([floor_line(report.floor)] if report.floor else [])]
    parts = [head, _sustained(report), "\n".join(rows)]
    parts += _breaking(report.levels)
    parts += [_hold(report.hold)] if report.hold else []
    parts += [_overload(report.overload, report.budget_s)] if report.overload else []
    parts += [_score(report.score)] if report.score else []
    parts += [_against(report.against, report.score)] if report.against else []
    parts += _doubts(report.levels, CpuAllowance(report.processors, report.cpu_quota).cores)
    return "\n\n".join(parts)


def _breaking(levels: Sequence[LevelReport]) -> list[str]:
    """Return what breaks at the lowest number that is not followed."""
    broken = sorted((level for level in levels if level.broke), key=lambda level: level.streams)
    return [f"breaks first, with {broken[0].streams} streams: {broken[0].broke}"] if broken else []


def _sustained(report: CapacityReport) -> str:
    within = f"within {report.budget_s:g} s (99th percentile)"
    if report.sustained_streams is None:
        return f"one number of streams was played; followed means {within}"
    why = f"; one more step up fails by: {', '.join(report.limited_by)}" if report.limited_by else ""
    if not report.sustained_streams:
        return f"not even one stream is followed {within}{why.replace('; one more step up fails', '; it fails')}"
    return f"{report.sustained_streams} streams are followed {within}{why}"


def _hold(held: SoakReport) -> str:
    slope = "unknown" if held.memory_slope_mb_h is None else f"{held.memory_slope_mb_h:+.1f} MB an hour"
    return (
        f"held: {held.streams} streams for {held.seconds / 60:.1f} minutes;"
        f" memory {slope} after {held.settling_s:.0f} s, {held.rss_max_mb:.0f} MB at most,"
        f" {'unknown' if held.mb_a_stream is None else f'{held.mb_a_stream:.1f}'} MB a stream\n"
        f"  worst reading: p50 {_s(held.p50_worst_s)}, p99 {_s(held.p99_worst_s)}; {held.lost_scores} scores lost,"
        f" {held.dropped_windows} windows dropped, {held.gap_s:.2f} s of gaps, {held.faults} faults,"
        f" {held.alarms} alarms, {held.breaks} breaks"
    )


def _overload(over: OverloadReport, budget_s: float) -> str:
    latency = over.latency
    recovered = (
        "never within the budget again"
        if over.recovered_after_s is None
        else f"within {budget_s:g} s again after {over.recovered_after_s:.0f} s"
    )
    return (
        f"overload: of {over.streams} streams {over.admitted} were fed and {over.never_admitted} never taken"
        f"\n  refused: {_ended(over.refusals)}; broken: {_ended(over.breaks)}"
        f"\n  p50 {_s(latency.p50_s)}, p99 {_s(latency.p99_s)}, {latency.lost_scores} of"
        f" {latency.scores + latency.lost_scores} scores lost"
        f"\n  back to {over.back_to_streams} streams: {recovered}"
    )


def _score(score: ScoreReport) -> str:
    rows = []
    for requests in (score.sequential, score.concurrent):
        errors = ", ".join(f"{times} {code}" for code, times in requests.errors.items()) or "no errors"
        rows.append(
            f"  {requests.clients:2d} at once: p50 {_s(requests.p50_s)}, p99 {_s(requests.p99_s)},"
            f" {requests.a_second:.2f} a second, {errors}"
        )
    return "\n".join([f"POST /score of {score.clip_s:g} s, {score.sequential.requests} times:", *rows])


def _against(other: AgainstReport, score: ScoreReport | None) -> str:
    """Return both versions side by side: of each pair of figures this version's is the first."""
    sustained = "" if other.sustained_streams is None else f": it follows {other.sustained_streams} streams"
    lines = [f"against {other.version} (model version {other.model.version}, {other.model.score}){sustained}"]
    if other.compared:
        lines += [COMPARED_COLUMNS, *map(_compared_line, other.compared)]
    if score is not None and other.score is not None:
        for name, mine, theirs in (
            ("one client", score.sequential, other.score.sequential),
            ("ten clients", score.concurrent, other.score.concurrent),
        ):
            ratio = f" ({mine.a_second / theirs.a_second:.2f} times)" if theirs.a_second else ""
            lines.append(f"POST /score, {name}: {mine.a_second:.2f} | {theirs.a_second:.2f} a second{ratio}")
    return "\n".join(lines)


def _compared_line(pair: ComparedLevel) -> str:
    ratio = "    -" if pair.ratio is None else f"{pair.ratio:5.2f}"
    p50, p99 = (
        f"{_ms(mine).strip():>5} | {_ms(theirs).strip():>5}"
        for mine, theirs in ((pair.p50_s, pair.against_p50_s), (pair.p99_s, pair.against_p99_s))
    )
    sustained = " | ".join(
        "sustained" if is_so else "not sustained" for is_so in (pair.sustained, pair.against_sustained)
    )
    return (
        f"{pair.streams:7d}  {pair.ms_a_stream_second:5.2f} | {pair.against_ms_a_stream_second:5.2f}  {ratio}"
        f"  {p50}  {p99}  {pair.mb_a_stream:5.1f} | {pair.against_mb_a_stream:5.1f}  {sustained}"
    )


def _doubts(levels: Sequence[LevelReport], processors: float) -> list[str]:
    late = [level.streams for level in levels if level.player_lag_s > LATE_S]
    busy = [level.streams for level in levels if not level.sustained and level.other_cores > MUCH * processors]
    off = [level.streams for level in levels if level.machine_states.get("off")]
    doubts = []
    if late:
        doubts.append(f"doubtful: the player itself was late with {_numbers(late)} streams; the service may do better")
    if busy:
        doubts.append(f"doubtful: other programs kept processors busy with {_numbers(busy)} streams")
    if off:
        doubts.append(f"doubtful: with {_numbers(off)} streams machines are off: the sound is not this model's")
    return doubts


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(set(numbers))))


def _ended(endings: Sequence[EndedReport]) -> str:
    return ", ".join(f"{ended.times} x {ended.code} ({ended.how})" for ended in endings) or "none"


def _ms(seconds: float | None) -> str:
    return "      -" if seconds is None else f"{1e3 * seconds:7.0f}"


def _s(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.3f} s"
