"""All alarms of a list, by pages of it: the database is not read for longer than one of them takes."""

from __future__ import annotations

from collections.abc import Iterator

from humwatch_service.storage.alarm_rows import MAX_PAGE
from humwatch_service.storage.records import AlarmRecord
from humwatch_service.storage.store import StateStore


def every_alarm(
    store: StateStore, *, machine_id: str | None = None, since_s: float | None = None, judged: bool = False
) -> Iterator[AlarmRecord]:
    """Yield alarms, the newest first, without their traces (blocking).

    Args:
        store: database of alarms.
        machine_id: machine whose alarms they are; None: all.
        since_s: raised at or after, seconds since 1970; None: ever.
        judged: only alarms that have feedback.

    Raises:
        StateUnusable: the database cannot be read.
    """
    before: int | None = None
    while True:
        page = store.alarms(machine_id=machine_id, since_s=since_s, judged=judged, limit=MAX_PAGE, before=before)
        yield from page.alarms
        if (before := page.next_before) is None:
            return
