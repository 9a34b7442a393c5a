"""Common parts of the dashboards around their panels: time, refresh, links to each other, annotations."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as models

from humwatch_dashboards.variables import DATASOURCE

TAG: Final = "humwatch"
FLEET_UID: Final = "humwatch-fleet"
MACHINE_UID: Final = "humwatch-machine"
SERVICE_UID: Final = "humwatch-service"

KEPT: Final = "${datasource:queryparam}&${humwatch_url:queryparam}&${__url_time_range}"
"""End of a link to another dashboard: choices and time stay."""
STEP_S: Final = 30
"""Step in which annotations are looked for, seconds."""


def new_dashboard(uid: str, title: str, description: str, *, hours: int) -> builders.Dashboard:
    """Return a dashboard without panels: the last ``hours``, a shared cross-hair, a refresh every 5 s."""
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(f"now-{hours}h", "now")
        .refresh("5s")
        .timepicker(builders.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m"]))
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .annotations([])
        .link(
            builders.DashboardLink("Humwatch dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
    )


def outside(title: str, path: str, tooltip: str) -> builders.DashboardLink:
    """Return a link at the top of a dashboard to a path of the service, in a tab of its own."""
    return (
        builders.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(tooltip)
        .url(f"${{humwatch_url:raw}}{path}")
        .target_blank(True)
    )


def machine_link(machine_id: str, instance: str) -> str:
    """Return the address of the Machine dashboard for a machine of a service, as Grafana's variables of a value."""
    return f"/d/{MACHINE_UID}?var-machine_id={machine_id}&var-instance={instance}&{KEPT}"


class _Annotation(models.AnnotationQuery):
    """Annotation with the fields that Grafana's Prometheus reads beside its expression, which the typed model lacks."""

    def __init__(self, *, title: str, text: str, **facts: object) -> None:
        super().__init__(**facts)  # type: ignore[arg-type]
        self._title = title
        self._text = text

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {
            "step": f"{STEP_S}s",
            "tagKeys": "machine_id",
            "textFormat": self._text,
            "titleFormat": self._title,
            "useValueForTime": "off",
        }


class Annotation(cog.Builder[models.AnnotationQuery]):
    """Marks at the times at which an expression is over 0.

    Args:
        name: name at the top of the dashboard.
        expression: PromQL over a range that is longer than a step, or a step falls between two of its samples.
        colour: colour of the marks.
        title: title of a mark.
        text: text under the title.
    """

    def __init__(self, name: str, expression: str, *, colour: str, title: str, text: str) -> None:
        self._built = _Annotation(
            title=title, text=text, name=name, datasource=DATASOURCE, icon_color=colour, expr=expression
        )

    def build(self) -> models.AnnotationQuery:
        """Return the annotation."""
        return self._built
