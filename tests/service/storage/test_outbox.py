from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot, EventKind
from humwatch_service.storage.outbox import MAX_ERROR_LENGTH
from humwatch_service.storage.records import MachineChange
from humwatch_service.storage.store import DELIVERIES_KEPT_S, StateStore
from humwatch_service.webhooks.outbox import OutboxAdapter


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path)
    yield opened
    opened.close()


def happened(
    kind: EventKind,
    at_s: float,
    *,
    machine_id: str = "m",
    announced: bool = True,
    webhooks: tuple[str, ...] = ("cmms",),
) -> MachineChange:
    event = AlarmEvent(kind, at_s, "normal", "alarm", alarm=1, announced=announced)
    snapshot = AlarmSnapshot(last_number=1, active=ActiveAlarm(number=1, raised_s=1.0))
    return MachineChange(machine_id=machine_id, snapshot=snapshot, events=(event,), webhooks=(webhooks,))


def due(store: StateStore, now_s: float, webhook: str = "cmms") -> list[tuple[str, str]]:
    found = store.outbox.due(now_s, 10, webhook)
    assert {delivery.webhook for delivery in found} <= {webhook}
    return [(delivery.event.machine_id, delivery.event.kind) for delivery in found]


def test_each_event_goes_to_its_webhooks_once(store: StateStore) -> None:
    store.commit(happened("raised", 1.0, webhooks=("cmms", "mail", "cmms")))
    store.commit(happened("acknowledged", 2.0, announced=False, webhooks=("mail",)))
    store.commit(happened("realarmed", 3.0, webhooks=()))
    assert due(store, 10.0) == [("m", "raised")]
    assert due(store, 10.0, "mail") == [("m", "raised"), ("m", "acknowledged")]
    (delivery,) = store.outbox.due(10.0, 10, "cmms")
    assert (delivery.event.alarm_id, delivery.attempts) == ("m-000001", 0)


def test_what_is_owed_is_counted_by_webhook(store: StateStore) -> None:
    assert store.outbox.pending() == {}
    store.commit(happened("raised", 1.0, webhooks=("cmms", "mail")))
    store.commit(happened("acknowledged", 2.0, webhooks=("mail",)))
    assert store.outbox.pending() == {"cmms": 1, "mail": 2}
    store.outbox.delivered(store.outbox.due(9.0, 1, "mail")[0].id, 3.0)
    store.outbox.failed(store.outbox.due(9.0, 1, "cmms")[0].id, "gone", None)
    assert store.outbox.pending() == {"mail": 1}


def test_events_of_one_change_have_recipients_of_their_own(store: StateStore) -> None:
    first, second = happened("cleared", 1.0), happened("state_changed", 1.0)
    both = replace(first, events=(*first.events, *second.events), webhooks=((), ("mail",)))
    store.commit(both)
    store.commit(both)
    assert due(store, 5.0) == []
    assert due(store, 5.0, "mail") == [("m", "state_changed")]


def test_what_is_delivered_does_not_come_again(store: StateStore) -> None:
    store.commit(happened("raised", 1.0))
    (delivery,) = store.outbox.due(1.0, 10, "cmms")
    store.outbox.delivered(delivery.id, 2.0)
    assert store.outbox.due(1e9, 10, "cmms") == []
    assert store.outbox.counts().model_dump() == {
        "pending": 0,
        "delivered": 1,
        "given_up": 0,
        "oldest_pending_s": None,
    }


def test_a_failure_waits_for_its_next_try(store: StateStore) -> None:
    store.commit(happened("raised", 1.0))
    (delivery,) = store.outbox.due(1.0, 10, "cmms")
    store.outbox.failed(delivery.id, "x" * 10_000, 31.0)
    assert store.outbox.due(30.9, 10, "cmms") == []
    (delivery,) = store.outbox.due(31.0, 10, "cmms")
    assert delivery.attempts == 1
    with store._database.reading() as connection:
        error = connection.exec_driver_sql("SELECT last_error FROM outbox").scalar_one()
    assert error == "x" * MAX_ERROR_LENGTH


def test_what_is_given_up_stays_given_up(store: StateStore) -> None:
    store.commit(happened("raised", 1.0), happened("cleared", 2.0))
    delivery = store.outbox.due(5.0, 1, "cmms")[0]
    store.outbox.failed(delivery.id, "gone", None)
    store.outbox.delivered(delivery.id, 6.0)  # too late
    counts = store.outbox.counts()
    assert (counts.pending, counts.delivered, counts.given_up, counts.oldest_pending_s) == (1, 0, 1, 2.0)
    assert due(store, 5.0) == [("m", "cleared")]


