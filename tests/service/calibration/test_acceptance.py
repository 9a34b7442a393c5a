from __future__ import annotations

from dataclasses import replace

import pytest

from humwatch_service.calibration.acceptance import Question, judge
from tests.service.calibration.works import Watched

WELL = Watched("3", heard_s=601.0)
ASKED = Question(
    accept="automatic",
    now_s=100.0,
    until_s=200.0,
    minutes=15,
    provisional=True,
    in_use_recordings=None,
    nothing_in_use=False,
    same_levels=False,
    watched=True,
    report=WELL,
)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({}, "use", "601 s and raised no alarm of its own"),
        ({"report": None}, "listen", "begins to score"),
        ({"report": Watched("3", heard_s=599.0)}, "listen", "599 of 600 s"),
        ({"report": Watched("3", heard_s=10.0, alarms_only_new=1)}, "wait", "raised 1 alarm that"),
        ({"report": Watched("3", heard_s=9_000.0, alarms_only_new=2)}, "wait", "raised 2 alarms that"),
        ({"report": Watched("3", heard_s=900.0, running=False, failure="too late")}, "wait", "go on beside"),
        ({"now_s": 200.0}, "wait", "is over"),
        ({"until_s": None, "now_s": 1e9}, "use", "601 s"),
        ({"accept": "operator"}, "wait", "an operator accepts"),
        ({"accept": "operator", "nothing_in_use": True}, "use", "no version before"),
        ({"nothing_in_use": True, "report": None}, "use", "no version before"),
        ({"in_use_recordings": 100}, "wait", "rests on 100 recordings"),
        ({"in_use_recordings": 14}, "use", "601 s"),
        ({"in_use_recordings": 100, "provisional": False}, "use", "601 s"),
        ({"same_levels": True, "report": None}, "use", "its levels are those"),
        ({"same_levels": True, "now_s": 300.0}, "wait", "is over"),
        ({"watched": False, "report": None}, "use", "within the period"),
        ({"watched": False, "report": None, "now_s": 300.0}, "wait", "is over"),
    ],
)
def test_a_version_is_used_by_itself_within_the_period_alone(changes: dict[str, object], kind: str, words: str) -> None:
    verdict = judge(replace(ASKED, **changes))  # type: ignore[arg-type]
    assert verdict.kind == kind
    assert words in verdict.reason
