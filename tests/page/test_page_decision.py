"""A version with limits: what decides, what was promised and seen, what moved, and what another version would do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.alarm.sequential import RELEASE, WARN_SHARE, Chart, SequentialLimits
from humwatch.bundle.bundle import write_bundle
from humwatch.bundle.manifest import CALIBRATION, CommissioningCard, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch.synthetic import SyntheticMachine
from humwatch_service.storage.normal_hours import HourSum
from humwatch_service.storage.records import ScoreSecond
from humwatch_service.storage.store import StateStore
from tests.live_service import MACHINE
from tests.page.conftest import RATE_HZ, House, grave, is_too_wide
from tests.service_fixtures import constant_graph, make_bundle

pytestmark = pytest.mark.process

IN_USE, PLAIN, NERVOUS = "2", "1", "3"
PROMISED = FalseAlarmRate(
    wanted_a_week=1.0,
    expected_a_week=0.8,
    low_a_week=0.2,
    high_a_week=2.4,
    heard_s=259_200.0,
    blocks=180,
    promised=True,
    reason=None,
)
TOO_LITTLE = PROMISED.model_copy(
    update={"promised": False, "reason": "3 h of normal sound; a day is needed", "heard_s": 10_800.0}
)
CALM = Decision(
    limits=SequentialLimits(
        charts=(
            Chart(time_constant_s=5.0, limit=1.6),
            Chart(time_constant_s=60.0, limit=1.0),
            Chart(time_constant_s=300.0, limit=0.8),
        )
    ),
    rate=PROMISED,
)
TOUCHY = Decision(limits=SequentialLimits(charts=(Chart(time_constant_s=5.0, limit=0.02),)), rate=TOO_LITTLE)
SIZES = ((360, "dark"), (1280, "light"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, synthetic: SyntheticMachine) -> Path:
    """One calibration as three versions: the plain one, the one in use, with limits, and one that raises too much."""
    folder = tmp_path_factory.mktemp("decision")
    recordings = [folder / f"{number:02d}.wav" for number in range(12)]
    for number, path in enumerate(recordings):
        soundfile.write(path, synthetic.clip(number, 4.0), RATE_HZ, subtype="PCM_16")
    root = folder / "models"
    make_bundle(root, MACHINE, PLAIN, constant_graph(), recordings, kind="spectrum_profile", machine_type="pump")
    repository = ModelRepository(root)
    bundle = repository.read(MACHINE, PLAIN)
    arrays = (repository.folder(MACHINE, PLAIN) / CALIBRATION).read_bytes()
    stage = CommissioningCard(stage=3, minutes=40, planned_minutes=101, provisional=True)

    def write(version: str, **other: object) -> None:
        manifest: Manifest = bundle.manifest.model_copy(update={"version": version, **other})
        write_bundle(root / MACHINE / version, manifest, bundle.graph, arrays)

    write(IN_USE, decision=CALM, commissioning=stage)
    write(NERVOUS, decision=TOUCHY)
    repository.activate(MACHINE, IN_USE)
    return root


@pytest.fixture(scope="module")
def house(make_house: Callable[..., House], bundles: Path) -> House:
    """A service whose machine has been louder in some bands for nine of twenty days."""
    made = make_house()
    manifest = ModelRepository(bundles).manifest(MACHINE, IN_USE)
    store = StateStore(made.service.folder / "state")
    store.add_normal(moved_hours(manifest), [])
    store.add_seconds(normal_seconds())
    store.close()
    made.begin()
    return made


def normal_seconds() -> list[ScoreSecond]:
    """Two hours of scores of the version in use, until an hour ago."""
    scores, begun = np.random.default_rng(8).normal(0.0, 0.3, 7_200), int(time.time()) - 3 * 3_600
    return [
        ScoreSecond(machine_id=MACHINE, at_s=begun + second, score=score, level_dbfs=-30.0, state="normal")
        for second, score in enumerate(scores.tolist())
    ]


def moved_hours(manifest: Manifest) -> list[HourSum]:
    rng = np.random.default_rng(7)
    bands, now_hour = len(manifest.pipeline.band_edges_hz), int(time.time() // 3_600)
    hours = []
    for hour in range(now_hour - 20 * 24, now_hour):
        departures_db = rng.normal(0.0, 0.2, bands)
        departures_db[bands // 4 : bands // 2] += 3.0 * (hour >= now_hour - 9 * 24)
        hours.append(HourSum(MACHINE, manifest.files[CALIBRATION], hour, 3_600.0, 0.0, 360.0, 3_600.0 * departures_db))
    return hours


@pytest.fixture(autouse=True)
def calm(house: House) -> Iterator[None]:
    house.calm()
    yield
    house.calm()


def region(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def machine(window: Any, house: House, **given: Any) -> Any:
    page = window.open(f"{house.url}#/machines/{MACHINE}", **given)
    page.locator("#connection[data-sign=live]").wait_for()
    page.locator(".band .hz").first.wait_for()
    return page


def order(page: Any, verb: str, **fields: str) -> None:
    """Fill in the dialog, and give the order."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    for label, text in fields.items():
        dialog.get_by_label(label).fill(text)
    dialog.get_by_role("button", name=verb, exact=True).click()
    dialog.wait_for(state="detached")


