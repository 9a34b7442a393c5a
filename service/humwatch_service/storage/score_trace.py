"""The scores before and during an alarm, as they are kept with it: as short as a picture of them needs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from humwatch_service.storage.records import MAX_TRACE_POINTS, TracePoint


def packed_trace(points: Iterable[TracePoint]) -> str:
    """Return a trace as JSON, made short: the highest score of each stretch of time."""
    by_time = {point.at_s: point for point in points if math.isfinite(point.score)}
    ordered = sorted(by_time.values(), key=lambda point: point.at_s)
    if len(ordered) > MAX_TRACE_POINTS:
        ordered = _thinned(ordered)
    return json.dumps([[point.at_s, point.score] for point in ordered], separators=(",", ":"))


def unpacked_trace(packed: str | None) -> tuple[TracePoint, ...]:
    """Return the trace that :func:`packed_trace` packed."""
    return tuple(TracePoint(at_s=at_s, score=score) for at_s, score in json.loads(packed or "[]"))


def _thinned(points: list[TracePoint]) -> list[TracePoint]:
    start_s, span_s = points[0].at_s, points[-1].at_s - points[0].at_s
    highest: dict[int, TracePoint] = {}
    for point in points:
        stretch = min(int((point.at_s - start_s) / span_s * MAX_TRACE_POINTS), MAX_TRACE_POINTS - 1)
        if stretch not in highest or point.score > highest[stretch].score:
            highest[stretch] = point
    return list(highest.values())
