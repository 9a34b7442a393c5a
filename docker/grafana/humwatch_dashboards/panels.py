"""Parts that panels share: what they ask, say and look like, and where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from humwatch_dashboards.palette import SKY
from humwatch_dashboards.variables import DATASOURCE

AnyPanel = stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
SomePanel = TypeVar("SomePanel", stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)

Shelf = tuple[int, Sequence[tuple[int, AnyPanel]]]
"""Height of a row of panels, and (width, panel) from left to right."""

COLUMNS: Final = 24
"""Of Grafana's grid."""

# Units, by Grafana's names.
RATIO: Final = "percentunit"
SECONDS: Final = "s"
BYTES: Final = "bytes"
COUNT: Final = "short"
PER_SECOND: Final = "cps"
PER_MINUTE: Final = "cpm"
DBFS: Final = "suffix:dBFS"
WORD: Final = "none"


@dataclass(frozen=True)
class About:
    """What a panel says of itself.

    Attributes:
        title: of the panel, alone of its kind in the dashboard.
        description: what it shows, and what to do about it.
        unit: of its values, by Grafana's name.
        no_value: shown where there is no data.
        decimals: of its values.
    """

    title: str
    description: str
    unit: str
    no_value: str = "no data"
    decimals: int | None = None


@dataclass(frozen=True)
class Question:
    """A PromQL expression, and what its answers are called (``{{label}}``)."""

    expression: str
    legend: str = ""


def graph(about: About, *questions: Question) -> timeseries.Panel:
    """Lines over time. Where there is no value, there is no line."""
    panel = _asked(timeseries.Panel(), [_over_time(question) for question in questions])
    return (
        _described(panel, about)
        .draw_style(common_models.GraphDrawStyle.LINE)
        .line_interpolation(common_models.LineInterpolation.LINEAR)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common_models.VisibilityMode.NEVER)
        .span_nulls(False)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(_tooltip())
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
    )


def latencies(about: About, *questions: Question) -> timeseries.Panel:
    """Lines over time on a logarithmic axis: milliseconds and a budget of a second are both seen."""
    scale = common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
    return graph(about, *questions).scale_distribution(scale)


def figure(about: About, *questions: Question) -> stat.Panel:
    """Numbers of this moment, each with its name when there are several."""
    panel = _asked(stat.Panel(), [_now(question) for question in questions])
    return _figures(_described(panel, about)).graph_mode(common_models.BigValueGraphMode.NONE)


def sparklines(about: About, question: Question) -> stat.Panel:
    """Numbers of this moment, each over its last hour or whatever time is chosen."""
    panel = _asked(stat.Panel(), [_over_time(question)])
    return _figures(_described(panel, about)).graph_mode(common_models.BigValueGraphMode.AREA)


def timeline(about: About, *questions: Question) -> statetimeline.Panel:
    """What held when: a row a series, text in each stretch."""
    panel = _asked(statetimeline.Panel(), [_over_time(question) for question in questions])
    return (
        _described(panel, about)
        .merge_values(True)
        .show_value(common_models.VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(90)
        .tooltip(_tooltip())
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(False)
            .calcs([])
        )
    )


def rows(about: About, *questions: Question) -> table.Panel:
    """A table of this moment: all answers that have the labels of the first in common become one row."""
    panel = _asked(table.Panel(), [_table(question) for question in questions])
    return (
        _described(panel, about)
        .show_header(True)
        .cell_height(common_models.TableCellHeight.SM)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    )


def columns(panel: table.Panel, shown: Sequence[tuple[str, str]], *, hidden: Iterable[str]) -> table.Panel:
    """Order and name a table's columns.

    Args:
        panel: to change.
        shown: field and its title, from left to right.
        hidden: fields that are not shown.
    """
    options = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: index for index, (name, _) in enumerate(shown)},
        "renameByName": dict(shown),
    }
    return panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))


def sorted_by(panel: table.Panel, field: str) -> table.Panel:
    """Sort a table's rows, the highest value first."""
    options = {"fields": {}, "sort": [{"field": field, "desc": True}]}
    return panel.with_transformation(models.DataTransformerConfig(id_val="sortBy", options=options))


def steps(*levels: tuple[float, str], base: str = SKY) -> builders.ThresholdsConfig:
    """Colours from these levels on."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(None, base), *(models.Threshold(level, colour) for level, colour in levels)])
    )


def with_lines(panel: timeseries.Panel, *levels: tuple[float, str]) -> timeseries.Panel:
    """Dashed lines at these levels."""
    style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps(*levels)).thresholds_style(style)


def property_(name: str, value: object) -> models.DynamicConfigValue:
    """One property of an override, such as ``unit``."""
    return models.DynamicConfigValue(id_val=name, value=value)


def fixed_colour(colour: str) -> models.DynamicConfigValue:
    """The property that gives a field one colour."""
    return property_("color", {"mode": "fixed", "fixedColor": colour})


def level_line(colour: str) -> list[models.DynamicConfigValue]:
    """Properties of a series that is a level: dashed, thin."""
    return [
        fixed_colour(colour),
        property_("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}),
        property_("custom.lineWidth", 1),
    ]


def link(title: str, url: str, *, new_tab: bool = False) -> dict[str, object]:
    """A link of a field's values."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def data_link(title: str, url: str, *, new_tab: bool = False) -> builders.DashboardLink:
    """A link of all a panel's values."""
    return builders.DashboardLink(title).url(url).target_blank(new_tab)


def laid_out(dashboard: builders.Dashboard, shelves: Sequence[Shelf]) -> builders.Dashboard:
    """Put panels on the grid from the top, numbered from 1; the widths of a shelf add up to 24 columns."""
    number, y = 0, 0
    for height, panels in shelves:
        x = 0
        for width, panel in panels:
            number += 1
            place = models.GridPos(h=height, w=width, x=x, y=y)
            dashboard.with_panel(panel.id(number).grid_pos(place))
            x += width
        if x != COLUMNS:
            raise ValueError(f"panels of a shelf are {x} columns wide, not {COLUMNS}")
        y += height
    return dashboard


def _asked(panel: SomePanel, queries: Sequence[prometheus.Dataquery]) -> SomePanel:
    for letter, query in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", queries, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel.datasource(DATASOURCE)


def _described(panel: SomePanel, about: About) -> SomePanel:
    panel.title(about.title).description(about.description).unit(about.unit).no_value(about.no_value)
    return panel if about.decimals is None else panel.decimals(about.decimals)


def _query(question: Question) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(question.expression)
        .legend_format(question.legend)
        .datasource(DATASOURCE)
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
    )


def _over_time(question: Question) -> prometheus.Dataquery:
    return _query(question).range().format(prometheus_models.PromQueryFormat.TIME_SERIES)


def _now(question: Question) -> prometheus.Dataquery:
    return _query(question).instant().format(prometheus_models.PromQueryFormat.TIME_SERIES)


def _table(question: Question) -> prometheus.Dataquery:
    return _query(question).instant().format(prometheus_models.PromQueryFormat.TABLE)


def _figures(panel: stat.Panel) -> stat.Panel:
    """The last value, also where it is none: an older one would look like the present."""
    return (
        panel.reduce_options(common.ReduceDataOptions().calcs(["last"]).fields("").values(False))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .text_mode(common_models.BigValueTextMode.AUTO)
        .justify_mode(common_models.BigValueJustifyMode.AUTO)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(steps())
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
