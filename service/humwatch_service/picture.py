"""A scored recording to look at: what was heard, what was not expected, and when the score rose."""

from __future__ import annotations

import io
import threading
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from humwatch.features import hz_to_mel
from humwatch.monitor import ListeningSpec, Step
from humwatch.scoring import evidence_of
from humwatch_service.answers import ScoreAnswer

Float32 = npt.NDArray[np.float32]

MAX_COLUMNS: Final = 1500
"""Of a spectrogram: more than a picture's pixels, and the bound of a trace's memory (twice as many are held)."""

_STATE_COLOURS: Final = {"normal": "#1b6e4a", "warning": "#a65d00", "alarm": "#a51d2d", "unknown": "#555555"}
_INK: Final = "#222222"
_FAINT: Final = "#8a8a8a"
_STEP_COLOUR: Final = "#7aa6c2"
_CLIP_COLOUR: Final = "#123a5c"
_MARK_COLOUR: Final = "#c2410c"
_TICKS_HZ: Final = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
_DPI: Final = 110


class Columns:
    """Columns of a spectrogram, of which never more than ``2 * MAX_COLUMNS`` are kept.

    When there are more, neighbours are averaged in pairs, and from then on as they come.
    """

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.every = 1
        self._kept: list[Float32] = []
        self._count = 0
        self._rest: Float32 = np.zeros((0, self._bands), np.float32)

    def push(self, columns: Float32) -> None:
        """Take float32 (n, bands)."""
        held = np.concatenate([self._rest, columns])
        whole = len(held) // self.every * self.every
        self._rest = held[whole:].copy()
        pooled = held[:whole].reshape(-1, self.every, self._bands).mean(axis=1)  # (n, bands)
        self._kept.append(pooled)
        self._count += len(pooled)
        if self._count > 2 * MAX_COLUMNS:
            self._halve()

    def flush(self) -> Float32:
        """Return all columns, float32 (m, bands), the last one of what was left, and forget them."""
        rest = [self._rest.mean(axis=0, keepdims=True)] if len(self._rest) else []
        columns = np.concatenate([np.zeros((0, self._bands), np.float32), *self._kept, *rest])
        self.reset()
        return columns

    def _halve(self) -> None:
        kept = np.concatenate(self._kept)
        pairs = len(kept) // 2
        self._rest = np.concatenate([np.repeat(kept[2 * pairs :], self.every, axis=0), self._rest])
        self._kept = [kept[: 2 * pairs].reshape(pairs, 2, self._bands).mean(axis=1)]  # (pairs, bands)
        self._count = pairs
        self.every *= 2


class SoundTrace:
    """What a picture needs of the steps that pass: the level, and what of it was not expected, per window and band."""

    def __init__(self, listening: ListeningSpec) -> None:
        self.listening = listening
        bands = listening.features.n_mels
        self.level = Columns(bands)
        self.residual = Columns(bands)
        self._all_bands = np.arange(bands)

    def push(self, step: Step) -> None:
        """Take what was heard since the step before."""
        block = step.block
        if block is None:
            return
        middle = self.listening.windows.length_frames // 2
        evidence = evidence_of(block.windows, block.prediction, "residual_profile", self._all_bands)
        counts = evidence.counts
        residual = np.divide(evidence.sums, counts, out=np.zeros_like(counts), where=counts > 0)
        self.level.push(block.windows[:, middle, :])
        self.residual.push(residual.astype(np.float32))


