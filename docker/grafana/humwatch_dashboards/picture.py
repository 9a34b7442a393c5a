"""``python -m humwatch_dashboards.picture``: draw the dashboards' layout with data of a real Prometheus.

Not by Grafana: boxes, titles, lines, tiles and tables are drawn from a dashboard's JSON, so that a layout can be looked
at, and a question without an answer be seen, where there is no Grafana.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from PIL import Image

from humwatch_dashboards.answers import Asker
from humwatch_dashboards.drawing import draw
from humwatch_dashboards.writing import DASHBOARDS, render

WIDTH_PX: Final = 1280
ROW_PX: Final = 34
HEAD_PX: Final = 34
DPI: Final = 100
COLOURS: Final = (128, 96, 64)
"""Of the file: as many as fit into ``LARGEST_BYTES``."""
LARGEST_BYTES: Final = 150_000


def main() -> None:
    """Draw every dashboard into a folder."""
    parser = argparse.ArgumentParser(prog="humwatch_dashboards.picture", description=__doc__)
    parser.add_argument("folder", type=Path, help="where dashboard-NAME.png go")
    parser.add_argument("--prometheus", default="http://localhost:9090", help="its address")
    parser.add_argument("--machine", required=True, help="machine of the Machine dashboard")
    parser.add_argument("--minutes", type=float, default=5.0, help="how much is shown, up to now")
    given = parser.parse_args()
    now_s = time.time()
    for name, build in DASHBOARDS.items():
        document = json.loads(render(build()))
        several = name != "machine.json"
        values = {"machine_id": ".*" if several else given.machine, "instance": ".*", "__rate_interval": "20s"}
        asker = Asker(given.prometheus, values, start_s=now_s - 60 * given.minutes, end_s=now_s, step_s=5.0)
        path = given.folder / f"dashboard-{Path(name).stem}.png"
        path.write_bytes(picture(document, asker))
        sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")


def picture(document: dict[str, Any], asker: Asker) -> bytes:
    """A dashboard as PNG."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in document["panels"])
    height_px = HEAD_PX + rows * ROW_PX
    figure = Figure(figsize=(WIDTH_PX / DPI, height_px / DPI), dpi=DPI, facecolor="#eef0f3")
    head = f"{document['title']}   ·   drawn from its JSON and a Prometheus, not by Grafana"
    figure.text(0.008, 1 - 0.5 * HEAD_PX / height_px, head, va="center", fontsize=10, weight="bold")
    marks = [(one["iconColor"], series) for one in document["annotations"]["list"] for series in asker.annotation(one)]
    for panel in document["panels"]:
        place = panel["gridPos"]
        left, width = place["x"] * WIDTH_PX / 24, place["w"] * WIDTH_PX / 24
        top, height = HEAD_PX + place["y"] * ROW_PX, place["h"] * ROW_PX
        box = _axes(figure, height_px, (left + 3, top + 3, width - 6, height - 6))
        box.set(xticks=[], yticks=[], facecolor="white")
        box.spines[:].set_color("#d5d9de")
        box.text(6 / width, 1 - 11 / height, panel["title"], va="center", fontsize=8, weight="bold")
        margins = {"timeseries": (58, 26, 70, 80), "state-timeline": (100, 26, 110, 34)}
        x, y, less_wide, less_high = margins.get(panel["type"], (8, 26, 16, 34))
        inside = _axes(figure, height_px, (left + x, top + y, width - less_wide, height - less_high))
        draw(panel, asker, inside, marks)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return _small(drawn)


def _small(drawn: io.BytesIO) -> bytes:
    with Image.open(drawn) as image:
        for colours in COLOURS:
            file = io.BytesIO()
            image.convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE).save(file, "PNG", optimize=True)
            if file.tell() < LARGEST_BYTES:
                break
    return file.getvalue()


def _axes(figure: Figure, height_px: float, place: tuple[float, float, float, float]) -> Any:
    """Axes at (left, top, width, height) in pixels."""
    left, top, width, height = place
    return figure.add_axes((left / WIDTH_PX, 1 - (top + height) / height_px, width / WIDTH_PX, height / height_px))


if __name__ == "__main__":
    main()
