"""Grafana dashboards of Humwatch as code: ``python -m humwatch_dashboards FOLDER`` writes them as JSON."""

from humwatch_dashboards.expressions import expressions
from humwatch_dashboards.writing import DASHBOARDS, render

__all__ = ["DASHBOARDS", "expressions", "render"]
