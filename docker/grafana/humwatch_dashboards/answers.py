"""What a Prometheus answers to the expressions of a dashboard's JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt

from humwatch_dashboards.expressions import fill

Float64 = npt.NDArray[np.float64]

_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Series:
    """One series of an answer.

    Attributes:
        name: by the legend of the question that it answers.
        question: letter of that question in its panel.
        labels: of the series.
        times_s: float64 (n,), seconds since 1970, ascending.
        values: float64 (n,), NaN where it is none.
    """

    name: str
    question: str
    labels: Mapping[str, str]
    times_s: Float64
    values: Float64


class Asker:
    """Asks a Prometheus, with values in place of variables.

    Args:
        url: of the Prometheus.
        values: of the variables, by name.
        start_s: begin of what is shown over time, seconds since 1970.
        end_s: its end, and the moment of all other questions.
        step_s: between two values over time.
    """

    def __init__(self, url: str, values: Mapping[str, str], *, start_s: float, end_s: float, step_s: float) -> None:
        self._url = url
        self._values = values
        self.start_s, self.end_s, self.step_s = start_s, end_s, step_s

    def panel(self, panel: Mapping[str, Any]) -> list[Series]:
        """Answers to all questions of a panel."""
        found = []
        for target in panel["targets"]:
            found += self._ask(target["expr"], target["refId"], target["legendFormat"], ranged=target["range"])
        return found

    def annotation(self, annotation: Mapping[str, Any]) -> list[Series]:
        """Where an annotation is over 0."""
        return self._ask(annotation["expr"], "", annotation["titleFormat"], ranged=True)

    def _ask(self, expression: str, question: str, legend: str, *, ranged: bool) -> list[Series]:
        text = fill(expression, self._values)
        if ranged:
            span = {"start": str(self.start_s), "end": str(self.end_s), "step": str(self.step_s)}
            answer = httpx.get(f"{self._url}/api/v1/query_range", params={"query": text} | span, timeout=30)
        else:
            answer = httpx.get(f"{self._url}/api/v1/query", params={"query": text, "time": str(self.end_s)}, timeout=30)
        answer.raise_for_status()
        found = []
        for series in answer.json()["data"]["result"]:
            points = np.array(series.get("values") or [series["value"]], dtype=np.float64)
            labels = series["metric"]
            found.append(Series(_named(legend, labels), question, labels, points[:, 0], points[:, 1]))
        return found


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda match: labels.get(match[1], ""), legend)
