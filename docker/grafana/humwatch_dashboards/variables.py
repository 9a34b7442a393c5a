"""Variables at the top of a dashboard, and the matchers that follow from them."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Data source that is chosen."""
DEFAULT_UID: Final = "humwatch-prometheus"
"""Data source of the provisioning."""

SERVICE: Final = 'job="humwatch", instance=~"$instance"'
"""Matchers for the services that are chosen."""
MACHINES: Final = f'{SERVICE}, machine_id=~"$machine_id"'
"""Matchers for the machines that are chosen, one or many."""
MACHINE: Final = f'{SERVICE}, machine_id="$machine_id"'
"""Matchers for the one machine that is chosen."""


def datasource() -> builders.DatasourceVariable:
    """Return the variable for the Prometheus."""
    return (
        builders.DatasourceVariable("datasource")
        .label("Prometheus")
        .description("The Prometheus that scrapes the service.")
        .type("prometheus")
        .current(models.VariableOption(selected=True, text="Humwatch Prometheus", value=DEFAULT_UID))
    )


def instance() -> builders.QueryVariable:
    """Return the variable for the services, by ``host:port``; all of them at first."""
    return _all_of(
        _query("instance", 'label_values(up{job="humwatch"}, instance)')
        .label("Service")
        .description("Services, as Prometheus labels them.")
    )


def machines() -> builders.QueryVariable:
    """Return the variable for the machines; all of them at first."""
    return _all_of(
        _query("machine_id", f"label_values(humwatch_alarm_state{{{SERVICE}}}, machine_id)")
        .label("Machine")
        .description("Machines of the services that are chosen.")
    )


def machine() -> builders.QueryVariable:
    """Return the variable for exactly one machine."""
    return (
        _query("machine_id", f"label_values(humwatch_alarm_state{{{SERVICE}}}, machine_id)")
        .label("Machine")
        .description("The machine that is looked at.")
    )


def humwatch_url() -> builders.TextBoxVariable:
    """Return the variable for the address of the service, as the viewer's browser reaches it."""
    address = "http://localhost:8000"
    return (
        builders.TextBoxVariable("humwatch_url")
        .label("Address of the service")
        .description("Start of the links to the service, as your browser reaches it; no slash at its end.")
        .default_value(address)
        .current(models.VariableOption(selected=True, text=address, value=address))
    )


def _query(name: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
    )


def _all_of(variable: builders.QueryVariable) -> builders.QueryVariable:
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything)
