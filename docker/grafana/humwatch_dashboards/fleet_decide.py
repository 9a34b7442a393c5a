"""Decide, on the Fleet dashboard: which promises hold, whose sound moved, what is provisional or tried out."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import common as common_models

from humwatch_dashboards.dashboard import machine_link
from humwatch_dashboards.palette import AMBER, BLUE, CANDIDATE, DRIFTED, RAISED_BY, RED, STAGE, VERDICTS, mapped
from humwatch_dashboards.panels import (
    AGO,
    COUNT,
    RATIO,
    SECONDS,
    PanelRow,
    PanelText,
    Query,
    columns,
    figure,
    graph,
    judgements,
    link,
    property_,
    rows,
    sorted_by,
    steps,
    with_lines,
)
from humwatch_dashboards.variables import MACHINES

PROMISED: Final = f"humwatch_false_alarms_promised_per_week{{{MACHINES}}}"
SEEN_AT_LEAST: Final = f"humwatch_false_alarms_seen_low_per_week{{{MACHINES}}}"
SAME: Final = "on (job, instance, machine_id)"


def panel_rows() -> tuple[PanelRow, ...]:
    """Return the panels, by rows of the grid."""
    now = ((5, _promises()), (8, _judged()), (3, _drifted()), (3, _provisional()), (5, _candidates()))
    return (4, now), (10, ((24, _table()),)), (8, ((12, _of_promise()), (12, _unjudged())))


def _promises() -> stat.Panel:
    text = PanelText(
        "Promises",
        "How many machines have a version that promises a number of false alarms a week, and of how many the promise is"
        " broken: operators judged more alarms false than chance explains. The table below says which.",
        COUNT,
        decimals=0,
    )
    # a comparison with NaN, no promise or nothing watched, is false
    made = Query(f"sum({PROMISED} >= bool 0)", "made")
    broken = Query(f"sum({SEEN_AT_LEAST} > bool {SAME} {PROMISED})", "broken")
    return (
        figure(text, made, broken)
        .thresholds(steps(base=BLUE))
        .override_by_name("broken", [property_("thresholds", _from_one(RED)), property_("color", _BY_THRESHOLDS)])
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
    )


def _judged() -> stat.Panel:
    text = PanelText(
        "Alarms by judgement",
        "Alarms that the versions in use raised under the rules in force, by what operators said of them. While many"
        " are not judged, the false alarms that were seen are too few: say what they were.",
        COUNT,
        decimals=0,
    )
    return judgements(text, "sum", MACHINES)


def _drifted() -> stat.Panel:
    text = PanelText(
        "Machines that drifted",
        "Machines whose normal sound has moved since their calibration came into use; see the table for which and since"
        " when. Those of which too little was heard are not counted.",
        COUNT,
        decimals=0,
    )
    query = Query(f"sum(humwatch_machine_drifted{{{MACHINES}}} == bool 1)")
    return figure(text, query).thresholds(steps((1, AMBER)))


def _provisional() -> stat.Panel:
    text = PanelText(
        "Provisional machines",
        "Machines whose version is a stage of a commissioning that others follow: they are watched, with wider levels.",
        COUNT,
        decimals=0,
    )
    return figure(text, Query(f"sum(humwatch_model_provisional{{{MACHINES}}})")).thresholds(steps(base=BLUE))


def _candidates() -> stat.Panel:
    text = PanelText(
        "Candidates",
        "Versions that hear a machine beside the one in use, and tell nobody; failed are those that broke, were too"
        " slow, or had to make room.",
        COUNT,
        no_value="none",
        decimals=0,
    )
    running = Query(f"sum(humwatch_shadow_active{{{MACHINES}}})", "running")
    failed = Query(f"sum(humwatch_shadow_active{{{MACHINES}}} == bool 0)", "failed")
    return (
        figure(text, running, failed)
        .thresholds(steps(base=BLUE))
        .override_by_name("failed", [property_("thresholds", _from_one(RED)), property_("color", _BY_THRESHOLDS)])
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
    )


_BY_THRESHOLDS: Final = {"mode": "thresholds"}


def _from_one(colour: str) -> dict[str, object]:
    """Return the thresholds of a number that should be 0, as an override has them."""
    return {"mode": "absolute", "steps": [{"color": BLUE, "value": None}, {"color": colour, "value": 1}]}


def _table() -> table.Panel:
    text = PanelText(
        "What was promised, what was seen, and what is tried",
        "For each machine: false alarms a week that its version promises, and what operators' judgements say they are"
        " at least; the alarms behind that; whether its normal sound moved; whether it is provisional; and what a"
        " candidate would have raised (alone: nobody was told). Those with most false alarms come first.",
        COUNT,
        no_value="no machine",
    )
    panel = rows(text, *(Query(expression) for expression, _ in _COLUMNS))
    fields = [(f"Value #{letter}", title) for letter, (_, title) in zip("ABCDEFGHIJKLMNOP", _COLUMNS, strict=False)]
    sorted_by(panel, fields[0][0])
    columns(panel, [("machine_id", "Machine"), *fields, ("instance", "Service")], hidden=())
    links = [
        link("Open this machine", machine_link("${__value.text}", "${__data.fields.instance}")),
        link("Promised and seen", "${humwatch_url:raw}/v1/machines/${__value.text}/false-alarms", new_tab=True),
        link("Its drift", "${humwatch_url:raw}/v1/machines/${__value.text}/drift", new_tab=True),
    ]
    panel.override_by_name("Machine", [property_("links", links)])
    coloured = property_("custom.cellOptions", {"type": "color-text"})
    none = property_("mappings", mapped((), nothing="none"))
    panel.override_by_name("Seen at least", [property_("decimals", 1), none])
    panel.override_by_name("Promised", [property_("decimals", 1), none])
    panel.override_by_name("Watched", [property_("unit", SECONDS), property_("decimals", 1)])
    panel.override_by_name("Normal sound", [property_("mappings", mapped(DRIFTED, nothing="too early")), coloured])
    panel.override_by_name("Since", [property_("unit", AGO)])
    panel.override_by_name("Calibration", [property_("mappings", mapped(STAGE)), coloured])
    panel.override_by_name("Candidate", [property_("mappings", mapped(CANDIDATE)), coloured])
    return panel


def _of_machine(metric: str, matchers: str = "") -> str:
    return f"max by (instance, machine_id) ({metric}{{{MACHINES}{matchers}}})"


_COLUMNS: Final = (
    (_of_machine("humwatch_false_alarms_seen_low_per_week"), "Seen at least"),
    (_of_machine("humwatch_false_alarms_promised_per_week"), "Promised"),
    (_of_machine("humwatch_watched_seconds"), "Watched"),
    *((_of_machine("humwatch_alarms_judged", f', verdict="{one.name}"'), one.text.capitalize()) for one in VERDICTS),
    (_of_machine("humwatch_machine_drifted"), "Normal sound"),
    (
        f"1000 * max by (instance, machine_id) (humwatch_drift_since_timestamp_seconds{{{MACHINES}}} > 0)",
        "Since",
    ),
    (_of_machine("humwatch_model_provisional"), "Calibration"),
    (_of_machine("humwatch_shadow_active"), "Candidate"),
    *((_of_machine("humwatch_shadow_alarms_total", f', by="{one.name}"'), one.text.capitalize()) for one in RAISED_BY),
)
"""Expressions of the table's columns, and their titles."""


def _of_promise() -> timeseries.Panel:
    text = PanelText(
        "False alarms of what was promised",
        "What the false alarms a week are at least, by what operators said, as a share of the promise. Over 100 %"
        " (line) the promise is broken: look at the drift of the machine, then commission it again.",
        RATIO,
        no_value="nothing is promised",
        decimals=0,
    )
    query = Query(f"{SEEN_AT_LEAST} / {SAME} {PROMISED}", "{{machine_id}}")
    return with_lines(graph(text, query).min(0).axis_soft_max(1), (1, RED))


def _unjudged() -> timeseries.Panel:
    text = PanelText(
        "Alarms that nobody judged",
        "For each machine, alarms of its version in use that no operator has said anything of. They are neither"
        " counted as false nor as right: a line that climbs leaves what was seen unknown.",
        COUNT,
        decimals=0,
    )
    query = Query(f'humwatch_alarms_judged{{{MACHINES}, verdict="unjudged"}}', "{{machine_id}}")
    return graph(text, query).min(0)
