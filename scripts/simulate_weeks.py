"""False alarms a week, promised and seen, and the time to an alarm beside the on-delay: tables of docs/false-alarms.md.

    python scripts/simulate_weeks.py [--calibrations 200] [--hours 72] [--weeks 26] [--json FILE]
        [--logmel FILE.npz ...] [--recordings FOLDER ...]

A synthetic machine is a series of scores, one a second: conditions of exponential duration, each with a mean of its
own, and noise of clips that overlap. Real machines are normal clips of a data set in blocks: half of them calibrate the
shipped network's statistics, the others are heard clip after clip, each block one condition (clips with neighbouring
names) for a time. Limits are fitted to the scores of `--hours`; alarms are then counted over other weeks, by the alarm
tracker itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from humwatch import OnnxPredictor, calibrate, read_bundle
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.sequential import Chart, EvidenceTracker, SequentialLimits
from humwatch.arrays import Float64
from humwatch.audio.files import audio_files
from humwatch.audio.windows import Windower
from humwatch.false_alarms.decision import Decision
from humwatch.false_alarms.estimate import WEEK_S, fit_decision
from humwatch.false_alarms.provisional import PROVISIONAL_LIMITS
from humwatch.false_alarms.scores import NormalScores, ScoreSegment
from humwatch.false_alarms.statistic import cluster_peaks, on_delay_statistic, sequential_statistic
from humwatch.normal_recording import normal_clips
from humwatch.pipeline import network_response
from humwatch.scoring.calibration import CalibrationSpec, judge
from humwatch.scoring.evidence import evidence_of
from humwatch.scoring.normal_clip import NormalClip

BUNDLE: Final = Path("models/fan-id_00/2")
RULE: Final = AlarmRule()
WARM_UP_S: Final = 3_600
FAULTS: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""What a fault adds to the score of normal sound; 1 takes the median normal clip to the alarm level."""
RAMP_S: Final = 10
"""A clip holds so much sound: a fault is wholly in it after that."""
WATCHED_S: Final = 3_600
ONSETS: Final = 200
EQUAL_WEEKS: Final = 26
PROVISIONAL_DRAWS: Final = 20

Sound = Callable[[np.random.Generator, int], Float64]


@dataclass(frozen=True)
class SyntheticMachine:
    """Scores of a machine whose conditions change."""

    between: float
    within: float
    condition_s: float
    heavy: int = 0

    def __call__(self, random: np.random.Generator, seconds: int) -> Float64:
        """Draw so many seconds of scores, float64 (seconds,)."""
        durations = np.ceil(random.exponential(self.condition_s, size=int(2 * seconds / self.condition_s) + 60))
        means = random.normal(0.0, self.between, size=len(durations))
        conditions = np.repeat(means, durations.astype(int) + 1)[:seconds]
        if self.heavy:
            drawn = random.standard_t(self.heavy, size=seconds + 9) / np.sqrt(self.heavy / (self.heavy - 2))
        else:
            drawn = random.normal(size=seconds + 9)
        total = np.cumsum(np.concatenate([[0.0], drawn]))
        found: Float64 = conditions + self.within * (total[10:] - total[:-10]) / np.sqrt(10)
        return found


@dataclass(frozen=True)
class ClipsInBlocks:
    """Scores of real normal clips, heard clip after clip; a block stays among clips with neighbouring names."""

    scores: Float64
    clip_s: int
    block_s: float = 1_200.0
    neighbours: int = 12

    def __call__(self, random: np.random.Generator, seconds: int) -> Float64:
        """Draw so many seconds of scores, float64 (seconds,); from clip to clip the score goes in a straight line."""
        clips = seconds // self.clip_s + 2
        drawn = np.empty(clips)
        at = 0
        while at < clips:
            length = 1 + int(random.exponential(self.block_s / self.clip_s))
            first = int(random.integers(0, len(self.scores) - self.neighbours))
            block = random.integers(first, first + self.neighbours, size=min(length, clips - at))
            drawn[at : at + len(block)] = self.scores[block]
            at += len(block)
        return np.interp(np.arange(seconds) / self.clip_s, np.arange(clips), drawn)


