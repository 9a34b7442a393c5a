"""docs/metrics.md names every metric with its type and labels, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from humwatch.alarm.events import EVENT_KINDS, MACHINE_STATES
from humwatch.source.faults import SOURCE_FAULTS
from humwatch_service.metrics.live import DROPS, REFUSALS, RESOURCES, VERDICTS
from humwatch_service.metrics.registry import METRICS, OUTCOMES, PROCESS_METRICS, STAGES, Metrics
from humwatch_service.metrics.shadow import BY
from humwatch_service.protocol.detections import DETECTORS
from humwatch_service.storage.folder_records import FILE_OUTCOMES
from humwatch_service.webhooks.policy import DELIVERY_OUTCOMES

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
SPECS = (*METRICS, *PROCESS_METRICS)


def rows(header: str) -> Iterator[list[str]]:
    """Cells of all rows of the tables with this header."""
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells[0] == header)
        if inside and cells[0] != header and not cells[0].startswith("---"):
            yield cells


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other() -> None:
    documented = [(code(name), kind, code(labels)) for name, kind, labels, _ in rows("metric")]
    expected = [([spec.name], spec.kind, list(spec.labels)) for spec in SPECS]
    assert sorted(documented) == sorted(expected)


def test_every_metric_says_what_it_is_for() -> None:
    for name, _, _, text in rows("metric"):
        assert len(text.split()) >= 4, name


def test_every_label_is_explained() -> None:
    explained = {(label, metric) for labels, of, _ in rows("label") for label in code(labels) for metric in code(of)}
    everywhere = {label for labels, of, _ in rows("label") for label in code(labels) if not code(of)}
    used = {(label, spec.name) for spec in SPECS for label in spec.labels}
    assert {pair for pair in used if pair[0] not in everywhere} == explained


@pytest.mark.parametrize(
    ("label", "metric", "values"),
    [
        ("state", "humwatch_alarm_state", MACHINE_STATES),
        ("event", "humwatch_alarm_transitions_total", EVENT_KINDS),
        ("detector", "humwatch_alarms_raised_total", DETECTORS),
        ("verdict", "humwatch_alarms_judged", VERDICTS),
        ("level", "humwatch_anomaly_threshold", ("warn", "alarm")),
        ("fault", "humwatch_source_fault", SOURCE_FAULTS),
        ("reason", "humwatch_windows_dropped_total", DROPS),
        ("reason", "humwatch_streams_refused_total", REFUSALS),
        ("by", "humwatch_shadow_alarms_total", BY),
        ("outcome", "humwatch_score_requests_total", OUTCOMES),
        ("outcome", "humwatch_folder_recordings_total", FILE_OUTCOMES),
        ("outcome", "humwatch_webhook_deliveries_total", DELIVERY_OUTCOMES),
        ("stage", "humwatch_stage_duration_seconds", STAGES),
        ("resource", "humwatch_live_load_ratio", RESOURCES),
    ],
)
def test_the_values_of_a_label_are_those_of_the_code(label: str, metric: str, values: Sequence[str]) -> None:
    (text,) = [text for labels, of, text in rows("label") if label in code(labels) and metric in code(of)]
    assert [value for value in code(text) if value in values] == list(values)
    assert set(code(text)) - set(values) <= {"max_streams"}


def test_a_machine_has_as_many_series_as_the_page_says() -> None:
    metrics = Metrics()
    metrics.live.follow(["fan-1"])
    live = [line for line in metrics.render().splitlines() if 'machine_id="fan-1"' in line]
    (said,) = re.findall(r"A machine has ([0-9]+) series", PAGE)
    of_model = len(OUTCOMES) + len(("windows", "ratio", "raw", "warn", "alarm", "info"))
    assert len(live) + of_model == int(said)


def test_every_name_in_the_text_is_a_metric() -> None:
    named = set(re.findall(r"`(humwatch_[a-z_]+)`", PAGE))
    assert named <= {spec.name for spec in SPECS}
