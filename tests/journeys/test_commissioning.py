"""A microphone is installed: from its first sound to provisionally watched, through power cuts, to an alarm."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.synthetic import Fault, SyntheticMachine
from tests.live_service import MACHINE, PATIENCE_S, Nursery, Plant, Service, Sounds, nursery, s16, sounding

pytestmark = pytest.mark.process

PLACE = f"/v1/machines/{MACHINE}/calibration"


@pytest.fixture(scope="module")
def mother() -> Iterator[Nursery]:
    with nursery() as found:
        yield found


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    """Nine minutes that are not alike: what repeats itself has no spread to learn."""
    machine = SyntheticMachine(seed=3)
    fault = Fault("squeal", 0.0)
    return Sounds(
        s16(np.concatenate([machine.clip(2_000 + number, 60.0) for number in range(9)])),
        s16(np.concatenate([machine.clip(3_000 + number, 10.0, fault) for number in range(6)])),
    )


@pytest.fixture
def models(tmp_path: Path, shared_models: Path) -> Path:
    """One machine of the type, and none of the new one."""
    root = tmp_path / "models"
    shutil.copytree(shared_models / "fan-1", root / "fan-1")
    return root


@pytest.fixture
def service(tmp_path: Path, mother: Nursery, models: Path) -> Iterator[Service]:
    service = Service(mother, tmp_path, models, "on_delay_s = 3\noff_delay_s = 3")
    service.start()
    yield service
    if service.pid is not None:
        service.kill()


async def progress(http: httpx.AsyncClient, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The progress, once it is so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        answer = await http.get(PLACE)
        if answer.status_code == 200 and what(answer.json()):
            return dict(answer.json())
        assert time.monotonic() < deadline_s, answer.text
        await asyncio.sleep(0.02)


def kept(folder: Path) -> list[bytes]:
    """The sound of the minutes, as it was sent."""
    paths = sorted((folder / "state" / "commissioning" / MACHINE / "minutes").glob("*.flac"))
    return [soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes() for path in paths]


def test_power_cuts_cost_a_commissioning_no_minute_and_teach_it_nothing_foreign(
    service: Service, sounds: Sounds, models: Path
) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as http:
            await service.ready(http)
            order = {"from_machine": "fan-1", "who": "ada", "why": "a new microphone"}
            assert (await http.post(PLACE, json=order)).status_code == 201
            plant = Plant(service.url, sounds, speed=40.0)
            async with sounding(plant):
                await progress(http, lambda told: told["plan"]["minutes_kept"] >= 2)
                service.strike()
                await service.restart(http)
                told = await progress(http, lambda told: told["plan"]["minutes_kept"] >= 2)
                assert (told["plan"]["kind"], told["who"]) == ("day", "ada")
                before = kept(service.folder)[:2]
                await progress(http, lambda told: told["stages"])
                service.strike()
                await service.restart(http)
                told = await progress(http, lambda told: told["stages"] and told["stages"][0]["state"] == "active")
                (stage,) = told["stages"]
                assert (stage["minutes"], stage["version"], told["plan"]["minutes_kept"]) == (5, "1", 5)
                assert ModelRepository(models).versions(MACHINE) == ["1"]
                sent = bytes(plant.sent)
                minutes = kept(service.folder)
                assert minutes[:2] == before
                places = [sent.find(minute) for minute in minutes]
                assert min(places) >= 0
                assert places == sorted(set(places))
                status = (await http.get(f"/v1/machines/{MACHINE}/status")).json()
                assert status["commissioning"] == {
                    "stage": 1,
                    "minutes": 5,
                    "planned_minutes": 101,
                    "provisional": True,
                }
                shown = f'humwatch_model_provisional{{machine_id="{MACHINE}"}} 1.0'
                assert shown in (await http.get("/metrics")).text
                plant.faulty = True
                alarm = await plant.until_event("raised")
                assert alarm.state == "alarm"

    asyncio.run(scenario())
    assert not [line for line in service.log.splitlines() if '"level":"error"' in line]


def test_a_later_stage_is_heard_beside_the_first_before_it_is_used(
    service: Service, sounds: Sounds, models: Path
) -> None:
    async def there(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
        deadline_s = time.monotonic() + 2 * PATIENCE_S
        while (answer := await http.get(path)).status_code != 200:
            assert time.monotonic() < deadline_s, (await http.get(PLACE)).text
            await asyncio.sleep(0.05)
        return dict(answer.json())

    async def scenario() -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as http:
            await service.ready(http)
            order = {"from_machine": "fan-1", "minutes": 8, "accept": "automatic", "normal_hours": 0.6, "who": "ada"}
            assert (await http.post(PLACE, json=order)).status_code == 201
            async with sounding(Plant(service.url, sounds, speed=30.0)):
                told = await progress(http, lambda told: len(told["stages"]) == 2)
                assert [stage["minutes"] for stage in told["stages"]] == [5, 8]
                beside = await there(http, f"/v1/machines/{MACHINE}/shadow")
                assert (beside["version"], beside["in_use"]) == ("2", "1")
                told = await progress(http, lambda told: told["stages"][1]["state"] == "active")
                assert "raised no alarm of its own" in told["stages"][1]["reason"]
                return await there(http, f"{PLACE}/report")

    report = asyncio.run(scenario())
    assert (report["version"], report["activated"]) == ("3", True)
    assert report["decision"]["rate"]["promised"] is False
    assert "at least are needed" in report["decision_reason"]  # an hour of scores: these are some minutes
    assert ModelRepository(models).versions(MACHINE) == ["1", "2", "3"]
