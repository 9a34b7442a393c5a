"""Fleet dashboard: every machine at a glance, the one in most trouble first."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from humwatch_dashboards import fleet_decide, variables
from humwatch_dashboards.dashboard import FLEET_UID, machine_link, new_dashboard, outside
from humwatch_dashboards.palette import (
    AMBER,
    BLUE,
    FAULTS,
    GREY,
    NO_FAULT,
    RED,
    SKY,
    STATES,
    Shown,
    fault_number,
    mapped,
    state_number,
)
from humwatch_dashboards.panels import (
    COUNT,
    DBFS,
    RATIO,
    SECONDS,
    PanelText,
    Query,
    columns,
    data_link,
    figure,
    fixed_colour,
    graph,
    laid_out,
    link,
    property_,
    rows,
    sorted_by,
    sparklines,
    steps,
    with_lines,
)
from humwatch_dashboards.variables import MACHINES, SERVICE

LATE_S: Final = 60
"""Time without sound after which a machine counts as without audio, seconds."""
RANK: Final = f"max by (instance, machine_id) (machine:humwatch_trouble:rank{{{MACHINES}}}{{at}})"
"""Rank of each machine's trouble; ``{at}`` is for a modifier."""


def fleet() -> builders.Dashboard:
    """Return the dashboard, ready to be built."""
    dashboard = (
        new_dashboard(FLEET_UID, "Humwatch Fleet", "Which machine is in trouble, and which is not heard.", hours=1)
        .with_variable(variables.datasource())
        .with_variable(variables.instance())
        .with_variable(variables.machines())
        .with_variable(variables.humwatch_url())
        .link(outside("Alarms", "/v1/alarms", "All alarms that the service keeps, as JSON."))
    )
    return laid_out(
        dashboard,
        [
            (4, [(12, _states()), (4, _unheard()), (4, _alarms_of_a_day()), (4, _services())]),
            (9, [(24, _tiles())]),
            (10, [(24, _table())]),
            (8, [(12, _alarms()), (12, _ages())]),
            *fleet_decide.panel_rows(),
        ],
    )


def _states() -> stat.Panel:
    text = PanelText(
        "Machines by state",
        "How many of the machines that are listened to are in each state now. Look at the tiles below for which; a"
        " machine is unknown while its sound cannot be judged, and until it is heard.",
        COUNT,
        decimals=0,
    )
    heard = f"on (instance, machine_id) group_left () humwatch_audio_expected{{{MACHINES}}}"
    counts = [
        Query(f'sum(humwatch_alarm_state{{{MACHINES}, state="{state.name}"}} * {heard})', state.text)
        for state in STATES
    ]
    panel = figure(text, *counts)
    for state in STATES:
        panel.override_by_name(state.text, [fixed_colour(state.colour)])
    return panel.text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)


def _unheard() -> stat.Panel:
    text = PanelText(
        "Machines without sound",
        f"Machines that are listened to and gave no sound for {LATE_S} s. The table below says which: look at their"
        " microphone, its box and the network. Machines that only get uploads are not counted.",
        COUNT,
        no_value="none is listened to",
        decimals=0,
    )
    query = Query(f"sum(machine:humwatch_audio_age:seconds{{{MACHINES}}} > bool {LATE_S})")
    return figure(text, query).thresholds(steps((1, RED)))


def _alarms_of_a_day() -> stat.Panel:
    text = PanelText(
        "Alarms in 24 h",
        "Alarms that were raised in the last 24 hours, of all machines that are chosen. Many on one machine mean a"
        " rule or a model that does not fit: rehearse the rule, or calibrate again.",
        COUNT,
        decimals=0,
    )
    query = Query(f"sum(machine:humwatch_alarms_raised:increase1d{{{MACHINES}}})")
    return figure(text, query).thresholds(steps((1, AMBER), (10, RED)))


def _services() -> stat.Panel:
    text = PanelText(
        "Services up",
        "Share of the services that Prometheus reached at its last scrape. Below 100 % what is shown of the machines"
        " of that service is missing: see the Service dashboard.",
        RATIO,
        no_value="none is scraped",
        decimals=0,
    )
    query = Query(f"avg(up{{{SERVICE}}})")
    return figure(text, query).thresholds(steps((1, SKY), base=RED))


def _tiles() -> stat.Panel:
    text = PanelText(
        "Machines, the one in most trouble first",
        "A tile a machine: its state in words and colour, its score as a share of its alarm level (100 % alarms, see"
        " the table for its warn level), and the score over the chosen time. Click for its dashboard. A machine whose"
        " sound cannot be judged has no score.",
        RATIO,
        no_value="no machine is heard",
        decimals=0,
    )
    now = f"max by (instance, machine_id, state) (humwatch_alarm_state{{{MACHINES}}} @ end() == 1)"
    order = f'count_values by (instance, machine_id) ("_trouble", 8 - {RANK.replace("{at}", " @ end()")})'
    score = (
        f"humwatch_anomaly_score_ratio{{{MACHINES}}}"
        f" * on (instance, machine_id) group_left (state) {now}"
        f" * on (instance, machine_id) group_left (_trouble) {order}"
    )
    tile_link = machine_link("${__field.labels.machine_id}", "${__field.labels.instance}")
    panel = (
        sparklines(text, Query(score, "{{machine_id}} · {{state}}"))
        .color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
        .mappings(mapped((), nothing="no score"))
        .data_links([data_link("Open this machine", tile_link)])
    )
    for state in STATES:
        panel.override_by_regexp(f"/ · {state.name}$/", [fixed_colour(state.colour)])
    return panel


