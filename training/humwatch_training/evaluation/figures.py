"""Pictures of an evaluation: ROC curves, histograms with thresholds, spectrograms with residuals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from humwatch.arrays import Float32
from humwatch.audio.features import FeatureSpec, hz_to_mel
from humwatch_training.evaluation.intervals import MAX_FALSE_ALARM_RATE, roc
from humwatch_training.evaluation.tables import MachineRow, ScoreRow

COLOURS: Final = ("#000000", "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#cc79a7", "#009e73")
"""Colours of Okabe and Ito, distinct also for people with red-green colour blindness."""
NORMAL: Final = "#0072b2"
ANOMALOUS: Final = "#d55e00"
TICKS_HZ: Final = (250, 500, 1000, 2000, 4000, 8000)
RESIDUAL_LIMIT_DB: Final = 12.0
_BINS: Final = 40
_DPI: Final = 90
_COLOURS_OF_PNG: Final = 64


@dataclass(frozen=True)
class ClipPicture:
    """A clip to be drawn: frames and residual (NaN where nothing was predicted), float32 (frames, n_mels) in dB."""

    title: str
    frames_db: Float32
    residual_db: Float32


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file of a few colours: spectrograms are noise, and would be four times the size."""
    FigureCanvasAgg(figure)
    drawn, stream = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_COLOURS_OF_PNG, dither=Image.Dither.NONE).save(stream, "png", optimize=True)
    return stream.getvalue()


def panels(rows: Sequence[ScoreRow]) -> dict[str, list[ScoreRow]]:
    """Group the rows to compare: each score, and with each kind of profile the one that needs no network."""
    found: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if not row.score.startswith("spectrum_"):
            found.setdefault(row.score, []).append(row)
    for row in rows:
        family, _, form = row.score.partition("_")
        if family == "spectrum":
            for name in [name for name in found if name.endswith(f"_{form}")] or [row.score]:
                found.setdefault(name, []).insert(0, row)
    return found


