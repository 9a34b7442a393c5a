"""Hours of scored normal sound, 400 days long: half a kilobyte each, 5 MB a machine at most for each calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy import Connection, and_, delete, select
from sqlalchemy.dialects.sqlite import insert

from humwatch.arrays import Float64
from humwatch.drift.hours import DriftHour
from humwatch_service.storage.changes import ensure_machine
from humwatch_service.storage.schema import MACHINES, NORMAL_HOURS

HOURS_KEPT_S: Final = 400 * 86_400


@dataclass(frozen=True)
class HourSum:
    """Sums of a part of an hour.

    Attributes:
        machine_id: the machine.
        normal: digest of the calibration that departures are measured by.
        hour: hours since 1970.
        seconds: scored normal sound, seconds.
        alarm_s: sound during an alarm in force, seconds.
        score_sum: sum of scores, times seconds.
        departures_sum: float64 (bands,), sum of departures in dB, times seconds.
    """

    machine_id: str
    normal: str
    hour: int
    seconds: float
    alarm_s: float
    score_sum: float
    departures_sum: Float64


def add_hours(connection: Connection, parts: Iterable[HourSum]) -> None:
    """Add parts of hours to what is written of them."""
    for part in parts:
        place = {
            "machine_key": ensure_machine(connection, part.machine_id),
            "normal": part.normal,
            "hour": part.hour,
        }
        here = and_(*(NORMAL_HOURS.c[name] == value for name, value in place.items()))
        before = connection.execute(select(NORMAL_HOURS).where(here)).one_or_none()
        seconds, alarm_s = part.seconds, part.alarm_s
        score_sum, departures_sum = part.score_sum, part.departures_sum
        if before is not None:
            seconds, alarm_s = seconds + before.seconds, alarm_s + before.alarm_s
            score_sum = score_sum + before.score * before.seconds
            departures_sum = departures_sum + _unpacked(before.departures_db) * before.seconds
        row = {
            "seconds": seconds,
            "alarm_s": alarm_s,
            "score": score_sum / seconds if seconds else 0.0,
            "departures_db": (departures_sum / seconds if seconds else departures_sum).astype("<f4").tobytes(),
        }
        key = list(NORMAL_HOURS.primary_key)
        connection.execute(
            insert(NORMAL_HOURS).values(**place, **row).on_conflict_do_update(index_elements=key, set_=row)
        )


def read_hours(connection: Connection, machine_id: str, normal: str) -> list[DriftHour]:
    """Return the hours of a machine by one calibration, in order, without those in which an alarm was in force."""
    key = select(MACHINES.c.key).where(MACHINES.c.machine_id == machine_id).scalar_subquery()
    of = and_(NORMAL_HOURS.c.machine_key == key, NORMAL_HOURS.c.normal == normal, NORMAL_HOURS.c.alarm_s == 0)
    rows = connection.execute(select(NORMAL_HOURS).where(of).order_by(NORMAL_HOURS.c.hour))
    return [DriftHour(row.hour, row.seconds, row.score, _unpacked(row.departures_db)) for row in rows]


def drop_old(connection: Connection, now_s: float) -> None:
    """Drop hours that are past their time."""
    connection.execute(delete(NORMAL_HOURS).where(NORMAL_HOURS.c.hour < (now_s - HOURS_KEPT_S) // 3_600))


def _unpacked(packed: bytes) -> Float64:
    return np.frombuffer(packed, "<f4").astype(np.float64)