SYNTHETIC: Final[dict[str, SyntheticMachine]] = {
    "steady": SyntheticMachine(0.10, 0.38, 1_800),
    "conditions of 20 min": SyntheticMachine(0.20, 0.33, 1_200),
    "conditions of 90 min": SyntheticMachine(0.25, 0.30, 5_400),
    "heavy tails": SyntheticMachine(0.15, 0.33, 1_800, heavy=5),
}


def clips_of_recordings(folder: Path) -> list[NormalClip]:
    """Return a clip of each recording, through the shipped network."""
    bundle = read_bundle(BUNDLE)
    predictor = OnnxPredictor(bundle.graph)
    spec = bundle.manifest.pipeline
    return [normal_clips(path, path.name, spec, predictor, channel=0)[0] for path in audio_files(folder)]


def clips_of_logmel(file: Path) -> list[NormalClip]:
    """Return the normal clips of an archive of log-mel spectrograms, through the shipped network."""
    bundle = read_bundle(BUNDLE)
    predictor = OnnxPredictor(bundle.graph)
    spec = bundle.manifest.pipeline
    found = []
    with np.load(file) as arrays:
        normal = arrays["role"] < 2
        for name, packed in zip(arrays["name"][normal], arrays["logmel_db_q"][normal], strict=True):
            windower = Windower(spec.windows, spec.features)
            frames = (packed * np.float32(0.4) - np.float32(90)).astype(np.float32)
            windows = np.concatenate([*windower.push(frames), *windower.flush()])
            evidence = evidence_of(
                windows,
                predictor.predict(windows),
                "consensus",
                spec.scoring.bands(spec.features),
                profiles_hop=spec.windows.hop_frames,
            )
            found.append(NormalClip(str(name), evidence, -20.0, 16))
    return sorted(found, key=lambda clip: clip.recording)


