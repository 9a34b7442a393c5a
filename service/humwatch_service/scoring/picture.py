"""The picture of a scored recording: its sound, its departure from normal, and its score over time."""

from __future__ import annotations

import io
import textwrap
import threading
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from humwatch.audio.features import FeatureSpec, hz_to_mel
from humwatch_service.protocol.detections import DETECTOR_TITLES, explanation_text
from humwatch_service.scoring.answers import Band, ScoreAnswer
from humwatch_service.scoring.sound_trace import Columns, SoundTrace

_STATE_COLOURS: Final = {
    "normal": "#1b6e4a",
    "warning": "#a65d00",
    "alarm": "#a51d2d",
    "unknown": "#555555",
    "off": "#555555",
}
_INK: Final = "#222222"
_FAINT: Final = "#767676"
_STEP_COLOUR: Final = "#a9c4d6"
_CLIP_COLOUR: Final = "#123a5c"
_UNHEARD: Final = "#e4e4e4"
_LOUDER: Final = "#b35806"
_MARK: Final = "#a51d2d"
_QUIETER: Final = "#6b4c9a"
_LABEL_MEL: Final = 3.0
"""Height of a label of a band, in mel of the frequency axis."""
_TICKS_HZ: Final = (250, 500, 1000, 2000, 4000, 8000, 16000)
_DPI: Final = 110
_MAX_TEXT: Final = 44
_WRAP: Final = 38
"""Characters in a line of the facts."""
_LINEAR_UP_TO: Final = 4.0
"""Scores over this are drawn on a logarithmic scale, or the levels could not be seen beside them."""