@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_the_rule_is_a_sentence_a_curve_and_what_it_costs(
    window: Any, house: House, expect: Any, width: int, theme: str
) -> None:
    assert (RELEASE, WARN_SHARE) == (0.75, 0.5)
    page = machine(window, house, width=width, theme=theme)
    rule = region(page, "Rule in force")
    decision = house.status()["decision"]
    expect(rule.locator(".sentences li").first).to_have_text(decision["sentence"])
    expect(rule.locator(".sentences")).to_contain_text("From half of a limit on it is a warning.")
    expect(rule.locator(".sentences")).to_contain_text("below three quarters of their limits for 3 s of sound")
    expect(rule).to_contain_text("1.0 false alarm a week is promised.")
    expect(rule).to_contain_text("Expected: 0.80 a week (0.20 to 2.4), from 3 d of normal sound.")
    curve = rule.get_by_role("img")
    expect(curve).to_have_attribute("aria-label", re.compile(r"0\.50 never, .*, 2\.00 after 8 s, "))
    told = [point for point in decision["curve"] if point["seconds"] is not None]
    expect(curve.locator("circle")).to_have_count(len(told))
    rule.get_by_text("The curve as a table").click()
    expect(rule.locator("tbody tr")).to_have_count(len(decision["curve"]))
    near = rule.locator(".evidence-now")
    expect(near).to_contain_text(re.compile(r"The average over (5 s|60 s|5 min) is nearest to its limit: \S+ of \S+, "))
    before = near.inner_text()
    page.wait_for_function("before => document.querySelector('.evidence-now').innerText !== before", arg=before)
    assert curve.bounding_box()["width"] <= width
    assert not is_too_wide(page)
    assert grave(page) == []


def test_what_is_provisional_or_has_moved_is_said_on_the_tile_and_the_machine(
    window: Any, house: House, expect: Any
) -> None:
    house.http.get(f"/v1/machines/{MACHINE}/drift").raise_for_status()
    page = window.open(house.url, width=360)
    expect(page.locator(".tile .marks")).to_have_text("provisional · its normal has moved")
    page.goto(f"{house.url}#/machines/{MACHINE}")
    expect(page.locator(".head")).to_contain_text("Watched provisionally, on 40 of 101 minutes, with a wider level")
    expect(page.locator(".head")).to_contain_text("Its normal sound has moved: some bands moved")