def clips_in_blocks(
    clips: list[NormalClip], random: np.random.Generator, *, known_clips: int | None = None
) -> ClipsInBlocks:
    """Calibrate on some clips, drawn at random, or half of them; return the others' scores."""
    bundle = read_bundle(BUNDLE)
    spec = bundle.manifest.pipeline
    known = np.zeros(len(clips), bool)
    known[random.permutation(len(clips))[: known_clips or len(clips) // 2]] = True
    calibration = calibrate(
        [clip for clip, used in zip(clips, known, strict=True) if used],
        scoring=spec.scoring,
        spec=CalibrationSpec(),
        step_windows=spec.step_windows,
        clip_seconds=spec.windows.clip_seconds,
        response=network_response(spec, OnnxPredictor(bundle.graph), bundle.golden.windows),
    ).clip
    raw = [
        judge(calibration, clip.evidence, spec.scoring, clip.lines)
        for clip, used in zip(clips, known, strict=True)
        if not used
    ]
    return ClipsInBlocks(np.array([calibration.thresholds.normalise(score) for score in raw]), 10)


def alarms(scores: Float64, limits: SequentialLimits) -> int:
    """Count the alarms that the tracker raises; it is run only about the places where an average passes its limit."""
    over = np.flatnonzero(sequential_statistic(scores, limits, 1.0) >= 1.0)
    count, at = 0, 0
    for crossing in over.tolist():
        if crossing < at:
            continue
        tracker = EvidenceTracker(limits.charts, RULE)
        start = max(0, crossing - WARM_UP_S)
        quiet_s, at = 0, start
        while at < len(scores) and (at <= crossing or quiet_s < WARM_UP_S):
            raised = tracker.judge(float(scores[at]), 1.0) and tracker.active
            count += raised and at >= crossing
            quiet_s = 0 if tracker.active else quiet_s + 1
            at += 1
    return count


def fitted(scores: Float64) -> Decision:
    """Fit a decision to scores, one a second."""
    return fit_decision(NormalScores([ScoreSegment(0.0, scores)]))


def coverage(name: str, sound: Sound, random: np.random.Generator, hours: int, weeks: int) -> dict[str, object]:
    """Fit limits to some hours, and count the alarms of other weeks."""
    decision = fitted(sound(random, hours * 3_600))
    count = sum(alarms(sound(random, int(WEEK_S)), decision.limits) for _ in range(weeks))
    rate = decision.rate
    assert rate.low_a_week is not None
    assert rate.high_a_week is not None
    # None in W weeks is what a rate of up to 3 / W gives in one case of twenty.
    low = 0.0 if count == 0 and rate.low_a_week * weeks < 3 else rate.low_a_week
    return {
        "machine": name,
        "low": rate.low_a_week,
        "high": rate.high_a_week,
        "promised": rate.promised,
        "independent": rate.blocks,
        "seen": count / weeks,
        "inside": low <= count / weeks <= rate.high_a_week,
    }


def coverage_text(rows: list[dict[str, object]]) -> Iterator[str]:
    """Yield the lines of the table of promised and seen."""
    yield "| machine | calibrations | promised | seen a week, median (mean) | interval, median | seen in it |"
    yield "|---|---|---|---|---|---|"
    names = [*dict.fromkeys(str(row["machine"]) for row in rows), "all", "all that are promised"]
    for name in names:
        those = [
            row for row in rows if name in ("all", row["machine"]) or (name.startswith("all that") and row["promised"])
        ]
        seen, low, high = (np.array([row[key] for row in those], float) for key in ("seen", "low", "high"))
        inside = sum(bool(row["inside"]) for row in those)
        yield (
            f"| {name} | {len(those)} | {sum(bool(row['promised']) for row in those)} | {np.median(seen):.2f}"
            f" ({seen.mean():.2f}) | {np.median(low):.2f} to {np.median(high):.1f} | {inside / len(those):.0%} |"
        )


def equal_on_delay_level(series: list[Float64], wanted: float) -> float:
    """Return the level at which version 0.1's rule raises as many alarms a week on the same sound."""
    statistics = [on_delay_statistic(scores, RULE, 1.0) for scores in series]
    low, high = 0.5, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        count = sum(len(cluster_peaks(one, middle)[0]) for one in statistics)
        low, high = (middle, high) if count > wanted * len(series) else (low, middle)
    return high


def equal_limits(series: list[Float64], limits: SequentialLimits, wanted: float) -> SequentialLimits:
    """Move all limits by one factor, so that they raise so many alarms a week on this sound."""

    def moved(factor: float) -> SequentialLimits:
        return SequentialLimits(
            charts=tuple(Chart(time_constant_s=c.time_constant_s, limit=factor * c.limit) for c in limits.charts)
        )

    low, high = 0.5, 4.0
    for _ in range(14):
        middle = (low + high) / 2
        count = sum(alarms(scores, moved(middle)) for scores in series)
        low, high = (middle, high) if count > wanted * len(series) else (low, middle)
    return moved(high)


def provisional(name: str, clips: list[NormalClip]) -> Iterator[str]:
    """Yield the rows of the table of versions that rest on few clips: on-delay and provisional limits, a week each."""
    for known_clips in (5, 15, 40):
        on_delay, wide, over = [], [], []
        for draw in range(PROVISIONAL_DRAWS):
            random = np.random.default_rng([draw, known_clips])
            sound = clips_in_blocks(clips, random, known_clips=min(known_clips, len(clips) // 2))
            scores = sound(random, int(WEEK_S))
            on_delay.append(len(cluster_peaks(on_delay_statistic(scores, RULE, 1.0), 1.0)[0]))
            wide.append(alarms(scores, PROVISIONAL_LIMITS))
            over.append(float(np.mean(sound.scores >= 1)))
        cells = [f"{np.median(counts):.0f} ({np.mean(counts):.0f})" for counts in (on_delay, wide)]
        yield f"| {name} | {known_clips} | {np.mean(over):.1%} | {cells[0]} | {cells[1]} |"


def first_over(statistic: Float64, level: float) -> float:
    """Return the first second at which a statistic reaches a level; infinity if it never does."""
    over = np.flatnonzero(statistic >= level)
    return float(over[0]) + 1 if len(over) else np.inf


def times_to_alarm(name: str, sound: Sound, random: np.random.Generator) -> Iterator[str]:
    """Yield the rows of the table of times, at one false alarm a week for both rules."""
    series = [sound(random, int(WEEK_S)) for _ in range(EQUAL_WEEKS)]
    limits = equal_limits(series, fitted(sound(random, 72 * 3_600)).limits, 1.0)
    level = equal_on_delay_level(series, 1.0)
    ramp = np.minimum(1.0, np.arange(1, WATCHED_S + 1) / RAMP_S)
    for fault in FAULTS:
        new, old = [], []
        for onset in random.integers(WARM_UP_S, int(WEEK_S) - WATCHED_S, size=ONSETS).tolist():
            scores = series[onset % EQUAL_WEEKS][onset - WARM_UP_S : onset + WATCHED_S].copy()
            scores[WARM_UP_S:] += fault * ramp
            new.append(first_over(sequential_statistic(scores, limits, 1.0)[WARM_UP_S:], 1.0))
            old.append(first_over(on_delay_statistic(scores, RULE, 1.0)[WARM_UP_S:], level))
        later = np.array(new) - np.array(old)
        both = np.isfinite(new) & np.isfinite(old)
        cells = [f"{_seconds(np.median(times))} / {np.mean(np.array(times) <= 600):.0%}" for times in (old, new)]
        worst = f"{later[both].max():.0f} s" if both.any() else ""
        yield f"| {name} | {fault:g} | {cells[0]} | {cells[1]} | {worst} |"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if np.isfinite(value) else "not in an hour"


def main() -> None:
    """Run what was asked for, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrations", type=int, default=200)
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--logmel", type=Path, nargs="*", default=[])
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--provisional", action="store_true", help="the table of versions that rest on few clips instead"
    )
    parser.add_argument("--times", action="store_true", help="the table of times to the alarm instead")
    options = parser.parse_args()
    real = {file.stem: clips_of_logmel(file) for file in options.logmel} | {
        folder.parent.name: clips_of_recordings(folder) for folder in options.recordings
    }
    if options.provisional:
        _say("| machine | clips | normal clips over | alarms a week, on-delay: median (mean) | provisional limits |")
        _say("|---|---|---|---|---|")
        for name, clips in real.items():
            _say("\n".join(provisional(name, clips)))
        return
    if options.times:
        _say("| machine | fault adds | on-delay: median / within 10 min | sequential | latest behind the on-delay |")
        _say("|---|---|---|---|---|")
        for name, machine in SYNTHETIC.items():
            _say("\n".join(times_to_alarm(name, machine, np.random.default_rng(1))))
        for name, clips in real.items():
            blocks = clips_in_blocks(clips, np.random.default_rng(2))
            _say("\n".join(times_to_alarm(f"{name}, clips in blocks", blocks, np.random.default_rng(3))))
        return
    rows = []
    names = [*SYNTHETIC, *real]
    for number in range(options.calibrations):
        name, random = names[number % len(names)], np.random.default_rng([7, number])
        sound = SYNTHETIC[name] if name in SYNTHETIC else clips_in_blocks(real[name], random)
        label = name if name in SYNTHETIC else f"{name}, clips in blocks"
        rows.append(coverage(label, sound, random, options.hours, options.weeks))
        if options.json is not None:
            options.json.write_text(json.dumps(rows, indent=1, default=float) + "\n", "utf-8")
    _say(f"limits from {options.hours} h of scores, alarms of {options.weeks} other weeks\n")
    _say("\n".join(coverage_text(rows)))


if __name__ == "__main__":
    main()
