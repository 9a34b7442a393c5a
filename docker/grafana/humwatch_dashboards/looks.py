"""How a value looks by a panel's JSON: its text, its colour, the name of its series."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

CLASSIC: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f")
TEXT: Final = "#24292e"
_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS_S: Final = ((86_400, "days"), (3600, "hours"), (60, "min"))
_PLAIN: Final = {"cps": " /s", "cpm": " /min", "short": "", "none": ""}


@dataclass(frozen=True)
class Look:
    """Options of one field: a panel's defaults, with what overrides them for this field.

    Attributes:
        options: by Grafana's names, such as ``unit`` or ``custom.lineStyle``.
    """

    options: Mapping[str, Any]

    @classmethod
    def of(cls, panel: Mapping[str, Any], name: str) -> Look:
        """The look of the field of this name in a panel's JSON."""
        options = dict(panel["fieldConfig"]["defaults"])
        for override in panel["fieldConfig"]["overrides"]:
            if _matches(override["matcher"], name):
                options |= {one["id"]: one.get("value") for one in override["properties"]}
        return cls(options)

    def text(self, value: float) -> str:
        """What is written for a value."""
        mapped = self._mapped(value)
        return str(mapped["text"]) if mapped else with_unit(value, self.options["unit"], self.options.get("decimals"))

    def tick(self, value: float) -> str:
        """What is written at an axis: with more decimals where they are needed."""
        unit, decimals = self.options["unit"], self.options.get("decimals")
        size = abs(100 * value if unit == "percentunit" else value)
        small = unit not in {"bytes", "s"} and 0 < size < 10 and size % 1
        return with_unit(value, unit, 2 if small else decimals)

    def colour(self, value: float) -> str | None:
        """Colour of a value by its mapping, the field's own colour or the thresholds; None where none is given."""
        mapped = self._mapped(value)
        if mapped:
            return str(mapped["color"])
        fixed = self.fixed_colour()
        if fixed:
            return fixed
        steps = self.options.get("thresholds", {}).get("steps", [])
        passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
        return str(passed[-1]) if passed else None

    def fixed_colour(self) -> str | None:
        """Colour of the field, whatever its values."""
        colour = self.options.get("color", {})
        return str(colour["fixedColor"]) if colour.get("mode") == "fixed" else None

    def levels(self) -> Iterator[tuple[float, str]]:
        """Thresholds that are drawn as lines, and their colours."""
        if self.options.get("custom", {}).get("thresholdsStyle", {}).get("mode", "off") != "off":
            for step in self.options["thresholds"]["steps"]:
                if step["value"] is not None:
                    yield step["value"], step["color"]

    def _mapped(self, value: float) -> Mapping[str, Any] | None:
        for mapping in self.options.get("mappings", []):
            options = mapping["options"]
            if mapping["type"] == "special" and math.isnan(value):
                return dict(options["result"])
            if mapping["type"] == "value" and not math.isnan(value) and f"{value:g}" in options:
                return dict(options[f"{value:g}"])
        return None


def with_unit(value: float, unit: str, decimals: int | None) -> str:
    """A number as text, with its unit."""
    if math.isnan(value):
        return "NaN"
    if unit == "percentunit":
        return f"{100 * value:.{decimals or 0}f} %"
    if unit == "bytes":
        power = min(len(_BYTES) - 1, int(math.log(value, 1024)) if value >= 1 else 0)
        return f"{value / 1024**power:.{decimals or 0}f} {_BYTES[power]}"
    if unit == "s":
        return _seconds(value, decimals)
    suffix = f" {unit.removeprefix('suffix:')}" if unit.startswith("suffix:") else _PLAIN[unit]
    return f"{value:.{2 if decimals is None and value % 1 else decimals or 0}f}{suffix}"


def _seconds(value: float, decimals: int | None) -> str:
    for length_s, word in _SPANS_S:
        if value >= 2 * length_s:
            return f"{value / length_s:.1f} {word}"
    if decimals is None and value < 0.001:
        return f"{1e6 * value:.0f} µs"
    return f"{1000 * value:.0f} ms" if decimals is None and value < 1 else f"{value:.{decimals or 0}f} s"


def _matches(matcher: Mapping[str, Any], name: str) -> bool:
    if matcher["id"] == "byRegexp":
        return re.search(matcher["options"].strip("/"), name) is not None
    return bool(matcher["options"] == name)
