from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from humwatch_dashboards import DASHBOARDS, palette, render
from humwatch_dashboards.answers import Asker, Series
from humwatch_dashboards.looks import Look, with_unit
from humwatch_dashboards.picture import HEAD_PX, ROW_PX, WIDTH_PX, picture

DOCUMENTS: dict[str, dict[str, Any]] = {name: json.loads(render(build())) for name, build in DASHBOARDS.items()}


def panel(name: str, title: str) -> dict[str, Any]:
    return next(one for one in DOCUMENTS[name]["panels"] if one["title"] == title)


class Made(Asker):
    """Answers every question with two series, a gap and a NaN in each; or with none."""

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__("http://127.0.0.1:9", {}, start_s=1000.0, end_s=1100.0, step_s=5.0)
        self._empty = empty

    def panel(self, panel: Any) -> list[Series]:
        times = np.delete(np.arange(1000.0, 1105.0, 5.0), 7)
        values = np.where(times == 1050, np.nan, times % 3)
        found = [] if self._empty else panel["targets"]
        return [
            Series(one["legendFormat"], one["refId"], {"machine_id": machine, "instance": "box"}, times, values)
            for one in found
            for machine in ("a", "b")
        ]

    def annotation(self, annotation: Any) -> list[Series]:
        return [] if self._empty else [Series("", "", {}, np.array([1000.0, 1005.0]), np.array([0.0, 1.0]))]


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_picture_holds_every_row_of_the_grid(name: str, empty: bool) -> None:
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in DOCUMENTS[name]["panels"])
    with Image.open(io.BytesIO(picture(DOCUMENTS[name], Made(empty=empty)))) as image:
        assert image.size == (WIDTH_PX, HEAD_PX + rows * ROW_PX)


def test_values_are_shown_as_mappings_units_and_thresholds_say() -> None:
    state = Look.of(panel("machine.json", "State"), "")
    assert [(state.text(one.value), state.colour(one.value)) for one in palette.STATES] == [
        (one.text, one.colour) for one in palette.STATES
    ]
    score = Look.of(panel("machine.json", "Score"), "")
    assert (score.text(0.5), score.colour(0.5)) == ("50 %", palette.SKY)
    assert (score.text(1.2), score.colour(1.2)) == ("120 %", palette.RED)
    assert score.text(math.nan) == "no score"
    level = Look.of(panel("machine.json", "Level"), "")
    assert (level.text(-23.4), level.text(math.nan)) == ("-23 dBFS", "no sound")
    assert Look.of(panel("fleet.json", "All machines"), "Age of sound").text(5) == "5 s"
    assert list(Look.of(panel("fleet.json", "Age of the last sound"), "").levels()) == [(60, palette.RED)]


def test_units_are_written_as_people_read_them() -> None:
    assert with_unit(0.014, "s", None) == "14 ms"
    assert with_unit(300, "s", 0) == "5.0 min"
    assert with_unit(200 * 2**20, "bytes", 1) == "200.0 MiB"
    assert with_unit(0, "bytes", 1) == "0.0 B"
    assert with_unit(2.5, "cpm", 1) == "2.5 /min"
    with pytest.raises(KeyError, match="furlong"):
        with_unit(1, "furlong", 0)
