"""Decide, on the Machine dashboard: what the version in use promised and did, drift, and the candidate beside it."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.models import common as common_models

from humwatch_dashboards.palette import (
    AMBER,
    BLUE,
    CANDIDATE,
    DRIFTED,
    RAISED_BY,
    RED,
    SKY,
    STAGE,
    VERDICTS,
    mapped,
)
from humwatch_dashboards.panels import (
    AGO,
    COUNT,
    SECONDS,
    WEEKLY,
    WORD,
    PanelRow,
    PanelText,
    Query,
    data_link,
    figure,
    fixed_colour,
    graph,
    judgements,
    level_line,
    property_,
    steps,
)
from humwatch_dashboards.variables import MACHINE

WEEK_S: Final = 604_800
PROMISED: Final = f"max(humwatch_false_alarms_promised_per_week{{{MACHINE}}})"
SEEN: Final = (
    f'{WEEK_S} * max(humwatch_alarms_judged{{{MACHINE}, verdict="false_alarm"}})'
    f" / max(humwatch_watched_seconds{{{MACHINE}}})"
)
SEEN_AT_LEAST: Final = f"max(humwatch_false_alarms_seen_low_per_week{{{MACHINE}}})"


def panel_rows() -> tuple[PanelRow, ...]:
    """Return the panels, by rows of the grid."""
    now = ((6, _rates()), (3, _watched()), (6, _judged()), (3, _drifted()), (3, _stage()), (3, _candidate()))
    return (4, now), (8, ((12, _rates_over_time()), (6, _judged_over_time()), (6, _candidate_over_time())))


def _rates() -> stat.Panel:
    text = PanelText(
        "False alarms",
        "False alarms a week of the version in use: promised (none: it has no limits of its own yet, or another rule is"
        " in force), seen (judged false, a week of watched sound), and what is seen at least, with 95 % certainty. Over"
        " the promise at least: it is broken; look at the drift, then commission again.",
        WEEKLY,
        decimals=1,
    )
    panel = figure(text, Query(PROMISED, "promised"), Query(SEEN, "seen"), Query(SEEN_AT_LEAST, "at least"))
    return (
        panel.mappings(mapped((), nothing="none"))
        .thresholds(steps(base=BLUE))
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
        .data_links([_answer("What was promised and seen", "false-alarms")])
    )


def _watched() -> stat.Panel:
    text = PanelText(
        "Watched for",
        "Sound that the version in use has scored under the rule in force: what the false alarms that were seen rest"
        " on. Of days, a rate a week says little.",
        SECONDS,
        decimals=1,
    )
    return figure(text, Query(f"max(humwatch_watched_seconds{{{MACHINE}}})")).thresholds(steps(base=BLUE))


def _judged() -> stat.Panel:
    text = PanelText(
        "Alarms by judgement",
        "Alarms that the version in use raised under the rule in force, by what operators said of them. Those that"
        " nobody judged may be false, too: say what they were, on the machine's page.",
        COUNT,
        decimals=0,
    )
    return judgements(text, "max", MACHINE)


def _drifted() -> stat.Panel:
    text = PanelText(
        "Normal sound",
        "Whether the normal sound has moved since the calibration came into use, and the likeliest begin. Find out what"
        " moved, and why, before you calibrate again: the service says in which bands.",
        WORD,
    )
    state = Query(f"max(humwatch_machine_drifted{{{MACHINE}}})", "now")
    since = Query(f"1000 * max(humwatch_drift_since_timestamp_seconds{{{MACHINE}}} > 0)", "since")
    return (
        figure(text, state, since)
        .mappings(mapped(DRIFTED, nothing="too early to tell"))
        .override_by_name("since", [property_("unit", AGO), fixed_colour(AMBER)])
        .text_mode(common_models.BigValueTextMode.VALUE)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .data_links([_answer("What moved, and when", "drift")])
    )


def _stage() -> stat.Panel:
    text = PanelText(
        "Calibration",
        "Provisional: the version in use is a stage of a commissioning that others follow; the machine is watched, with"
        " a wider level.",
        WORD,
        no_value="no model",
    )
    return figure(text, Query(f"max(humwatch_model_provisional{{{MACHINE}}})")).mappings(mapped(STAGE))


def _candidate() -> stat.Panel:
    text = PanelText(
        "Candidate",
        "Whether another version hears this machine beside the one in use, and tells nobody. Failed: it broke, was too"
        " slow, or had to make room; its report says which.",
        WORD,
        no_value="none",
    )
    return (
        figure(text, Query(f"max(humwatch_shadow_active{{{MACHINE}}})"))
        .mappings(mapped(CANDIDATE))
        .data_links([_answer("What the candidate would have raised", "shadow")])
    )


def _rates_over_time() -> timeseries.Panel:
    text = PanelText(
        "False alarms a week: promised and seen",
        "What the version in use promises, what operators judged false a week of watched sound, and what that is at"
        " least, with 95 % certainty. Where that passes the promise, it is broken. No line: nothing was promised or"
        " watched. All begin anew with another version or rule.",
        WEEKLY,
        no_value="nothing promised, nothing watched",
        decimals=1,
    )
    return (
        graph(text, Query(PROMISED, "promised"), Query(SEEN, "seen"), Query(SEEN_AT_LEAST, "seen at least"))
        .min(0)
        .override_by_name("promised", level_line(RED))
        .override_by_name("seen", [fixed_colour(SKY)])
        .override_by_name("seen at least", [fixed_colour(BLUE)])
    )


def _judged_over_time() -> timeseries.Panel:
    text = PanelText(
        "Alarms by judgement over time",
        "The same counts over time. They change when an operator says otherwise, and begin anew with another version"
        " or rule.",
        COUNT,
        decimals=0,
    )
    panel = graph(text, Query(f"max by (verdict) (humwatch_alarms_judged{{{MACHINE}}})", "{{verdict}}")).min(0)
    for one in VERDICTS:
        panel.override_by_name(one.name, [property_("displayName", one.text), fixed_colour(one.colour)])
    return panel


def _candidate_over_time() -> timeseries.Panel:
    text = PanelText(
        "Alarms beside the candidate",
        "Alarms that are over since the candidate runs: of both versions, of the one in use alone (the candidate would"
        " have missed them, or spared you them), and of the candidate alone, which nobody was told of.",
        COUNT,
        no_value="no candidate",
        decimals=0,
    )
    panel = graph(text, Query(f"max by (by) (humwatch_shadow_alarms_total{{{MACHINE}}})", "{{by}}")).min(0)
    for one in RAISED_BY:
        panel.override_by_name(one.name, [property_("displayName", one.text), fixed_colour(one.colour)])
    return panel


def _answer(title: str, path: str) -> builders.DashboardLink:
    return data_link(title, f"${{humwatch_url:raw}}/v1/machines/${{machine_id}}/{path}", new_tab=True)
