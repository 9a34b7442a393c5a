"""Service dashboard: speed, load and resources of the service."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.models import common as common_models

from humwatch_dashboards import service_resources, service_speed, variables
from humwatch_dashboards.dashboard import SERVICE_UID, new_dashboard, outside
from humwatch_dashboards.palette import AMBER, BLUE, RED, SKY, Shown, mapped
from humwatch_dashboards.panels import (
    BYTES,
    COUNT,
    RATIO,
    SECONDS,
    WORD,
    PanelText,
    Query,
    figure,
    laid_out,
    steps,
)
from humwatch_dashboards.variables import SERVICE


def service() -> builders.Dashboard:
    """Return the dashboard, ready to be built."""
    dashboard = (
        new_dashboard(SERVICE_UID, "Humwatch Service", "Whether the service keeps up, and what it costs.", hours=1)
        .with_variable(variables.datasource())
        .with_variable(variables.instance())
        .with_variable(variables.humwatch_url())
        .link(outside("Health", "/healthz", "What the service says is amiss, as JSON."))
    )
    now = (_up(), _uptime(), _streams_now(), _load_now(), *_states_now())
    return laid_out(
        dashboard, [(4, [(3, panel) for panel in now]), *service_speed.panel_rows(), *service_resources.panel_rows()]
    )


def _up() -> stat.Panel:
    text = PanelText(
        "Up and ready",
        "Whether Prometheus reached every service that is chosen at its last scrape, and whether each can do all of its"
        " work. Not up: it does not run, or Prometheus lacks its key. Not ready: /healthz says why.",
        WORD,
        no_value="not scraped",
    )
    mappings = mapped((Shown("yes", 1, "yes", SKY), Shown("no", 0, "NO", RED)))
    panel = figure(text, Query(f"min(up{{{SERVICE}}})", "up"), Query(f"min(humwatch_ready{{{SERVICE}}})", "ready"))
    return (
        panel.mappings(mappings)
        .text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)
        .orientation(common_models.VizOrientation.VERTICAL)
        .color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)
    )


def _uptime() -> stat.Panel:
    text = PanelText(
        "Running for",
        "How long the youngest service runs. Short again and again: it is restarted; look at its log.",
        SECONDS,
        decimals=0,
    )
    query = Query(f"min(time() - process_start_time_seconds{{{SERVICE}}})")
    return figure(text, query).thresholds(steps(base=BLUE))


def _streams_now() -> stat.Panel:
    text = PanelText("Streams", "Streams that somebody feeds now.", COUNT, decimals=0)
    return figure(text, Query(f"sum(humwatch_live_streams{{{SERVICE}}})")).thresholds(steps(base=BLUE))


def _load_now() -> stat.Panel:
    text = PanelText(
        "Load",
        "Processor time that streams use of what they may use, of the busier of cores and interpreter. At 100 % no more"
        " streams are taken: give it more cores, or fewer streams.",
        RATIO,
        decimals=0,
    )
    query = Query(f"max(humwatch_live_load_ratio{{{SERVICE}}})")
    return figure(text, query).thresholds(steps((0.7, AMBER), (1, RED)))


def _states_now() -> tuple[stat.Panel, ...]:
    """Return the numbers that should be low: refused models, unsaved changes, the evidence's quota; and free disk."""
    refused = PanelText(
        "Models refused",
        "Machines whose active bundle failed a check; they go on with the model before, or without. `humwatch models"
        " verify` says why.",
        COUNT,
        decimals=0,
    )
    unsaved = PanelText(
        "Unsaved changes",
        "Alarm events that the disk has not taken yet. Over 0 for long: the disk is full, read-only or locked.",
        COUNT,
        decimals=0,
    )
    quota = PanelText(
        "Evidence of its quota",
        "What sounds and pictures of alarms take of what they may. At 100 % the oldest are deleted.",
        RATIO,
        decimals=0,
    )
    disk = PanelText(
        "Free disk",
        "What is free where alarms and evidence are kept. When it is full, alarms cannot be kept.",
        BYTES,
        decimals=1,
    )
    used = f"max(humwatch_evidence_bytes{{{SERVICE}}} / humwatch_evidence_max_bytes{{{SERVICE}}})"
    low = steps((500e6, AMBER), (2e9, SKY), base=RED)
    return (
        figure(refused, Query(f"sum(humwatch_models_refused{{{SERVICE}}})")).thresholds(steps((1, RED))),
        figure(unsaved, Query(f"sum(humwatch_unsaved_changes{{{SERVICE}}})")).thresholds(steps((1, RED))),
        figure(quota, Query(used)).thresholds(steps((0.8, AMBER))),
        figure(disk, Query(f"min(humwatch_state_free_bytes{{{SERVICE}}})")).thresholds(low),
    )