def test_deliveries_come_in_order_of_their_events_and_a_failure_holds_up_no_other(store: StateStore) -> None:
    store.commit(happened("raised", 1.0), happened("raised", 1.5, machine_id="n"), happened("cleared", 2.0))
    assert due(store, 10.0) == [("m", "raised"), ("n", "raised"), ("m", "cleared")]
    store.outbox.failed(store.outbox.due(10.0, 1, "cmms")[0].id, "refused", 100.0)
    assert due(store, 12.0) == [("n", "raised"), ("m", "cleared")]
    assert due(store, math.inf) == [("m", "raised"), ("n", "raised"), ("m", "cleared")]


def test_nothing_is_due_before_it_happened_and_no_more_than_asked_for(store: StateStore) -> None:
    store.commit(*(happened("raised", 5.0, machine_id=f"m{i}") for i in range(5)))
    assert due(store, 4.9) == []
    assert len(store.outbox.due(5.0, 3, "cmms")) == 3
    assert store.outbox.counts().oldest_pending_s == 5.0


def test_what_is_owed_survives_a_restart(store: StateStore, tmp_path: Path) -> None:
    store.commit(happened("raised", 1.0))
    store.close()
    again = StateStore(tmp_path)
    assert due(again, 2.0) == [("m", "raised")]
    again.close()


def test_old_deliveries_are_forgotten_also_those_of_a_webhook_that_is_gone(store: StateStore) -> None:
    for number, at_s in enumerate((1.0, 2.0, 3.0)):
        store.commit(happened("raised", at_s, machine_id=f"m{number}"))
    first, second, _ = store.outbox.due(10.0, 10, "cmms")
    store.outbox.delivered(first.id, 10.0)
    store.outbox.failed(second.id, "gone", None)
    store.prune(1.5 + DELIVERIES_KEPT_S)
    counts = store.outbox.counts()
    assert (counts.pending, counts.delivered, counts.given_up) == (1, 0, 1)
    store.prune(1e9)
    counts = store.outbox.counts()
    assert (counts.pending, counts.delivered, counts.given_up) == (0, 0, 0)
    assert len(store.events().events) == 3


def test_what_is_about_old_sound_is_owed_since_it_was_heard(store: StateStore) -> None:
    heard_s = 2 * DELIVERIES_KEPT_S
    store.commit(replace(happened("raised", 1.0), heard_s=heard_s))
    store.prune(heard_s + DELIVERIES_KEPT_S - 1.0)
    (delivery,) = store.outbox.due(heard_s, 10, "cmms")
    assert delivery.event.details == {"heard_s": heard_s, "late_s": heard_s - 1.0}
    assert store.outbox.counts().oldest_pending_s == heard_s
    notification = OutboxAdapter(store).due(heard_s, 10, "cmms")[0]
    assert notification.created_s == heard_s
    assert b"days later" in notification.body
    store.prune(heard_s + DELIVERIES_KEPT_S + 1.0)
    assert store.outbox.due(heard_s, 10, "cmms") == []


def test_what_a_clock_that_was_ahead_put_off_is_due(store: StateStore) -> None:
    store.commit(happened("raised", 1.0))
    (delivery,) = store.outbox.due(10.0, 10, "cmms")
    store.outbox.failed(delivery.id, "refused", 3 * 86_400.0 + 600.0)
    assert due(store, 3 * 86_400.0) == []
    assert due(store, 10.0) == [("m", "raised")]  # the clock was set back by three days
    store.outbox.failed(delivery.id, "refused", 3_600.0)
    assert due(store, 10.0) == []


def test_an_alarm_knows_how_late_it_was_heard_over_a_restart(store: StateStore) -> None:
    store.commit(replace(happened("raised", 1.0), heard_s=7_201.0))
    alarm = store.alarm("m-000001")
    assert (alarm.raised_s, alarm.heard_s, alarm.late_s) == (1.0, 7_201.0, 7_200.0)
    assert store.machines()[0].alarm_late_s == 7_200.0
    store.commit(replace(happened("cleared", 2.0), heard_s=7_300.0))
    assert store.alarm("m-000001").heard_s == 7_201.0
