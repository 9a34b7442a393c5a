"""An alarm says which detector raised it: when the sound was irregular, or what has become of its tones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.synthetic import SyntheticMachine
from tests.detected_sounds import faster, knocked
from tests.live_service import MACHINE, Sounds, s16
from tests.page.conftest import RATE_HZ, grave, is_too_wide
from tests.service_fixtures import constant_graph, make_bundle

pytestmark = pytest.mark.process

SOUND_S = 30.0
KNOCKS_S = np.arange(1.2, SOUND_S - 1.0, 2.9)
SAID = {"rhythm": "Irregularity in time", "lines": "Narrow tones"}
WIDTHS = (1280, 360)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, synthetic: SyntheticMachine) -> Path:
    """A machine with all detectors."""
    folder = tmp_path_factory.mktemp("detectors")
    recordings = [folder / f"{number:02d}.wav" for number in range(24)]
    for number, path in enumerate(recordings):
        soundfile.write(path, synthetic.clip(number, 4.0), RATE_HZ, subtype="PCM_16")
    make_bundle(folder / "models", MACHINE, "1", constant_graph(), recordings, kind="consensus")
    return folder / "models"


@pytest.fixture(scope="module", params=list(SAID))
def detector(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sounds(synthetic: SyntheticMachine, detector: str) -> Sounds:
    normal = synthetic.clip(800, SOUND_S)
    faulty = knocked(normal, KNOCKS_S.tolist()) if detector == "rhythm" else faster(synthetic, 900, SOUND_S)
    return Sounds(s16(normal), s16(faulty))


@pytest.fixture(autouse=True)
def calm(house: Any) -> Iterator[None]:
    house.calm()
    yield
    house.calm()


def raised(house: Any, detector: str) -> dict[str, Any]:
    """An alarm that this detector decided."""
    alarm_id = house.raise_alarm()
    found: dict[str, Any] = house.http.get(f"/v1/alarms/{alarm_id}").json()
    assert found["context"]["detector"] == detector
    return found


def test_an_alarm_says_what_its_detector_found(window: Any, house: Any, expect: Any, detector: str) -> None:
    alarm = raised(house, detector)
    house.until(lambda: house.http.get(f"/v1/alarms/{alarm['id']}").json()["evidence"] == "kept")
    for width in WIDTHS:
        page = window.open(f"{house.url}#/alarms/{alarm['id']}", width=width)
        expect(page.locator(".decided")).to_contain_text(f"Decided by {SAID[detector]}")
        expect(page.locator("dl.facts")).to_contain_text(SAID[detector])
        if detector == "rhythm":
            moments = page.locator(".moments li")
            expect(moments).to_have_count(len(alarm["context"]["irregular_times"]))
            expect(moments.first).to_contain_text(
                re.compile(r"louder by \d+\.\d dB from \d+\.\d\d to \d+\.\d\d s of this")
            )
            expect(page.locator(".marks-track .stretch")).to_have_count(len(alarm["context"]["irregular_times"]))
            heard_s = float(re.search(r"from (\d+\.\d+) to", moments.first.inner_text())[1])  # type: ignore[index]
            moments.first.get_by_role("button", name="Hear it").click()
            page.wait_for_function("!document.querySelector('audio').paused")
            assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(heard_s, abs=1.5)
        else:
            expect(page.locator(".finding")).to_have_text(re.compile(r"The machine runs [23]\.\d % faster\."))
        assert not is_too_wide(page)
        assert grave(page) == []


def test_a_machine_says_what_is_heard_now(window: Any, house: Any, expect: Any, detector: str) -> None:
    for width in WIDTHS:
        page = window.open(f"{house.url}#/machines/{MACHINE}", width=width)
        expect(page.locator(".machine")).to_contain_text("spectrum 80 %, irregularity in time 10 %, narrow tones 10 %")
        raised(house, detector)
        expect(page.locator(".decided")).to_contain_text(SAID[detector])
        said = r"louder by \d+\.\d dB at \d\d:\d\d:\d\d, for" if detector == "rhythm" else r"runs [23]\.\d % faster"
        expect(page.locator(".moments, .finding")).to_contain_text(re.compile(said))
        assert not is_too_wide(page)
        house.calm()
        expect(page.locator(".decided")).to_have_count(0)
        expect(page.locator(".bands .band").first).to_be_visible()


def test_a_recording_that_is_tried_says_it_too(
    window: Any, house: Any, expect: Any, detector: str, tmp_path: Path
) -> None:
    path = tmp_path / "tried.wav"
    sound = np.frombuffer(house._sounds.faulty, "<i2")[: 8 * RATE_HZ]
    soundfile.write(path, sound, RATE_HZ, subtype="PCM_16")
    page = window.open(f"{house.url}#/try?machine={MACHINE}", width=360)
    page.locator("#try-machine option").first.wait_for(state="attached")
    page.locator("#try-file").set_input_files(path)
    expect(page.locator(".decided")).to_contain_text(f"Decided by {SAID[detector]}")
    expect(page.locator(".moments, .finding")).to_contain_text("louder by" if detector == "rhythm" else "faster")
    page.locator("img.evidence").wait_for()
    assert not is_too_wide(page)