_COLOURED_TEXT: Final = property_("custom.cellOptions", {"type": "color-text"})


def _table() -> table.Panel:
    text = PanelText(
        "All machines",
        "What is known of each machine now, the one in most trouble first. Score and warn level are shares of the"
        " alarm level. Click on a name for its dashboard or for what the service says of it.",
        COUNT,
        no_value="no machine",
    )
    panel = rows(text, *(Query(expression) for expression, _ in _COLUMNS))
    sorted_by(panel, "Value #A")
    fields = [(f"Value #{letter}", title) for letter, (_, title) in zip("ABCDEFGHIJK", _COLUMNS, strict=True)]
    shown = [("machine_id", "Machine"), *fields[1:-1], ("version", "Model"), ("instance", "Service")]
    columns(panel, shown, hidden=(fields[0][0], fields[-1][0]))
    links = [
        link("Open this machine", machine_link("${__value.text}", "${__data.fields.instance}")),
        link("What the service says", "${humwatch_url:raw}/v1/machines/${__value.text}/status", new_tab=True),
    ]
    panel.override_by_name("Machine", [property_("links", links)])
    coloured = property_("custom.cellOptions", {"type": "color-background", "mode": "basic"})
    panel.override_by_name("State", [property_("mappings", mapped(STATES)), coloured])
    panel.override_by_name("Fault", [property_("mappings", mapped((*FAULTS, NO_FAULT))), _COLOURED_TEXT])
    percent = [property_("unit", RATIO), property_("decimals", 0)]
    panel.override_by_name("Score", [*percent, property_("mappings", mapped((), nothing="no score"))])
    panel.override_by_name("Warn level", percent)
    panel.override_by_name("Age of sound", [property_("unit", SECONDS), property_("decimals", 0)])
    level = [property_("unit", DBFS), property_("decimals", 0), property_("mappings", mapped((), nothing="no sound"))]
    panel.override_by_name("Level", level)
    panel.override_by_name("Shelved", [property_("mappings", _yes_no("shelved", BLUE)), _COLOURED_TEXT])
    panel.override_by_name("Acknowledged", [property_("mappings", _yes_no("acknowledged", BLUE)), _COLOURED_TEXT])
    panel.override_by_name("Alarms in 24 h", [property_("decimals", 0)])
    return panel


def _of_machine(metric: str, matchers: str = "") -> str:
    return f"max by (instance, machine_id) ({metric}{{{MACHINES}{matchers}}})"


def _yes_no(word: str, colour: str) -> list[models.ValueMapping]:
    return mapped((Shown(word, 1, word, colour), Shown("", 0, "no", GREY)))


_COLUMNS: Final = (
    (RANK.replace("{at}", ""), "Trouble"),
    (state_number(MACHINES), "State"),
    (_of_machine("humwatch_anomaly_score_ratio"), "Score"),
    (_of_machine("humwatch_anomaly_threshold", ', level="warn"'), "Warn level"),
    (f"max by (instance, machine_id) (machine:humwatch_audio_age:seconds{{{MACHINES}}})", "Age of sound"),
    (_of_machine("humwatch_audio_level_dbfs"), "Level"),
    (fault_number(MACHINES), "Fault"),
    (_of_machine("humwatch_alarm_shelved"), "Shelved"),
    (_of_machine("humwatch_alarm_acknowledged"), "Acknowledged"),
    (f"max by (instance, machine_id) (machine:humwatch_alarms_raised:increase1d{{{MACHINES}}})", "Alarms in 24 h"),
    (f"max by (instance, machine_id, version) (humwatch_model_info{{{MACHINES}}})", "Model"),
)
"""Expressions of the table's columns, and their titles."""


def _alarms() -> timeseries.Panel:
    text = PanelText(
        "Alarms raised in the 24 h before",
        "For each machine, alarms of the 24 hours before each moment. A line that climbs is a machine that gets worse,"
        " or a rule that is too nervous.",
        COUNT,
        decimals=0,
    )
    query = Query(f"machine:humwatch_alarms_raised:increase1d{{{MACHINES}}}", "{{machine_id}}")
    return graph(text, query).min(0)


def _ages() -> timeseries.Panel:
    text = PanelText(
        "Age of the last sound",
        f"Seconds since the last sound of each machine that is listened to. Over {LATE_S} s (line) it counts as without"
        " sound: look at its microphone, its box and the network.",
        SECONDS,
        no_value="none is listened to",
        decimals=0,
    )
    query = Query(f"machine:humwatch_audio_age:seconds{{{MACHINES}}}", "{{machine_id}}")
    return with_lines(graph(text, query).min(0).axis_soft_max(LATE_S), (LATE_S, RED))
