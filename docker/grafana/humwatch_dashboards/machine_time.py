"""When sound was recorded, on the Machine dashboard: its age when it was heard, and recordings of watched folders."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from humwatch_dashboards.panels import COUNT, PER_MINUTE, SECONDS, PanelRow, PanelText, Query, graph
from humwatch_dashboards.variables import MACHINE


def panel_rows() -> list[PanelRow]:
    """Return the panels, row by row."""
    return [(8, [(8, _age()), (8, _redated()), (8, _folder())])]


def _age() -> timeseries.Panel:
    text = PanelText(
        "Age of the sound when heard",
        "How long after it was recorded the sound was listened to, and that of the alarm in force. Live sound: seconds."
        " Of a backlog hours or days: then what is shown is how the machine was, not how it is.",
        SECONDS,
        no_value="no sound yet",
        decimals=0,
    )
    newest = Query(f"humwatch_sound_age_seconds{{{MACHINE}}}", "newest sound")
    return graph(text, newest, Query(f"humwatch_alarm_sound_age_seconds{{{MACHINE}}}", "of the alarm in force")).min(0)


def _redated() -> timeseries.Panel:
    text = PanelText(
        "Sound that was dated otherwise",
        "Times, in the hour before, that sound got another time than its sender said, or than the sound before it"
        " let expect: a clock that was set or stands, a start in the future. Look at the clocks of sender and box.",
        COUNT,
        decimals=0,
    )
    counted = f"sum by (reason) (increase(humwatch_sound_redated_total{{{MACHINE}}}[1h]))"
    return graph(text, Query(counted, "{{reason}}")).min(0)


def _folder() -> timeseries.Panel:
    text = PanelText(
        "Watched folder",
        "Recordings a minute, by what became of them, those that came after a newer one (late), and how many wait.",
        PER_MINUTE,
        no_value="no watched folder",
        decimals=1,
    )
    outcomes = f"60 * sum by (outcome) (rate(humwatch_folder_recordings_total{{{MACHINE}}}[$__rate_interval]))"
    late = f"60 * rate(humwatch_folder_late_recordings_total{{{MACHINE}}}[$__rate_interval])"
    waiting = Query(f"humwatch_folder_recordings_pending{{{MACHINE}}}", "waiting (recordings)")
    return graph(text, Query(outcomes, "{{outcome}}"), Query(late, "late"), waiting).min(0)
