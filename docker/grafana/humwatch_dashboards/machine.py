"""Machine dashboard: score, alarms and sound of one machine, and the faults of its source."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as common_models

from humwatch_dashboards import machine_decide, machine_time, variables
from humwatch_dashboards.dashboard import MACHINE_UID, STEP_S, Annotation, new_dashboard, outside
from humwatch_dashboards.palette import AMBER, BLUE, FAULTS, GREY, RED, SKY, STATES, Shown, mapped, state_number
from humwatch_dashboards.panels import (
    COUNT,
    DBFS,
    PER_MINUTE,
    RATIO,
    SECONDS,
    WORD,
    PanelText,
    Query,
    columns,
    data_link,
    figure,
    fixed_colour,
    graph,
    laid_out,
    level_line,
    property_,
    rows,
    steps,
    timeline,
)
from humwatch_dashboards.variables import MACHINE

PAGE: Final = "/v1/machines/${machine_id}"
LATEST: Final = f"{PAGE}/alarms/latest"
WINDOW_S: Final = STEP_S + 15
"""Range of an annotation's expression: a step, and three scrapes so that none falls between two samples."""


def machine() -> builders.Dashboard:
    """Return the dashboard, ready to be built."""
    dashboard = (
        new_dashboard(
            MACHINE_UID, "Humwatch Machine", "How one machine sounds, and whether its sound can be believed.", hours=6
        )
        .with_variable(variables.datasource())
        .with_variable(variables.instance())
        .with_variable(variables.machine())
        .with_variable(variables.humwatch_url())
        .annotation(_marks("raised", RED, "Alarm raised"))
        .annotation(_marks("cleared", SKY, "Alarm cleared"))
        .link(outside("Status", f"{PAGE}/status", "What the service says of this machine, as JSON."))
        .link(outside("Last alarm", LATEST, "The last alarm: score, bands, rule, who acknowledged it."))
        .link(outside("Its sound", f"{LATEST}/clip.flac", "Sound of the last alarm, with what was before it."))
        .link(outside("Its picture", f"{LATEST}/picture.png", "What of the last alarm's sound stands out."))
    )
    return laid_out(
        dashboard,
        [
            (4, [(4, _state()), (4, _score_now()), (4, _level_now()), (4, _age()), (4, _last_alarm()), (4, _marked())]),
            (9, [(24, _score())]),
            (4, [(24, _states())]),
            *machine_decide.panel_rows(),
            (8, [(24, _faults())]),
            (8, [(12, _level()), (12, _drift())]),
            (8, [(8, _gaps()), (8, _drops()), (8, _work())]),
            *machine_time.panel_rows(),
            (6, [(8, _events()), (16, _model())]),
        ],
    )


def _marks(event: str, colour: str, title: str) -> Annotation:
    expression = f'increase(humwatch_alarm_transitions_total{{{MACHINE}, event="{event}"}}[{WINDOW_S}s])'
    return Annotation(f"Alarms {event}", expression, colour=colour, title=title, text="{{machine_id}}")


def _state() -> stat.Panel:
    text = PanelText(
        "State",
        "What the rule of this machine says now. Unknown: its sound cannot be judged, see the faults below; off: it"
        " stands; out of service: somebody took it out.",
        WORD,
        no_value="not there",
    )
    query = Query(state_number(MACHINE))
    return (
        figure(text, query)
        .mappings(mapped(STATES))
        .color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)
        .data_links([data_link("What the service says", f"${{humwatch_url:raw}}{PAGE}/status", new_tab=True)])
    )


def _score_now() -> stat.Panel:
    text = PanelText(
        "Score",
        "Score of the last ten seconds as a share of the alarm level: 0 % is the median of normal sound, 100 % alarms."
        " None while the sound cannot be judged.",
        RATIO,
        decimals=0,
    )
    query = Query(f"max(humwatch_anomaly_score_ratio{{{MACHINE}}})")
    return figure(text, query).mappings(mapped((), nothing="no score")).thresholds(steps((1, RED)))