@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_a_drift_names_its_bands_and_proposes_a_commissioning(
    window: Any, house: House, expect: Any, width: int, theme: str
) -> None:
    page = machine(window, house, width=width, theme=theme)
    drift = region(page, "Drift")
    told = house.http.get(f"/v1/machines/{MACHINE}/drift").json()
    assert told["state"] == "drifted"
    expect(drift.locator("tbody tr")).to_have_count(len(told["bands"]))
    expect(drift.locator("tbody td").first).to_have_text(re.compile(r"^\+[23]\.\d dB$"))
    expect(drift).to_contain_text("Some bands moved")
    drift.get_by_role("button", name="Commission it anew").click()
    expect(page.get_by_role("dialog").get_by_label("Why")).to_have_value(told["proposal"]["body"]["why"])
    assert grave(page) == []
    order(page, "Start")
    commissioning = region(page, "Commissioning")
    expect(commissioning).to_contain_text("five minutes at once, then spread over a day")
    expect(commissioning.locator(".stages li")).to_have_count(4)
    expect(commissioning).to_contain_text("From 5 minutes: the next provisional version")
    expect(commissioning).to_contain_text("Waits for sound: 101 of 101 minutes are missing.")
    assert house.http.get(f"/v1/machines/{MACHINE}/calibration").json()["why"] == told["proposal"]["body"]["why"]
    assert not is_too_wide(page)
    assert grave(page) == []
    commissioning.get_by_role("button", name="Cancel the commissioning").click()
    order(page, "Cancel the commissioning")
    expect(commissioning.get_by_role("button", name="Start a commissioning")).to_be_visible()


def test_limits_are_fitted_to_what_was_heard(window: Any, house: House, expect: Any) -> None:
    """The order makes a version that is not used; what cannot be fitted stays in the dialog, with the reason."""
    window.expected.append(r"422 .*limits$")
    page = machine(window, house, width=360, theme="dark")
    panel = region(page, "False alarms")
    expect(panel.locator("tbody tr").nth(1)).to_have_text(
        re.compile(r"Expected, by what was heard\s*[\d.,]+ a week \(")
    )
    page.get_by_role("button", name="Fit limits to what was heard").click()
    page.get_by_label("Days up to now").fill("0.05")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Fit", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "of scored normal sound; 60 at least are needed"
    )
    page.get_by_label("Days up to now").fill("2")
    page.get_by_role("button", name="Fit", exact=True).click()
    expect(panel).to_contain_text(
        re.compile(
            r"was made\. Asked for: 1\.0 false alarm a week; not promised: 2\.\d hours of normal sound were scored"
        )
    )
    listed = house.http.get(f"/v1/machines/{MACHINE}/versions").json()
    made = listed["versions"][-1]["facts"]["false_alarms_a_week"]
    assert (listed["in_use"], made["promised"]) == (IN_USE, False)
    assert 7_200.0 <= made["heard_s"] < 10_000.0  # and what the house plays
    assert not is_too_wide(page)


def test_an_alarm_says_which_average_raised_it_and_a_false_one_breaks_the_promise(
    window: Any, house: House, expect: Any
) -> None:
    alarm_id = house.raise_alarm()
    house.calm()
    house.until(lambda: house.http.get(f"/v1/alarms/{alarm_id}").json()["evidence"] == "kept")
    chart = house.http.get(f"/v1/alarms/{alarm_id}").json()["context"]["chart"]
    page = window.open(f"{house.url}#/alarms/{alarm_id}", width=360)
    rule = region(page, "Rule in force")
    reached = f"over {chart['time_constant_s']:.0f} s reached {chart['average']:.2f}; its limit is"
    expect(rule).to_contain_text(f"The average of the score {reached}")
    expect(rule).to_contain_text("passes one of its limits: 1.60 over 5 s, 1.00 over 60 s, 0.80 over 5 min.")
    assert not is_too_wide(page)
    house.order(f"alarms/{alarm_id}:feedback", verdict="false_alarm", cause="a tool", action="none")
    for width, theme in SIZES:
        page = machine(window, house, width=width, theme=theme)
        promises = region(page, "False alarms")
        expect(promises).to_contain_text("The promise is broken: more alarms were judged false than it allows.")
        expect(promises.locator("tbody tr").nth(0)).to_have_text(re.compile(r"Promised\s*1\.0"))
        expect(promises.locator("tbody tr").nth(2)).to_have_text(re.compile(r"judged false\s*[\d,.]+ a week \("))
        expect(promises).to_contain_text("1 false, 0 true, 0 unsure, 0 that nobody judged")
        assert not is_too_wide(page)