class Painter:
    """The maker of pictures, one at a time: matplotlib is not made for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def paint(self, answer: ScoreAnswer, trace: SoundTrace) -> bytes:
        """Return a PNG of a scored recording; the trace is used up."""
        with self._lock:
            figure = _figure(answer, trace)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
            return buffer.getvalue()


def _figure(answer: ScoreAnswer, trace: SoundTrace) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06, hspace=0.05, wspace=0.02)
    figure = Figure(figsize=(11.5, 8.0), dpi=_DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, width_ratios=(1.0, 0.27), height_ratios=(1.0, 1.0, 0.85))
    heard = figure.add_subplot(grid[0, 0])
    unusual = figure.add_subplot(grid[1, 0], sharex=heard, sharey=heard)
    scores = figure.add_subplot(grid[2, 0], sharex=heard)
    bands = figure.add_subplot(grid[1, 1], sharey=heard)
    _draw_title(figure, answer)
    _draw_level(figure, heard, trace)
    _draw_departure(figure, unusual, answer, trace)
    _mark_tones(heard, answer)
    for axes in (heard, unusual, scores):
        _mark_irregular_times(axes, answer)
    _draw_bands(bands, answer)
    _draw_scores(scores, answer)
    _draw_facts(figure.add_subplot(grid[0, 1]), answer)
    _draw_key(figure.add_subplot(grid[2, 1]), scores)
    return figure


def _draw_title(figure: Figure, answer: ScoreAnswer) -> None:
    text = f"{answer.machine_id}   score {answer.score:.2f}   {answer.state.upper()}"
    figure.suptitle(text, color=_STATE_COLOURS[answer.state], fontsize=17, fontweight="bold")


def _draw_level(figure: Figure, axes: Axes, trace: SoundTrace) -> None:
    image = _draw_image(axes, trace, trace.level, "cividis")
    level = image.get_array()
    low, high = np.percentile(np.asarray(level), [2.0, 99.8])
    image.set_clim(low, max(high, low + 1.0))
    _frequency_axis(axes, trace.pipeline.features)
    _heading(axes, "heard")
    _colour_bar(figure, axes, image, "level, dB")


def _draw_departure(figure: Figure, axes: Axes, answer: ScoreAnswer, trace: SoundTrace) -> None:
    image = _draw_image(axes, trace, trace.departure, "PuOr_r")
    departure = np.ma.masked_invalid(np.asarray(image.get_array()))
    known = np.abs(departure.compressed())
    limit = max(6.0, float(np.percentile(known, 99.7)) if known.size else 0.0)
    image.set_clim(-limit, limit)
    axes.set_facecolor(_UNHEARD)
    _frequency_axis(axes, trace.pipeline.features)
    _heading(axes, f"departure from {trace.reference}")
    for band in answer.bands if _is_of_bands(answer) else ():
        low, high = _mel_range(band)
        axes.plot(
            (answer.worst.start_s, answer.worst.end_s, answer.worst.end_s, answer.worst.start_s, answer.worst.start_s),
            (low, low, high, high, low),
            color=_INK,
            linewidth=1.1,
            scalex=False,
            scaley=False,
        )
    _colour_bar(figure, axes, image, "departure, dB")


def _is_of_bands(answer: ScoreAnswer) -> bool:
    """Return whether bands make the score."""
    return answer.detector in ("profile", "error")


def _mark_tones(axes: Axes, answer: ScoreAnswer) -> None:
    """Mark the frequencies of a tone before (dashed) and now."""
    if answer.line is None:
        return
    for hz, style in ((answer.line.before_hz, (0, (4, 3))), (answer.line.after_hz, "solid")):
        if hz is not None:
            axes.axhline(float(hz_to_mel(hz)), color=_MARK, linewidth=1.4, linestyle=style)


def _mark_irregular_times(axes: Axes, answer: ScoreAnswer) -> None:
    for time in answer.irregular_times:
        axes.axvspan(time.start_s, time.end_s, facecolor="none", edgecolor=_MARK, linewidth=1.4)


def _draw_image(axes: Axes, trace: SoundTrace, columns: Columns, colours: str) -> AxesImage:
    """Show columns, float32 (m, bands): seconds across, mel upwards (bands are equally wide in mel)."""
    features = trace.pipeline.features
    start_s, column_s = trace.seconds(columns)
    data = columns.flush()
    bottom, top = (float(mel) for mel in hz_to_mel((features.low_hz, features.high_hz)))
    half = (top - bottom) / (features.n_mels + 1) / 2  # bands' centres lie twice this apart
    extent = (start_s, start_s + column_s * len(data), bottom + half, top - half)
    # Means over pixels, not samples of them: a short event stays visible in a long recording.
    return axes.imshow(
        np.ma.masked_invalid(data.T),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=colours,
        interpolation="antialiased",
    )


def _frequency_axis(axes: Axes, features: FeatureSpec) -> None:
    shown = [hz for hz in _TICKS_HZ if features.low_hz <= hz <= features.high_hz]
    axes.set_ylim(*(float(mel) for mel in hz_to_mel((features.low_hz, features.high_hz))))
    axes.yaxis.set_major_locator(FixedLocator([float(hz_to_mel(hz)) for hz in shown]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in shown])
    axes.set_ylabel("frequency, Hz", color=_INK)
    axes.tick_params(axis="x", labelbottom=False)


def _heading(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, color=_INK)


def _colour_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=16)
    bar.set_label(label, color=_INK)


def _mel_range(band: Band) -> tuple[float, float]:
    low, high = (float(mel) for mel in hz_to_mel((band.low_hz, band.high_hz)))
    return low, high


def _draw_bands(axes: Axes, answer: ScoreAnswer) -> None:
    """Draw bars beside the departure, at the same heights, for the share of each range of frequencies in the score."""
    _heading(axes, "what makes the score" if _is_of_bands(answer) else "spectrum (did not decide)")
    axes.tick_params(axis="y", labelleft=False, left=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks([0.0, 0.5, 1.0], ["0", "50 %", "100 %"])
    free_from = -np.inf
    for band in sorted(answer.bands, key=lambda band: band.low_hz):
        low, high = _mel_range(band)
        colour = _QUIETER if band.departure_db < 0 else _LOUDER
        axes.barh(low, band.contribution, height=high - low, align="edge", color=colour)
        # Labels stand over their bars, in order, and step aside where ranges lie close.
        height = max(high + 0.4, free_from)
        free_from = height + _LABEL_MEL
        text = f"{band.low_hz:.0f} to {band.high_hz:.0f} Hz, {band.departure_db:+.1f} dB"
        axes.text(0.02, height, text, va="bottom", fontsize=8.5, color=_INK)


def _draw_scores(axes: Axes, answer: ScoreAnswer) -> None:
    starts = np.array([moment.start_s for moment in answer.timeline])
    ends = np.array([moment.end_s for moment in answer.timeline])
    steps = [moment.score for moment in answer.timeline]
    axes.bar(
        starts, steps, width=ends - starts, align="edge", color=_STEP_COLOUR, label="each second, on its own scale"
    )
    clips = [(moment.end_s, moment.clip_score) for moment in answer.timeline if moment.clip_score is not None]
    if len(clips) == 1:
        span, level = (answer.worst.start_s, answer.worst.end_s), (answer.score, answer.score)
        axes.plot(span, level, color=_CLIP_COLOUR, marker="o", linewidth=2, clip_on=False, label="the clip")
    elif clips:
        times, values = zip(*clips, strict=True)
        marker = "o" if len(clips) <= 60 else None
        axes.plot(
            times,
            values,
            color=_CLIP_COLOUR,
            marker=marker,
            linewidth=2,
            clip_on=False,
            label="the clip that ends here",
        )
    warn, alarm = _STATE_COLOURS["warning"], _STATE_COLOURS["alarm"]
    axes.axhline(1.0, color=alarm, linewidth=1.8, label="alarm: 1")
    name = f"warn: {answer.thresholds.warn:.2f}"
    axes.axhline(answer.thresholds.warn, color=warn, linewidth=1.8, linestyle=(0, (5, 3)), label=name)
    highest = max([1.0, answer.score, *steps])
    lowest = min([0.0, answer.score, *steps])
    if highest > _LINEAR_UP_TO:
        axes.set_yscale("symlog", linthresh=2.0, linscale=1.0)
        axes.yaxis.set_major_locator(
            FixedLocator([-10, -5, -2, -1, 0, 1, 2, *(10**k * n for k in range(6) for n in (5, 10, 20))])
        )
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(lowest * 1.1, highest * (1.12 if highest <= _LINEAR_UP_TO else 1.35))
    axes.set_xlim(0.0, answer.duration_s)
    axes.set_xlabel("time, s", color=_INK)
    axes.set_ylabel("score", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    _heading(axes, "score: 0 is the median of normal, 1 the alarm level")


def _draw_facts(axes: Axes, answer: ScoreAnswer) -> None:
    """Write the numbers beside the picture."""
    axes.set_axis_off()
    alarms = answer.expected_false_alarms_a_day
    lines = [
        f"decided by: {DETECTOR_TITLES[answer.detector]}",
        *_explanation(answer),
        f"model version {answer.model_version}",
        f"worst {answer.score_scale}: {answer.worst.start_s:.1f} to {answer.worst.end_s:.1f} s",
        f"p-value {answer.p_value:.3f}",
        f"level {answer.level_dbfs:.1f} dBFS",
        f"false alarms a day: {alarms.value:.0f}",
        f"    ({alarms.low:.0f} to {alarms.high:.0f})",
    ]
    notes = [f"! {warning.code.replace('_', ' ')}"[:_MAX_TEXT] for warning in answer.warnings]
    axes.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=10, color=_INK, linespacing=1.5, transform=axes.transAxes)
    axes.text(0.0, 0.0, "\n".join(notes), va="bottom", fontsize=9.5, color=_FAINT, linespacing=1.4)


def _explanation(answer: ScoreAnswer) -> list[str]:
    """Return the findings of rhythm and lines in lines of text; bands have a panel of their own."""
    text = explanation_text(answer, ())
    return textwrap.wrap(text, _WRAP, initial_indent="    ", subsequent_indent="    ")


def _draw_key(axes: Axes, scores: Axes) -> None:
    axes.set_axis_off()
    handles, labels = scores.get_legend_handles_labels()
    axes.legend(handles, labels, loc="upper left", frameon=False, fontsize=9.5, borderaxespad=0.0)
