"""A service that is killed while it hears a watched folder: each recording is heard once, in order, none is lost."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from humwatch.synthetic import Fault
from tests.live_service import MACHINE, RATE_HZ, Nursery, Service, nursery

pytestmark = pytest.mark.process

SETTLE_S = 0.2
PATIENCE_S = 120.0
FIRST_S = 1_767_225_600.0  # 2026-01-01
TAIL = round(1.25 * RATE_HZ)
"""Samples that may wait for more: a step of a second, and frames that are not whole."""
APART_S = 60.0
"""Time from the begin of a recording to that of the next."""


@dataclass
class Spool:
    """A folder, and the recordings that come into it.

    Attributes:
        arrived_s: when each recording came, by its name.
        samples: length of each.
    """

    folder: Path
    sound: np.ndarray
    arrived_s: dict[str, float] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)

    def name(self, number: int) -> str:
        return datetime.fromtimestamp(FIRST_S + APART_S * number, UTC).strftime("%Y%m%d_%H%M%SZ.wav")

    def put(self, number: int, seconds: int) -> None:
        """Let a recording come, as a recorder that renames it once it is whole."""
        name, start = self.name(number), number * 7 * RATE_HZ
        samples = np.take(self.sound, np.arange(start, start + seconds * RATE_HZ), axis=0, mode="wrap")
        soundfile.write(self.folder / f".{name}", samples, RATE_HZ, subtype="PCM_16", format="WAV")
        (self.folder / f".{name}").rename(self.folder / name)
        self.arrived_s[name], self.samples[name] = time.time(), len(samples)


@dataclass(frozen=True)
class Heard:
    """What the database says.

    Attributes:
        parts: recordings that were sent, in order: name, first sample, and when it was noted.
        next_sample: samples that were scored.
        seconds: score of each second.
        alarms: when alarms were raised.
    """

    parts: list[tuple[str, float]]
    next_sample: int
    seconds: dict[float, float | None]
    alarms: list[float]


def rows(service: Service, question: str) -> list[Any]:
    with closing(sqlite3.connect(service.folder / "state" / "humwatch.sqlite3", timeout=20)) as database:
        return database.execute(question).fetchall()


async def history(http: httpx.AsyncClient, spool: Spool) -> dict[float, float | None]:
    last = FIRST_S + APART_S * len(spool.samples)
    answer = await http.get(
        f"/v1/machines/{MACHINE}/history", params={"start_s": FIRST_S, "end_s": last + 60, "resolution": "second"}
    )
    return {point["at_s"]: point["score_max"] for point in answer.json()}


async def all_heard(service: Service, spool: Spool, http: httpx.AsyncClient, *, tails: int) -> Heard:
    """Wait until all that came was heard, but for tails too short for a score, and the disk knows it."""
    total, deadline_s = sum(spool.samples.values()), time.monotonic() + PATIENCE_S
    question = f"select next_sample from machines where machine_id = '{MACHINE}'"
    while (found := rows(service, question)) == [] or (found[0][0] or 0) < total - tails * TAIL:
        assert time.monotonic() < deadline_s, f"{found[0][0]} of {total} samples\n{service.log[-2000:]}"
        await asyncio.sleep(0.1)
    parts = [
        (bytes(path).decode(), noted_s)
        for path, noted_s in rows(service, "select path, noted_s from folder_files where outcome = 'heard' order by 2")
    ]
    answer = (await http.get("/v1/alarms")).json()["alarms"]
    alarms = sorted(alarm["raised_s"] for alarm in answer)
    return Heard(parts, found[0][0], await history(http, spool), alarms)


def watching(service: Service, folder: Path, more: str) -> Service:
    folder.mkdir()
    config = service.folder / "humwatch.toml"
    config.write_text(
        config.read_text()
        + f'\n[[sources]]\nkind = "folder"\nmachine = "{MACHINE}"\nfolder = "{folder}"\nsettle_s = {SETTLE_S}\n'
        + 'time_zone = "UTC"\nexisting = "hear"\n'
        + more
    )
    return service


async def ordeal(
    service: Service,
    spool: Spool,
    numbers: Sequence[int],
    lengths: Sequence[int],
    *,
    kills: int,
    seed: int,
    tails: int = 1,
) -> Heard:
    """Let recordings come in this order while the service is killed at random moments; return what was heard."""
    chance = random.Random(seed)
    waiting = list(numbers)
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as http:
        for _ in range(kills):
            await service.start_again(http)
            until_s = time.monotonic() + chance.uniform(0.0, 2.5)
            while time.monotonic() < until_s:
                if waiting and chance.random() < 0.6:
                    spool.put(waiting[0], lengths[waiting.pop(0)])
                await asyncio.sleep(chance.uniform(0.0, 0.3))
            await asyncio.to_thread(service.kill)
            for _ in range(chance.randrange(3)):  # while nobody listens
                if waiting:
                    spool.put(waiting[0], lengths[waiting.pop(0)])
        await service.start_again(http)
        for number in waiting:
            spool.put(number, lengths[number])
        return await all_heard(service, spool, http, tails=tails)


@pytest.fixture(scope="module")
def mother() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


@pytest.fixture(scope="module")
def sound(workshop: Any) -> np.ndarray:
    """A minute and a half of a machine, and twenty seconds with a fault."""
    normal = [workshop.machine.clip(800 + i, 10.0) for i in range(9)]
    faulty = [workshop.machine.clip(900 + i, 10.0, Fault("squeal", 0.0)) for i in range(2)]
    return np.concatenate([*normal, *faulty])


def made(
    tmp_path: Path, name: str, mother: Nursery, models: Path, sound: np.ndarray, more: str = ""
) -> tuple[Service, Spool]:
    (tmp_path / name).mkdir()
    service = Service(mother, tmp_path / name, models, "on_delay_s = 3\noff_delay_s = 3")
    folder = tmp_path / name / "spool"
    return watching(service, folder, more), Spool(folder, sound)


def test_a_service_that_is_killed_hears_what_one_hears_that_is_not(
    tmp_path: Path, mother: Nursery, shared_models: Path, sound: np.ndarray
) -> None:
    chance = random.Random(1)
    lengths = [chance.randrange(3, 40) for _ in range(24)]
    one, whole = made(tmp_path, "whole", mother, shared_models, sound)
    reference = asyncio.run(ordeal(one, whole, range(24), lengths, kills=0, seed=1))
    one.kill()
    other, killed = made(tmp_path, "killed", mother, shared_models, sound)
    heard = asyncio.run(ordeal(other, killed, range(24), lengths, kills=8, seed=1))
    other.kill()
    names = [whole.name(number) for number in range(24)]
    assert [name for name, _ in reference.parts] == names
    assert [name for name, _ in heard.parts] == names
    assert abs(heard.next_sample - reference.next_sample) < TAIL  # steps may begin elsewhere after a restart
    assert not holes(reference, lengths, longest=1)
    assert not holes(heard, lengths, longest=1)
    assert abs(len(heard.seconds) - len(reference.seconds)) <= 8 + 1
    assert reference.alarms
    assert len(heard.alarms) == len(reference.alarms)
    assert all(abs(one - other) < 3.0 for one, other in zip(heard.alarms, reference.alarms, strict=True))


def holes(heard: Heard, lengths: Sequence[int], *, longest: int) -> list[float]:
    """Begins of stretches of recordings without a score or a level that are longer than so many seconds.

    A step that ends a little later than a second does counts for the next one, so that a second alone may have none.
    """
    found = []
    for number, seconds in enumerate(lengths):
        start_s = int(FIRST_S + APART_S * number)
        empty = [at for at in range(start_s + 1, start_s + seconds) if at not in heard.seconds]
        found += [at for at in empty if all(at + more in empty for more in range(longest + 1))]
    return found


@pytest.mark.parametrize("seed", [2, 3])
def test_recordings_that_come_in_any_order_are_heard_once_each(
    tmp_path: Path, mother: Nursery, shared_models: Path, sound: np.ndarray, seed: int
) -> None:
    chance = random.Random(seed)
    lengths = [chance.randrange(3, 30) for _ in range(20)]
    numbers = chance.sample(range(20), 20)
    service, spool = made(tmp_path, "killed", mother, shared_models, sound)
    heard = asyncio.run(ordeal(service, spool, numbers, lengths, kills=7, seed=seed))
    service.kill()
    assert_once_and_in_order(heard, spool, lengths)


def test_recordings_that_are_deleted_once_they_were_heard_are_heard_all_the_same(
    tmp_path: Path, mother: Nursery, shared_models: Path, sound: np.ndarray
) -> None:
    chance = random.Random(4)
    lengths = [chance.randrange(3, 30) for _ in range(16)]
    service, spool = made(tmp_path, "killed", mother, shared_models, sound, "delete = true\n")
    heard = asyncio.run(
        ordeal(service, spool, range(16), lengths, kills=6, seed=4, tails=7)
    )  # those of deleted files are gone
    deadline_s = time.monotonic() + PATIENCE_S
    while list(spool.folder.iterdir()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    service.kill()
    assert sorted(name for name, _ in heard.parts) == sorted(spool.samples)
    assert not holes(heard, lengths, longest=1)


def assert_once_and_in_order(heard: Heard, spool: Spool, lengths: Sequence[int]) -> None:
    """Each second of each recording was scored, in one count of samples; none before an older one that was there."""
    names = [name for name, _ in heard.parts]
    assert sorted(names) == sorted(spool.samples)
    assert sum(spool.samples.values()) - TAIL <= heard.next_sample <= sum(spool.samples.values())
    assert not holes(heard, lengths, longest=1)
    for at, (name, noted_s) in enumerate(heard.parts):
        for later, later_s in heard.parts[at + 1 :]:
            if later < name:  # an older one was heard later: it was not there, or not whole, when this one was begun
                assert spool.arrived_s[later] > noted_s - SETTLE_S - 4.0, (name, later, later_s)