def test_a_version_is_played_over_what_is_kept(window: Any, house: House, expect: Any) -> None:
    if not house.alarms():
        house.raise_alarm()
        house.calm()
    alarm = house.alarms()[-1]
    house.until(lambda: house.http.get(f"/v1/alarms/{alarm['id']}").json()["evidence"] == "kept")
    for width, theme in SIZES:
        page = machine(window, house, width=width, theme=theme)
        page.get_by_role("button", name=f"Try on kept sound: version {PLAIN}").click()
        backtest = region(page, "Backtest")
        expect(backtest).to_contain_text(f"Version {PLAIN} beside version {IN_USE}, over what is kept.")
        expect(backtest.locator(".compared [data-by=both] b")).to_have_text(re.compile(r"^[1-9]"))
        expect(backtest).to_contain_text("sound of alarms")
        row = backtest.locator(".episodes li[data-by=both]").first
        row.get_by_role("button", name="Play").click()
        expect(row.get_by_role("button", name="Stop")).to_be_visible()
        row.get_by_role("button", name="Stop").click()
        expect(row.get_by_role("button", name="Play")).to_be_visible()
        expect(row.locator(".trouble")).to_be_empty()
        assert not is_too_wide(page)
        assert grave(page) == []


@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_a_candidate_runs_beside_and_what_it_alone_would_raise_is_heard(
    window: Any, house: House, expect: Any, width: int, theme: str
) -> None:
    page = machine(window, house, width=width, theme=theme)
    page.get_by_role("button", name=f"Run beside: version {NERVOUS}").click()
    order(page, "Start", Why="to see")
    candidate = region(page, "Candidate")
    expect(candidate).to_contain_text(f"Version {NERVOUS} beside version {IN_USE}. It runs beside")
    expect(candidate).to_contain_text("not promised: 3 h of normal sound; a day is needed")
    row = candidate.locator(".episodes li[data-by=new]").first
    expect(row).to_contain_text(f"Only version {NERVOUS}")
    play = row.get_by_role("button", name="Play")
    expect(play).to_be_visible()
    page.reload()
    expect(candidate.locator(".compared [data-by=new] b")).to_have_text(re.compile(r"^[1-9]"))
    play.click()
    expect(row.get_by_role("button", name="Stop")).to_be_visible()
    expect(row.locator(".trouble")).to_be_empty()
    assert house.alarms(open=True) == []
    assert not is_too_wide(page)
    assert grave(page) == []
    candidate.get_by_role("button", name="Stop the candidate").click()
    order(page, "Stop")
    expect(candidate).to_contain_text("It was stopped; this is its last report.")
    assert house.http.get(f"/v1/machines/{MACHINE}/shadow").status_code == 404


def test_another_version_is_activated_and_the_rule_with_it(window: Any, house: House, expect: Any) -> None:
    page = machine(window, house)
    page.get_by_role("button", name=f"Activate version {PLAIN}").click()
    order(page, "Activate")
    rule = region(page, "Rule in force")
    expect(rule).to_contain_text("To raise an alarm, the score has to be at 1.00 or more for 3 s of sound.")
    expect(rule.locator(".rule-curve")).to_be_hidden()
    expect(rule.locator(".evidence-now")).to_be_hidden()
    expect(region(page, "False alarms")).to_contain_text("Nothing is promised, so nothing can be kept or broken.")
    expect(page.locator(".head")).not_to_contain_text("provisionally")
    page.get_by_role("button", name="Roll back").click()
    order(page, "Roll back")
    expect(rule.locator(".rule-curve")).to_be_visible()