def roc_figure(rows: Sequence[ScoreRow]) -> Figure:
    """Return ROC curves: a row of panels for each score, a column for each machine, a colour a system."""
    compared = panels(rows)
    systems = list(dict.fromkeys(row.system.title for row in rows))
    machines = [machine.machine_id for machine in rows[0].machines]
    figure = Figure(figsize=(1.6 + 3.0 * len(machines), 0.9 + 2.8 * len(compared)), layout="constrained")
    grid = figure.subplots(len(compared), len(machines), squeeze=False, sharex=True, sharey=True)
    for line, (name, compared_rows) in zip(grid, compared.items(), strict=True):
        line[0].set_ylabel(f"{name}\ndetection rate")
        for column, axes in enumerate(line):
            for row in compared_rows:
                colour = COLOURS[systems.index(row.system.title) % len(COLOURS)]
                _roc_curve(axes, row.machines[column], row.system.title, colour)
    for axes, machine_id in zip(grid[0], machines, strict=True):
        axes.set_title(plain(machine_id))
    for axes in grid[-1]:
        axes.set_xlabel("false alarm rate")
    curves = {str(line.get_label()): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(list(curves.values()), list(curves), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _roc_curve(axes: Axes, machine: MachineRow, label: str, colour: str) -> None:
    normal, anomalous = machine.scores.normal.scores, machine.scores.anomalous.scores
    rates = roc(normal, anomalous, np.ones((1, len(normal))), np.ones((1, len(anomalous))))
    axes.plot(rates[0][0], rates[1][0], color=colour, linewidth=1.2, label=plain(label))
    axes.axvspan(0, MAX_FALSE_ALARM_RATE, color="#eeeeee", zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1.005))
    axes.grid(alpha=0.3)


def histogram_figure(rows: Sequence[ScoreRow]) -> Figure:
    """Return histograms of raw scores: a row of panels for each system and score, a column for each machine.

    The last bin of a panel holds all scores beyond.
    """
    machines = len(rows[0].machines)
    figure = Figure(figsize=(1.8 + 3.2 * machines, 0.6 + 1.55 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), machines, squeeze=False)
    for panels, row in zip(grid, rows, strict=True):
        for axes, machine in zip(panels, row.machines, strict=True):
            _histogram(axes, machine)
        panels[0].set_ylabel(plain(f"{row.system.name}\n{row.score}"), fontsize=8)
    for axes, machine in zip(grid[0], rows[0].machines, strict=True):
        axes.set_title(plain(machine.machine_id))
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _histogram(axes: Axes, machine: MachineRow) -> None:
    scores = machine.scores
    both = np.concatenate([scores.normal.scores, scores.anomalous.scores])
    low, high = min(both.min(), scores.warn), max(np.quantile(both, 0.98), scores.alarm * 1.05)
    bins = np.linspace(low, max(high, low + 1e-6), _BINS)
    for part, colour, label in ((scores.normal, NORMAL, "normal"), (scores.anomalous, ANOMALOUS, "anomalous")):
        axes.hist(
            np.clip(part.scores, low, bins[-1]), bins.tolist(), color=colour, alpha=0.55, density=True, label=label
        )
    axes.axvline(scores.warn, color="#767676", linestyle="--", linewidth=1, label="warning level")
    axes.axvline(scores.alarm, color="#222222", linewidth=1, label="alarm level")
    axes.set_yticks([])
    axes.tick_params(labelsize=7)


def clips_figure(pictures: Sequence[ClipPicture], features: FeatureSpec) -> Figure:
    """Return clips side by side: above the spectrogram, below it the residual."""
    figure = Figure(figsize=(1.2 + 2.9 * len(pictures), 5.0), layout="constrained")
    grid = figure.subplots(2, len(pictures), squeeze=False, sharey=True)
    levels = np.concatenate([picture.frames_db.ravel() for picture in pictures])
    low, high = np.quantile(levels, [0.01, 0.995])
    for (above, below), picture in zip(grid.T, pictures, strict=True):
        level = _image(above, picture.frames_db, features, cmap="magma", low=low, high=high)
        residual = _image(
            below, picture.residual_db, features, cmap="RdBu_r", low=-RESIDUAL_LIMIT_DB, high=RESIDUAL_LIMIT_DB
        )
        above.set_title(plain(picture.title), fontsize=8)
        below.set_xlabel("time, s")
    for axes in grid[:, 0]:
        _frequency_axis(axes, features)
    figure.colorbar(level, ax=grid[0].tolist(), label="level, dB", fraction=0.03)
    figure.colorbar(residual, ax=grid[1].tolist(), label="louder than expected, dB", fraction=0.03)
    return figure


def _image(axes: Axes, values_db: Float32, features: FeatureSpec, *, cmap: str, low: float, high: float) -> AxesImage:
    duration_s = len(values_db) / features.frame_rate_hz
    axes.set_facecolor("#cccccc")  # where nothing was predicted
    return axes.imshow(
        values_db.T,
        origin="lower",
        aspect="auto",
        extent=(0.0, duration_s, -0.5, features.n_mels - 0.5),
        cmap=cmap,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )


def _frequency_axis(axes: Axes, features: FeatureSpec) -> None:
    """Label mel bands with the frequencies at their centres, Hz."""
    low, high = hz_to_mel([features.low_hz, features.high_hz])
    ticks = [hz for hz in TICKS_HZ if features.low_hz < hz <= features.high_hz]
    positions = (hz_to_mel(ticks) - low) / (high - low) * (features.n_mels + 1) - 1
    axes.set_yticks(np.minimum(positions, features.n_mels - 0.5), [str(hz) for hz in ticks], fontsize=7)
    axes.set_ylabel("frequency, Hz")


def plain(text: str) -> str:
    """Escape text of a data set, so that matplotlib draws it literally and not as a formula."""
    return text.replace("$", r"\$")
