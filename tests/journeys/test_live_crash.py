"""A service that dies while it listens: no alarm is lost, none is raised twice, nothing that was said is forgotten."""

from __future__ import annotations

import asyncio
import io
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from humwatch_service.protocol.messages import Hello, ServerMessage, StateChange
from tests.live_service import MACHINE, RATE_HZ, Nursery, Plant, Service, Sounds, nursery, sounding

pytestmark = pytest.mark.process

RULE = "on_delay_s = 3\noff_delay_s = 3"
LONGEST_HOLE_S = 15.0
"""Sound that is scored at most before the history is written."""


@pytest.fixture(scope="module")
def mother() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


@pytest.fixture(scope="module")
def sounds(workshop: Any) -> Sounds:
    return Sounds.of(workshop.machine)


@pytest.fixture
def service(tmp_path: Path, mother: Nursery, shared_models: Path) -> Iterator[Service]:
    service = Service(mother, tmp_path, shared_models, RULE)
    service.start()
    yield service
    if service.pid is not None:
        service.kill()


@asynccontextmanager
async def at_work(service: Service, sounds: Sounds, **given: Any) -> AsyncIterator[tuple[Plant, httpx.AsyncClient]]:
    """A plant whose sound is followed and normal so far."""
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as http:
        await service.ready(http)
        async with sounding(Plant(service.url, sounds, **given)) as plant:
            await plant.until(lambda: shown(plant) == "normal")
            yield plant, http


def shown(plant: Plant) -> str | None:
    return next((m.state for m in reversed(plant.messages) if isinstance(m, StateChange)), None)


async def raised(plant: Plant) -> StateChange:
    plant.faulty = True
    return await plant.until_event("raised")


async def cleared(plant: Plant) -> StateChange:
    plant.faulty = False
    return await plant.until_event("cleared")


async def some_scores(plant: Plant, count: int) -> None:
    start = len(plant.messages)
    await plant.until(lambda: len(plant.scores(start)) >= count)


