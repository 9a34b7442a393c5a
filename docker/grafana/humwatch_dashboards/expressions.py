"""Every PromQL expression of the dashboards, with values in place of Grafana's variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from humwatch_dashboards.writing import DASHBOARDS, render

_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<plain>\w+))")
_LABEL_VALUES: Final = re.compile(r"label_values\((?P<metric>.+), \w+\)")


def expressions(*, machine_id: str, instance: str, interval: str) -> list[tuple[str, str, str]]:
    """Return the expressions that the dashboards ask Prometheus.

    Args:
        machine_id: id of the machine that is chosen; in the fleet it may be a regular expression.
        instance: ``host:port`` as Prometheus labels the service, or a regular expression.
        interval: value of ``$__rate_interval``, with a unit; at least two scrapes long, better four.

    Returns:
        Title of the dashboard, title of the panel (or ``annotation NAME``, ``variable NAME``), expression.
    """
    values = {"machine_id": machine_id, "instance": instance, "__rate_interval": interval}
    found = []
    for build in DASHBOARDS.values():
        document = json.loads(render(build()))
        for place, text in queries(document):
            found.append((str(document["title"]), place, fill(text, values)))
    return found


def queries(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place of each expression in a dashboard's JSON, and the expression with its variables."""
    for panel in document["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in document["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", _selector(variable["query"]["query"])


def fill(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression with values in place of variables.

    Raises:
        KeyError: a variable has no value.
    """
    return _VARIABLE.sub(lambda match: values[match["braced"] or match["plain"]], expression)


def _selector(query: str) -> str:
    """Return the series that a variable takes its values from.

    Raises:
        ValueError: it is no ``label_values(SERIES, LABEL)``.
    """
    match = _LABEL_VALUES.fullmatch(query)
    if match is None:
        raise ValueError(f"not label_values(SERIES, LABEL): {query}")
    return match["metric"]
