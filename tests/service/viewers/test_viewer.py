"""The line of one who looks on, without a server."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from humwatch_service.viewers.viewer import MAX_WAITING, Viewer


@dataclass(frozen=True)
class Number:
    number: int

    def encoded(self) -> bytes:
        return b"%d" % self.number


class Place:
    def __init__(self) -> None:
        self.dropped = 0
        self.left: list[Viewer] = []

    def viewer(self) -> Viewer:
        def drop(events: int) -> None:
            self.dropped += events

        return Viewer(on_drop=drop, on_leave=self.left.append)


def numbers(found: tuple[int, list[Number]] | None) -> tuple[int, list[int]]:
    assert found is not None
    return found[0], [event.number for event in found[1]]


def test_who_is_slow_keeps_the_newest_and_knows_how_many_went() -> None:
    async def scenario() -> None:
        place = Place()
        viewer = place.viewer()
        kept = [viewer.publish(Number(number)) for number in range(200)]
        assert kept == [True] * MAX_WAITING + [False] * (200 - MAX_WAITING)
        assert numbers(await viewer.next(0.0)) == (200 - MAX_WAITING, list(range(200 - MAX_WAITING, 200)))
        assert place.dropped == 200 - MAX_WAITING
        assert numbers(await viewer.next(0.0)) == (0, [])
        viewer.publish(Number(7))
        assert numbers(await viewer.next(20.0)) == (0, [7])

    asyncio.run(scenario())


def test_one_event_can_stand_for_all_that_waits() -> None:
    async def scenario() -> None:
        place = Place()
        viewer = place.viewer()
        for number in range(MAX_WAITING + 1):
            viewer.publish(Number(number))
        viewer.restart(Number(1_000))
        viewer.publish(Number(1_001))
        assert numbers(await viewer.next(20.0)) == (MAX_WAITING + 1, [1_000, 1_001])
        assert place.dropped == MAX_WAITING + 1

    asyncio.run(scenario())


def test_events_of_many_threads_come_all_and_wake_who_waits() -> None:
    async def scenario() -> None:
        viewer = Place().viewer()
        threads = [
            threading.Thread(target=lambda start=start: [viewer.publish(Number(start + n)) for n in range(8)])
            for start in range(0, 64, 8)
        ]
        heard: list[int] = []
        waiting = asyncio.create_task(viewer.next(20.0))
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        missed, first = numbers(await waiting)
        heard += first
        for thread in threads:
            await asyncio.to_thread(thread.join)
        while len(heard) < 64:
            more, later = numbers(await viewer.next(20.0))
            missed += more
            heard += later
        assert missed == 0
        assert sorted(heard) == list(range(64))

    asyncio.run(scenario())


def test_a_closed_line_ends_at_once_and_a_place_is_given_back() -> None:
    async def scenario() -> None:
        place = Place()
        viewer = place.viewer()
        waiting = asyncio.create_task(viewer.next(20.0))
        await asyncio.sleep(0)
        await asyncio.to_thread(viewer.close)
        assert await waiting is None
        viewer.publish(Number(1))
        assert await viewer.next(20.0) is None
        viewer.leave()
        assert place.left == [viewer]

    asyncio.run(scenario())


def test_nobody_is_told_anything_once_the_loop_is_gone() -> None:
    async def made() -> Viewer:
        return Place().viewer()

    viewer = asyncio.run(made())
    assert viewer.publish(Number(1))  # a worker that is still at it when the service has stopped
    viewer.close()