def _level_now() -> stat.Panel:
    text = PanelText(
        "Level",
        "Level of the last second, 0 dBFS being full scale. Far from its usual level the microphone was moved, its gain"
        " changed, or the machine runs differently.",
        DBFS,
        decimals=0,
    )
    query = Query(f"max(humwatch_audio_level_dbfs{{{MACHINE}}})")
    return figure(text, query).mappings(mapped((), nothing="no sound")).thresholds(steps(base=BLUE))


def _age() -> stat.Panel:
    text = PanelText(
        "Last sound",
        "How long ago the last sound was taken. It grows when the microphone, its box or the network is gone.",
        SECONDS,
        no_value="not listened to",
        decimals=0,
    )
    query = Query(f"max(machine:humwatch_audio_age:seconds{{{MACHINE}}})")
    return figure(text, query).thresholds(steps((30, AMBER), (60, RED)))


def _last_alarm() -> stat.Panel:
    text = PanelText(
        "Last alarm",
        "Number of the last alarm; 0 before the first. Click for its page, its sound and its picture.",
        COUNT,
        decimals=0,
    )
    query = Query(f"max(humwatch_alarm_last_number{{{MACHINE}}})")
    links = (("Page", LATEST), ("Sound", f"{LATEST}/clip.flac"), ("Picture", f"{LATEST}/picture.png"))
    return (
        figure(text, query)
        .thresholds(steps(base=BLUE))
        .data_links([data_link(title, f"${{humwatch_url:raw}}{path}", new_tab=True) for title, path in links])
    )


def _marked() -> stat.Panel:
    text = PanelText(
        "Seen to",
        "Whether an alarm is in force (also while the machine is not heard), whether somebody acknowledged it, and"
        " whether alarms are shelved, so that nobody is told.",
        WORD,
    )
    active = Query(f"max(humwatch_alarm_active{{{MACHINE}}})", "in force")
    acknowledged = Query(f"max(humwatch_alarm_acknowledged{{{MACHINE}}})", "acknowledged")
    shelved = Query(f"max(humwatch_alarm_shelved{{{MACHINE}}})", "shelved")
    return (
        figure(text, active, acknowledged, shelved)
        .mappings(mapped((Shown("yes", 1, "yes", BLUE), Shown("no", 0, "no", GREY))))
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
        .orientation(common_models.VizOrientation.VERTICAL)
    )


def _score() -> timeseries.Panel:
    text = PanelText(
        "Score and levels",
        "Score of the last ten seconds, with the levels where it warns and alarms (the rule adds delays and k of n)."
        " No line where the sound could not be judged. Marks: alarms raised and cleared.",
        RATIO,
        decimals=0,
    )
    score = Query(f"humwatch_anomaly_score_ratio{{{MACHINE}}}", "score")
    warn = Query(f'humwatch_anomaly_threshold{{{MACHINE}, level="warn"}}', "warn level")
    alarm = Query(f'humwatch_anomaly_threshold{{{MACHINE}, level="alarm"}}', "alarm level")
    return (
        graph(text, score, warn, alarm)
        .override_by_name("score", [fixed_colour(BLUE)])
        .override_by_name("warn level", level_line(AMBER))
        .override_by_name("alarm level", level_line(RED))
    )


def _states() -> statetimeline.Panel:
    text = PanelText(
        "State over time",
        "What the rule said when. A gap is time that Prometheus knows nothing of.",
        WORD,
    )
    query = Query(state_number(MACHINE), "state")
    return timeline(text, query).mappings(mapped(STATES))


