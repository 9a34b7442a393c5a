"""Picture of a service's capacity: latency and busy processors against the number of streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

LATE, USED = "#c2410c", "#1d4ed8"


def draw_capacity(report: dict[str, Any], path: Path) -> None:
    """Draw the levels of a ``humwatch capacity`` report as PNG: latency above, busy processors below."""
    levels = sorted(report["levels"], key=lambda level: int(level["streams"]))
    figure = Figure(figsize=(8.0, 5.6), dpi=110, layout="constrained")
    latency, cores = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for name, label, style in (("p50_s", "median", "--"), ("p99_s", "99th percentile", "-")):
        known = [(level["streams"], level["latency"][name]) for level in levels if level["latency"][name] is not None]
        latency.plot(*zip(*known, strict=True), style, color=LATE, marker="o", markersize=4, label=label)
    latency.axhline(report["budget_s"], color="0.4", linewidth=1.0)
    latency.annotate("budget", (1, report["budget_s"]), xytext=(0, 3), textcoords="offset points", color="0.4")
    for level in (level for level in levels if not level["sustained"]):
        latency.axvspan(0.97 * level["streams"], 1.03 * level["streams"], color="0.85")
    latency.set(yscale="log", ylabel="last sample to score, s")
    latency.legend(loc="center left")
    cores.plot(
        [level["streams"] for level in levels],
        [level["service_cores"] for level in levels],
        color=USED,
        marker="s",
        markersize=4,
    )
    cores.axhline(report["processors"], color="0.4", linewidth=1.0)
    cores.set(xscale="log", xlabel="live streams", ylabel="processors busy", ylim=(0, 1.1 * report["processors"]))
    cores.set_xticks(ticks := [level["streams"] for level in levels], labels=[str(tick) for tick in ticks], rotation=60)
    cores.minorticks_off()
    sustained = report["sustained_streams"]
    model = report["model"]
    latency.set_title(
        f"{sustained} streams within {report['budget_s']:g} s, {report['processors']} processors; grey: not sustained"
        f"\n{model['strategy']}, windows every {model['hop_frames']} frames",
        fontsize=10,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