async def alarms(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """All alarms, the oldest first."""
    found: list[dict[str, Any]] = (await http.get("/v1/alarms?limit=500")).json()["alarms"]
    return found[::-1]


async def trail(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The whole audit trail of the machine, the oldest first, without mere changes of state."""
    events: list[dict[str, Any]] = []
    before = ""
    while True:
        page = (await http.get(f"/v1/machines/{MACHINE}/events?limit=500{before}")).json()
        events += page["events"]
        if page["next_before"] is None:
            return [event for event in events[::-1] if event["kind"] != "state_changed"]
        before = f"&before={page['next_before']}"


async def kinds(http: httpx.AsyncClient) -> list[str]:
    return [event["kind"] for event in await trail(http)]


async def status(http: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"/v1/machines/{MACHINE}/status")).json()
    return found


async def order(http: httpx.AsyncClient, place: str, **fields: Any) -> httpx.Response:
    return await http.post(f"/v1/{place}", json={"who": "ann", "why": "seen", **fields})


def check_links(plant: Plant, lives: int) -> None:
    """The client came back to every life by itself, with the same stream, and without a gap."""
    assert len(plant.connections) >= lives
    assert {link.ready.stream_id for link in plant.connections} == {"microphone-1"}
    assert all(link.ready.resumed for link in plant.connections[1:])
    assert [link.gap_samples for link in plant.connections] == [0] * len(plant.connections)


async def check_sound(http: httpx.AsyncClient, plant: Plant, alarm: dict[str, Any]) -> None:
    """The clip of an alarm is what was sent, up to what raised it at least."""
    assert alarm["evidence"] in ("partial", "kept"), alarm
    record = (await http.get(f"/v1/alarms/{alarm['id']}")).json()
    assert record["context"]["bands"]
    assert len(record["context"]["trace"]) >= 5
    raised_at = record["context"]["source"]["sample"]
    clip = await http.get(f"/v1/alarms/{alarm['id']}/clip.flac")
    assert clip.status_code == 200
    samples, rate_hz = soundfile.read(io.BytesIO(clip.content), dtype="int16")
    assert rate_hz == RATE_HZ
    assert len(samples) >= 7 * RATE_HZ  # a clip and the on-delay
    at = bytes(plant.sent).find(samples.tobytes(), max(0, 2 * (raised_at - len(samples))))
    behind = at // 2 + len(samples) - raised_at
    assert at >= 0
    assert behind == 10 * RATE_HZ if alarm["evidence"] == "kept" else behind < 5 * RATE_HZ


def check_trail(events: list[dict[str, Any]], count: int) -> None:
    """So many alarms, each raised once and cleared and acknowledged once at most, in order."""
    of_alarms = Counter((event["alarm_id"], event["kind"]) for event in events)
    ids = [f"{MACHINE}-{number:06d}" for number in range(1, count + 1)]
    assert [event["alarm_id"] for event in events if event["kind"] == "raised"] == ids
    assert [event["alarm_id"] for event in events if event["kind"] == "cleared"] in (ids, ids[:-1])
    assert all(of_alarms[alarm_id, "acknowledged"] <= 1 for alarm_id in ids)
    assert len({event["id"] for event in events}) == len(events)


def live(work: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(900):
            await work

    asyncio.run(bounded())


def test_killed_before_an_alarm_is_raised(service: Service, sounds: Sounds) -> None:
    """The on-delay runs: the sound goes on, so the alarm comes, once."""

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            plant.faulty = True
            await plant.until(lambda: (plant.scores()[-1].score or 0.0) >= 1.0)
            service.strike()
            assert not plant.events("raised")
            await service.restart(http)
            assert await alarms(http) == []
            change = await plant.until_event("raised")
            assert change.alarm_id == f"{MACHINE}-000001"
            await cleared(plant)
            await some_scores(plant, 12)
            assert await kinds(http) == ["raised", "cleared"]
            check_links(plant, 2)

    live(work())


def strike_at(kind: str, plant: Plant, service: Service) -> None:
    """Kill the service as soon as it tells of an event."""

    def on_message(message: ServerMessage) -> None:
        if isinstance(message, StateChange) and message.event == kind and service.pid is not None:
            plant.on_message = lambda message: None
            service.strike()

    plant.on_message = on_message


def test_killed_right_after_an_alarm_was_told(service: Service, sounds: Sounds) -> None:
    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            strike_at("raised", plant, service)
            told = await raised(plant)
            await service.restart(http)
            found = await alarms(http)
            assert [(alarm["id"], alarm["status"]) for alarm in found] == [(told.alarm_id, "active")]
            assert (await status(http))["alarm_id"] == told.alarm_id
            await check_sound(http, plant, found[0])
            await plant.until(lambda: shown(plant) == "alarm" and len(plant.connections) == 2)
            await some_scores(plant, 12)
            assert await kinds(http) == ["raised"]
            await cleared(plant)
            assert await kinds(http) == ["raised", "cleared"]
            check_links(plant, 2)

    live(work())


def test_killed_while_an_alarm_clears(service: Service, sounds: Sounds) -> None:
    """Once within the off-delay, once as soon as it was told."""

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            await raised(plant)
            plant.faulty = False
            await plant.until(lambda: (plant.scores()[-1].score or 9.0) < 0.9)
            service.strike()
            assert not plant.events("cleared")
            await service.restart(http)
            assert [alarm["status"] for alarm in await alarms(http)] == ["active"]
            strike_at("cleared", plant, service)
            await plant.until_event("cleared")
            await service.restart(http)
            assert [alarm["status"] for alarm in await alarms(http)] == ["cleared"]
            await plant.until(lambda: shown(plant) == "normal")
            await some_scores(plant, 12)
            assert await kinds(http) == ["raised", "cleared"]
            check_links(plant, 3)

    live(work())


def test_killed_right_after_each_order(service: Service, sounds: Sounds) -> None:
    """What an operator was answered holds after every restart."""

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            alarm = f"alarms/{(await raised(plant)).alarm_id}"
            machine = f"machines/{MACHINE}"
            orders: list[tuple[str, dict[str, Any]]] = [
                (f"{alarm}:ack", {}),
                (f"{alarm}:feedback", {"verdict": "true_alarm", "cause": "bearing"}),
                (f"{alarm}:shelve", {"for_s": 600}),
                (f"{machine}:out-of-service", {}),
                (f"{machine}:run-state", {"running": False}),
            ]
            for number, (place, fields) in enumerate(orders):
                assert (await order(http, place, **fields)).status_code == 200
                service.strike()
                await service.restart(http)
                await check_orders(http, alarm, number + 1)
                await plant.until(lambda: len(plant.connections) == service.lives)
            assert (await order(http, f"{machine}:in-service")).json()["state"] != "normal"
            service.strike()
            await service.restart(http)
            # What is shown may be of the life before: its last message told the state of the order.
            await plant.until(lambda: len(plant.connections) == service.lives)
            await plant.until(lambda: shown(plant) == "off")
            assert (await order(http, f"{machine}:unshelve")).json()["shelf"] is None
            assert (await order(http, f"{machine}:run-state", running=True)).status_code == 200
            service.strike()
            await service.restart(http)
            now = await status(http)
            assert (now["shelf"], now["run_signal"], now["out_of_service"]) == (None, True, None)
            await plant.until(lambda: len(plant.connections) == service.lives)
            await plant.until(lambda: shown(plant) == "alarm")
            await cleared(plant)
            assert await kinds(http) == [
                "raised",
                "acknowledged",
                "feedback",
                "shelved",
                "out_of_service",
                "run_signal",
                "in_service",
                "unshelved",
                "run_signal",
                "cleared",
            ]
            check_links(plant, service.lives)

    live(work())


async def check_orders(http: httpx.AsyncClient, alarm: str, given: int) -> None:
    """The first orders of the list, and no others, are in force."""
    record, now = (await http.get(f"/v1/{alarm}")).json(), await status(http)
    assert record["status"] == "active"
    assert record["acknowledged"]["who"] == now["acknowledged"]["who"] == "ann"
    assert (record["feedback"] or {}).get("cause") == ("bearing" if given > 1 else None)
    assert record["shelved"] == (now["shelf"] is not None) == (given > 2)
    assert (now["out_of_service"] or {}).get("why") == ("seen" if given > 3 else None)
    assert (now["state"] == "out_of_service") == (given > 3)
    assert now["run_signal"] == (False if given > 4 else None)


def test_killed_between_an_order_and_its_answer(service: Service, sounds: Sounds) -> None:
    """Whether it was carried out or not: it was wholly, once, and certainly if it was answered."""

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            alarm = f"alarms/{(await raised(plant)).alarm_id}"
            wanted: Counter[str] = Counter()
            after_s = 0.02
            for number in range(24):
                now = await status(http)
                if number % 2 and now["acknowledged"] is None:
                    place, kind, fields = f"{alarm}:ack", "acknowledged", {}
                elif now["shelf"] is None:
                    place, kind, fields = f"{alarm}:shelve", "shelved", {"for_s": 600}
                else:
                    place, kind, fields = f"machines/{MACHINE}:unshelve", "unshelved", {}
                answered = await struck(service, order(http, place, **fields), after_s=after_s)
                await service.restart(http)
                done = Counter(await kinds(http))[kind]
                assert done - wanted[kind] in ((1,) if answered else (0, 1))
                after_s *= 0.6 if done > wanted[kind] else 1.5  # to where it is sometimes one and sometimes the other
                wanted[kind] = done
                now = await status(http)
                assert (now["acknowledged"] is not None) == bool(wanted["acknowledged"])
                assert (now["shelf"] is not None) == (wanted["shelved"] > wanted["unshelved"])
                await plant.until(lambda: len(plant.connections) == service.lives)
                if number >= 7 and 0 < wanted.total() <= number:
                    break  # it was carried out sometimes, and sometimes not
            assert 0 < wanted.total() <= number
            check_trail(await trail(http), 1)
            check_links(plant, service.lives)

    live(work())


async def struck(service: Service, asking: Awaitable[httpx.Response], *, after_s: float) -> bool:
    """Kill the service a moment after an order was sent; whether it was answered."""
    task = asyncio.ensure_future(asking)
    await asyncio.sleep(after_s)
    service.strike()
    try:
        return (await task).status_code == 200
    except httpx.TransportError:
        return False


def test_a_shelf_that_ends_while_the_service_is_dead(service: Service, sounds: Sounds) -> None:
    """People are told once it is back, once."""

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            await order(http, f"machines/{MACHINE}:shelve", for_s=12.0)
            ends_s = time.monotonic() + 12.0
            change = await raised(plant)
            service.strike()
            assert (await asyncio.to_thread(service.bury)) == -9
            assert time.monotonic() < ends_s, "the machine was too busy to raise an alarm while the shelf lasts"
            await asyncio.sleep(ends_s - time.monotonic())
            await service.start_again(http)
            await plant.until(lambda: plant.events("unshelved"))
            await some_scores(plant, 5)
            told = [(event["kind"], event["announced"], event["alarm_id"]) for event in await trail(http)]
            assert told == [
                ("shelved", False, None),
                ("raised", False, change.alarm_id),
                ("unshelved", True, change.alarm_id),
            ]

    live(work())


def when_written(folder: Path, name: str, do: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a file of that name is being written anywhere in a folder."""

    def watch() -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if next(folder.glob(f"*/.{name}.writing"), None) or next(folder.glob(f"*/{name}"), None):
                do()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["clip.partial.flac", "clip.flac"])
def test_killed_while_evidence_is_written(service: Service, sounds: Sounds, name: str) -> None:
    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            writing = when_written(service.folder / "state" / "evidence", name, service.strike)
            change = asyncio.create_task(raised(plant))
            await asyncio.to_thread(writing.join)
            await service.restart(http)
            await change
            found = await alarms(http)
            assert [alarm["id"] for alarm in found] == [change.result().alarm_id]
            await check_sound(http, plant, found[0])
            await cleared(plant)
            assert await kinds(http) == ["raised", "cleared"]
            check_links(plant, 2)

    live(work())


def test_killed_at_random_moments(service: Service, sounds: Sounds) -> None:
    """Stretches of a fault follow one another, operators do this and that, and every so often the service dies."""
    chance = random.Random(4)

    async def work() -> None:
        async with at_work(service, sounds) as (plant, http):
            operators = Operators(http, chance)
            stretches = asyncio.create_task(faults(plant, http, lambda count: count > 3 and service.lives > 12))
            while not stretches.done():
                working = asyncio.create_task(operators.work())
                await asyncio.sleep(chance.uniform(0.1, 1.2))
                service.strike()
                await working
                await service.restart(http)
            count = stretches.result()
            assert service.lives > 12
            assert count > 3
            await some_scores(plant, 12)
            found = await alarms(http)
            assert [alarm["number"] for alarm in found] == list(range(1, count + 1))
            assert {alarm["status"] for alarm in found} == {"cleared"}
            assert operators.acknowledged <= {alarm["id"] for alarm in found if alarm["acknowledged"]}
            for alarm in found:
                await check_sound(http, plant, alarm)
            events = await trail(http)
            check_trail(events, count)
            done = Counter(event["kind"] for event in events)
            for kind, answered in operators.answered.items():
                assert answered <= done[kind] <= answered + operators.unanswered[kind]
            check_links(plant, service.lives // 2)  # some are too short to be found

    live(work())


async def faults(plant: Plant, http: httpx.AsyncClient, enough: Callable[[int], bool]) -> int:
    """Break the machine and repair it until that was often enough, as soon as the service knows; return how often."""
    count = 0
    while not enough(count):
        count += 1
        plant.faulty = True
        await newest_is(http, count, "active")
        plant.faulty = False
        await newest_is(http, count, "cleared")
    return count


async def newest_is(http: httpx.AsyncClient, number: int, what: str) -> None:
    while True:
        await asyncio.sleep(0.05)
        try:
            found = (await http.get("/v1/alarms?limit=1")).json()["alarms"]
        except httpx.TransportError:
            continue
        if found and (found[0]["number"], found[0]["status"]) == (number, what):
            return
        assert not found or found[0]["number"] <= number, "an alarm too many"


class Operators:
    """People who acknowledge, shelve and judge; what they were answered, and what they never heard of."""

    def __init__(self, http: httpx.AsyncClient, chance: random.Random) -> None:
        self.answered: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self._http = http
        self._chance = chance

    async def work(self) -> None:
        """Give orders until the service is gone."""
        try:
            while True:
                await asyncio.sleep(self._chance.uniform(0.0, 0.4))
                found = (await self._http.get("/v1/alarms?limit=1")).json()["alarms"]
                if found:
                    await self._one(found[0])
        except httpx.TransportError:
            pass

    async def _one(self, alarm: dict[str, Any]) -> None:
        at_alarm, at_machine = f"alarms/{alarm['id']}", f"machines/{MACHINE}"
        place, kind, fields = self._chance.choice(
            [
                (f"{at_alarm}:ack", "acknowledged", {}),
                (f"{at_machine}:shelve", "shelved", {"for_s": 600}),
                (f"{at_machine}:unshelve", "unshelved", {}),
                (f"{at_alarm}:feedback", "feedback", {"verdict": "unsure"}),
            ]
        )
        self.unanswered[kind] += 1
        answer = await order(self._http, place, **fields)
        self.unanswered[kind] -= 1
        assert answer.status_code in (200, 409), answer.text
        if answer.status_code == 200:
            self.answered[kind] += 1
            if kind == "acknowledged":
                self.acknowledged.add(alarm["id"])


def test_history_has_no_hole_longer_than_a_flush(service: Service, sounds: Sounds) -> None:
    chance = random.Random(5)
    speed = 4.0
    began_s = time.time() - 1_000.0
    hello = Hello(rate_hz=RATE_HZ, stream_id="microphone-1", start_time_s=began_s)

    async def work() -> None:
        async with at_work(service, sounds, speed=speed, hello=hello) as (plant, http):
            for _ in range(3):
                await asyncio.sleep(chance.uniform(1.5, 3.5))
                service.strike()
                await service.restart(http)
                await plant.until(lambda: len(plant.connections) == service.lives)
            struck_s = began_s + len(plant.sent) / 2 / RATE_HZ
            where = f"start_s={began_s}&end_s={struck_s + 600}&resolution=second"
            times = [began_s]
            while times[-1] < struck_s + 10.0:  # the sound after the last strike, too
                await asyncio.sleep(0.1)
                points = (await http.get(f"/v1/machines/{MACHINE}/history?{where}")).json()
                times = [began_s, *(point["at_s"] for point in points)]
            assert max(after - before for before, after in pairwise(times)) <= LONGEST_HOLE_S
            # what is heard again after a restart, to warm up, takes no score away
            assert all(point["score_mean"] is not None for point in points if point["at_s"] > began_s + 5)
            check_links(plant, service.lives)

    live(work())