def _faults() -> statetimeline.Panel:
    text = PanelText(
        "Faults of the source",
        "What was wrong with the sound itself, and when. With silent, stuck, drop-outs, wrong rate or bandwidth limited"
        " nothing is judged; see docs/sources.md for what to do about each.",
        WORD,
    )
    query = Query(f"max by (fault) (humwatch_source_fault{{{MACHINE}}})", "{{fault}}")
    fault = Shown("fault", 1, "fault", RED)
    panel = timeline(text, query).mappings(mapped((fault, Shown("none", 0, "none", SKY))))
    for one in FAULTS:
        panel.override_by_name(one.name, [property_("displayName", one.text)])
    return panel


def _level() -> timeseries.Panel:
    text = PanelText(
        "Level over time",
        "Level of each second, 0 dBFS being full scale. A step is a moved microphone or another gain: calibrate again."
        " No line where there was no sound.",
        DBFS,
        decimals=0,
    )
    query = Query(f"humwatch_audio_level_dbfs{{{MACHINE}}}", "level")
    return graph(text, query).override_by_name("level", [fixed_colour(BLUE)])


def _drift() -> timeseries.Panel:
    text = PanelText(
        "Drift",
        "Median of the scores of the day before each moment: near 0 % while the machine sounds as it did at its"
        " calibration. One that moves away slowly is wear, or a calibration that no longer fits.",
        RATIO,
        decimals=0,
    )
    query = Query(f"machine:humwatch_anomaly_score_ratio:median1d{{{MACHINE}}}", "median of a day")
    return graph(text, query).override_by_name("median of a day", [fixed_colour(BLUE)])


def _gaps() -> timeseries.Panel:
    text = PanelText(
        "Missing sound",
        "Sound that never came, as a share of time. Look at the network, or at the load of the microphone's box.",
        RATIO,
        decimals=1,
    )
    query = Query(f"rate(humwatch_audio_gap_seconds_total{{{MACHINE}}}[$__rate_interval])", "gaps")
    return graph(text, query).min(0)


def _drops() -> timeseries.Panel:
    text = PanelText(
        "Overflows and drops",
        "A minute: times that the sound card lost samples, and windows without a score (gap) or whose score a slow"
        " client did not get (client_slow). All should be 0.",
        PER_MINUTE,
        decimals=1,
    )
    overflows = Query(f"60 * rate(humwatch_audio_overflows_total{{{MACHINE}}}[$__rate_interval])", "overflows")
    drops = f"60 * sum by (reason) (rate(humwatch_windows_dropped_total{{{MACHINE}}}[$__rate_interval]))"
    return graph(text, overflows, Query(drops, "windows: {{reason}}")).min(0)


def _work() -> timeseries.Panel:
    text = PanelText(
        "Recordings scored",
        "Uploaded recordings of this machine a minute, by what came of them.",
        PER_MINUTE,
        decimals=1,
    )
    rate = f"60 * sum by (outcome) (rate(humwatch_score_requests_total{{{MACHINE}}}[$__rate_interval]))"
    return graph(text, Query(rate, "{{outcome}}")).min(0)


def _events() -> table.Panel:
    text = PanelText(
        "Events in 24 h",
        "How often something happened to the state and the alarms of this machine in the last 24 hours.",
        COUNT,
        decimals=0,
    )
    counts = f"sort_desc(sum by (event) (increase(humwatch_alarm_transitions_total{{{MACHINE}}}[1d])))"
    return columns(
        rows(text, Query(counts)), [("event", "Event"), ("Value", "Times"), ("Value #A", "Times")], hidden=()
    )


def _model() -> table.Panel:
    text = PanelText(
        "Model in use",
        "Version of the model that scores this machine, start of the SHA-256 of its bundle, what it predicts from what"
        " (strategy) and how that becomes a score.",
        WORD,
        no_value="no model",
    )
    panel = rows(text, Query(f"humwatch_model_info{{{MACHINE}}}"))
    shown = [
        ("version", "Version"),
        ("digest", "Digest"),
        ("strategy", "Strategy"),
        ("score", "Score"),
        ("instance", "Service"),
    ]
    return columns(panel, shown, hidden=("Value", "Value #A", "__name__", "job", "machine_id"))
