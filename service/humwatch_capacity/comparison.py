"""Two versions side by side: the numbers of streams that both were played."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from humwatch_capacity.report import ComparedLevel, LevelReport


def compared(these: Sequence[LevelReport], others: Sequence[LevelReport]) -> list[ComparedLevel]:
    """Return the numbers of streams that both versions were played, each by the medians of its rounds."""
    these, others = ([level for level in levels if level.beside is None] for levels in (these, others))
    both = sorted({level.streams for level in these} & {level.streams for level in others})
    return [_compared(streams, these, others) for streams in both]


def _compared(streams: int, these: Sequence[LevelReport], others: Sequence[LevelReport]) -> ComparedLevel:
    mine = [level for level in these if level.streams == streams]
    theirs = [level for level in others if level.streams == streams]

    def of(levels: Iterable[LevelReport], figure: Callable[[LevelReport], float | None]) -> float | None:
        known = [value for value in map(figure, levels) if value is not None]
        return median(known) if known else None

    def cost(level: LevelReport) -> float:
        return level.ms_a_stream_second

    ms, against_ms = median(map(cost, mine)), median(map(cost, theirs))
    return ComparedLevel(
        streams=streams,
        rounds=min(len(mine), len(theirs)),
        sustained=all(level.sustained for level in mine),
        against_sustained=all(level.sustained for level in theirs),
        ms_a_stream_second=ms,
        against_ms_a_stream_second=against_ms,
        ratio=against_ms / ms if ms else None,
        p50_s=of(mine, lambda level: level.latency.p50_s),
        against_p50_s=of(theirs, lambda level: level.latency.p50_s),
        p99_s=of(mine, lambda level: level.latency.p99_s),
        against_p99_s=of(theirs, lambda level: level.latency.p99_s),
        mb_a_stream=median(level.mb_a_stream for level in mine),
        against_mb_a_stream=median(level.mb_a_stream for level in theirs),
    )
