"""Common parts of panels: queries, texts, styles and places on the grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from humwatch_dashboards.palette import SKY, VERDICTS
from humwatch_dashboards.variables import DATASOURCE

AnyPanel = stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
SomePanel = TypeVar("SomePanel", stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)

PanelRow = tuple[int, Sequence[tuple[int, AnyPanel]]]
"""Height of a row of panels, and (width, panel) from left to right."""

COLUMNS: Final = 24
"""Columns of Grafana's grid."""

# Units, by Grafana's names.
RATIO: Final = "percentunit"
SECONDS: Final = "s"
BYTES: Final = "bytes"
COUNT: Final = "short"
PER_SECOND: Final = "cps"
PER_MINUTE: Final = "cpm"
DBFS: Final = "suffix:dBFS"
WORD: Final = "none"
WEEKLY: Final = "suffix: a week"
AGO: Final = "dateTimeFromNow"
"""How long ago a time was, in milliseconds since 1970."""


@dataclass(frozen=True)
class PanelText:
    """Texts of a panel, and the format of its values.

    Attributes:
        title: title of the panel, unique in the dashboard.
        description: meaning of the panel, and advice.
        unit: unit of its values, by Grafana's name.
        no_value: text where there is no data.
        decimals: number of decimals of its values; None leaves it to Grafana.
    """

    title: str
    description: str
    unit: str
    no_value: str = "no data"
    decimals: int | None = None


@dataclass(frozen=True)
class Query:
    """PromQL expression, and the name of its series (with ``{{label}}``)."""

    expression: str
    legend: str = ""


def graph(text: PanelText, *queries: Query) -> timeseries.Panel:
    """Return a panel of lines over time, with gaps where there is no value."""
    panel = _with_queries(timeseries.Panel(), [_over_time(query) for query in queries])
    return (
        _with_text(panel, text)
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


def latencies(text: PanelText, *queries: Query) -> timeseries.Panel:
    """Return a panel of lines over time on a logarithmic axis, for milliseconds beside a budget of a second."""
    scale = common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
    return graph(text, *queries).scale_distribution(scale)


def figure(text: PanelText, *queries: Query) -> stat.Panel:
    """Return a panel of present numbers, each with its name when there are several."""
    panel = _with_queries(stat.Panel(), [_now(query) for query in queries])
    return _figures(_with_text(panel, text)).graph_mode(common_models.BigValueGraphMode.NONE)


def judgements(text: PanelText, aggregate: str, machines: str) -> stat.Panel:
    """Return a panel of alarms by judgement, each in its colour.

    Args:
        text: title, description and unit.
        aggregate: aggregation over series, as ``sum``.
        machines: label matchers of the machines.
    """
    queries = [
        Query(f'{aggregate}(humwatch_alarms_judged{{{machines}, verdict="{one.name}"}})', one.text) for one in VERDICTS
    ]
    panel = figure(text, *queries)
    for one in VERDICTS:
        panel.override_by_name(one.text, [fixed_colour(one.colour)])
    return panel.text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)


def sparklines(text: PanelText, query: Query) -> stat.Panel:
    """Return a panel of present numbers, each over its curve of the chosen time."""
    panel = _with_queries(stat.Panel(), [_over_time(query)])
    return _figures(_with_text(panel, text)).graph_mode(common_models.BigValueGraphMode.AREA)


def timeline(text: PanelText, *queries: Query) -> statetimeline.Panel:
    """Return a panel of states over time: a row a series, text in each stretch."""
    panel = _with_queries(statetimeline.Panel(), [_over_time(query) for query in queries])
    return (
        _with_text(panel, text)
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


def rows(text: PanelText, *queries: Query) -> table.Panel:
    """Return a table of the present: all series that share the labels of the first become one row."""
    panel = _with_queries(table.Panel(), [_table(query) for query in queries])
    return (
        _with_text(panel, text)
        .show_header(True)
        .cell_height(common_models.TableCellHeight.SM)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    )


def columns(panel: table.Panel, shown: Sequence[tuple[str, str]], *, hidden: Iterable[str]) -> table.Panel:
    """Order and name a table's columns.

    Args:
        panel: table to change.
        shown: pairs of a field and its title, from left to right.
        hidden: fields to hide.
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
    """Return thresholds: colours from these levels on."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(None, base), *(models.Threshold(level, colour) for level, colour in levels)])
    )


def with_lines(panel: timeseries.Panel, *levels: tuple[float, str]) -> timeseries.Panel:
    """Add dashed lines at these levels."""
    style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps(*levels)).thresholds_style(style)


def property_(name: str, value: object) -> models.DynamicConfigValue:
    """Return one property of an override, such as ``unit``."""
    return models.DynamicConfigValue(id_val=name, value=value)


def fixed_colour(colour: str) -> models.DynamicConfigValue:
    """Return the property that gives a field one colour."""
    return property_("color", {"mode": "fixed", "fixedColor": colour})


def level_line(colour: str) -> list[models.DynamicConfigValue]:
    """Return the properties of a series that is a level: dashed, thin."""
    return [
        fixed_colour(colour),
        property_("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}),
        property_("custom.lineWidth", 1),
    ]


def link(title: str, url: str, *, new_tab: bool = False) -> dict[str, object]:
    """Return a link of a field's values."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def data_link(title: str, url: str, *, new_tab: bool = False) -> builders.DashboardLink:
    """Return a link of all a panel's values."""
    return builders.DashboardLink(title).url(url).target_blank(new_tab)


def laid_out(dashboard: builders.Dashboard, panel_rows: Sequence[PanelRow]) -> builders.Dashboard:
    """Put panels on the grid from the top, numbered from 1; the widths of a row add up to 24 columns."""
    number, y = 0, 0
    for height, panels in panel_rows:
        x = 0
        for width, panel in panels:
            number += 1
            place = models.GridPos(h=height, w=width, x=x, y=y)
            dashboard.with_panel(panel.id(number).grid_pos(place))
            x += width
        if x != COLUMNS:
            raise ValueError(f"panels of a row are {x} columns wide, not {COLUMNS}")
        y += height
    return dashboard


def _with_queries(panel: SomePanel, queries: Sequence[prometheus.Dataquery]) -> SomePanel:
    for letter, query in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", queries, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel.datasource(DATASOURCE)


def _with_text(panel: SomePanel, text: PanelText) -> SomePanel:
    panel.title(text.title).description(text.description).unit(text.unit).no_value(text.no_value)
    return panel if text.decimals is None else panel.decimals(text.decimals)


def _dataquery(query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .datasource(DATASOURCE)
        .editor_mode(prometheus_models.QueryEditorMode.CODE)
    )


def _over_time(query: Query) -> prometheus.Dataquery:
    return _dataquery(query).range().format(prometheus_models.PromQueryFormat.TIME_SERIES)


def _now(query: Query) -> prometheus.Dataquery:
    return _dataquery(query).instant().format(prometheus_models.PromQueryFormat.TIME_SERIES)


def _table(query: Query) -> prometheus.Dataquery:
    return _dataquery(query).instant().format(prometheus_models.PromQueryFormat.TABLE)


def _figures(panel: stat.Panel) -> stat.Panel:
    """Show the last value, also where it is none: an older one would look like the present."""
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