class Painter:
    """Draws pictures, one at a time: matplotlib is not made for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def paint(self, answer: ScoreAnswer, trace: SoundTrace) -> bytes:
        """A PNG of a scored recording; the trace is used up."""
        with self._lock:
            figure = _figure(answer, trace)
            buffer = io.BytesIO()
            FigureCanvasAgg(figure).print_png(buffer)
            return buffer.getvalue()


def _figure(answer: ScoreAnswer, trace: SoundTrace) -> Figure:
    figure = Figure(figsize=(11.0, 8.2), dpi=_DPI, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, hspace=0.04)  # type: ignore[union-attr]
    heard, unexpected, scores = figure.subplots(3, 1, sharex=True, height_ratios=(1.0, 1.0, 0.8))
    colour = _STATE_COLOURS[answer.state]
    figure.suptitle(
        f"{answer.machine_id}   score {answer.score:.2f}   {answer.state.upper()}",
        color=colour,
        fontsize=17,
        fontweight="bold",
    )
    _draw_level(figure, heard, answer, trace)
    _draw_residual(figure, unexpected, answer, trace)
    _draw_scores(scores, answer)
    return figure


def _draw_level(figure: Figure, axes: Axes, answer: ScoreAnswer, trace: SoundTrace) -> None:
    level, extent = _image(trace, trace.level)
    low, high = np.percentile(level, [2.0, 99.8])
    image = axes.imshow(
        level.T, origin="lower", aspect="auto", extent=extent, cmap="cividis", vmin=low, vmax=max(high, low + 1.0)
    )
    _frequency_axis(axes, trace)
    _label(axes, "heard")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=14)
    bar.set_label("level, dB", color=_INK)


def _draw_residual(figure: Figure, axes: Axes, answer: ScoreAnswer, trace: SoundTrace) -> None:
    residual, extent = _image(trace, trace.residual)
    limit = max(6.0, float(np.percentile(np.abs(residual), 99.5)))
    image = axes.imshow(
        residual.T, origin="lower", aspect="auto", extent=extent, cmap="PuOr_r", vmin=-limit, vmax=limit
    )
    _frequency_axis(axes, trace)
    _label(axes, "heard, less what the model expected")
    _mark_bands(axes, answer)
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=14)
    bar.set_label("unexpected, dB", color=_INK)


def _image(trace: SoundTrace, columns: Columns) -> tuple[Float32, tuple[float, float, float, float]]:
    """Columns, float32 (m, bands), and where they lie: seconds across, mel upwards."""
    listening = trace.listening
    features, windows = listening.features, listening.windows
    window_s = windows.hop_frames * features.hop_samples / features.rate_hz
    column_s = window_s * columns.every
    # A column shows its window's middle frame.
    frame_s = (windows.length_frames // 2) * features.hop_samples + features.frame_samples / 2
    start_s = frame_s / features.rate_hz - window_s / 2
    data = columns.flush()
    bottom, top = (float(mel) for mel in hz_to_mel((features.low_hz, features.high_hz)))
    half = (top - bottom) / (features.n_mels + 1) / 2  # bands' centres lie this far apart, twice
    return data, (start_s, start_s + column_s * len(data), bottom + half, top - half)


def _frequency_axis(axes: Axes, trace: SoundTrace) -> None:
    features = trace.listening.features
    shown = [hz for hz in _TICKS_HZ if features.low_hz <= hz <= features.high_hz]
    axes.yaxis.set_major_locator(FixedLocator([float(hz_to_mel(hz)) for hz in shown]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in shown])
    axes.set_ylabel("frequency, Hz", color=_INK)
    axes.grid(visible=False)


def _label(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, color=_INK)


def _mark_bands(axes: Axes, answer: ScoreAnswer) -> None:
    """Bracket the bands that stick out, over the time that decided, and name the largest."""
    start_s, end_s = answer.worst.start_s, answer.worst.end_s
    for number, band in enumerate(answer.bands):
        low, high = (float(mel) for mel in hz_to_mel((band.low_hz, band.high_hz)))
        xs, ys = (start_s, end_s, end_s, start_s, start_s), (low, low, high, high, low)
        axes.plot(xs, ys, color="white", linewidth=2.6, scalex=False, scaley=False)
        axes.plot(xs, ys, color=_MARK_COLOUR, linewidth=1.3, scalex=False, scaley=False)
        if number < 3:
            sign = "" if band.departure_db is None else f", {band.departure_db:+.1f} dB"
            text = f"{band.low_hz:.0f} to {band.high_hz:.0f} Hz: {band.contribution:.0%}{sign}"
            axes.annotate(
                text,
                (end_s, (low + high) / 2),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=9,
                color=_INK,
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.85, "edgecolor": _MARK_COLOUR},
            )


def _draw_scores(axes: Axes, answer: ScoreAnswer) -> None:
    starts = [moment.start_s for moment in answer.timeline]
    ends = [moment.end_s for moment in answer.timeline]
    steps = [moment.score for moment in answer.timeline]
    axes.bar(
        starts,
        steps,
        width=np.subtract(ends, starts) * 0.96,
        align="edge",
        color=_STEP_COLOUR,
        label="each second (on its own scale)",
    )
    clips = [(moment.end_s, moment.clip_score) for moment in answer.timeline if moment.clip_score is not None]
    if clips:
        times, values = zip(*clips, strict=True)
        axes.plot(times, values, color=_CLIP_COLOUR, marker="o", markersize=5, linewidth=2, label="clip up to here")
    axes.axhline(1.0, color=_STATE_COLOURS["alarm"], linewidth=1.6, label="alarm")
    axes.axhline(
        answer.thresholds.warn, color=_STATE_COLOURS["warning"], linewidth=1.6, linestyle=(0, (5, 3)), label="warn"
    )
    highest = max([1.0, answer.score, *steps])
    axes.set_ylim(min(0.0, *steps, answer.score) * 1.1, highest * 1.18)
    axes.set_xlim(0.0, answer.duration_s)
    axes.set_xlabel("time, s", color=_INK)
    axes.set_ylabel("score", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", ncols=4, fontsize=9, frameon=False)
    _label(axes, "score: 0 is the median of normal, 1 the alarm level")
