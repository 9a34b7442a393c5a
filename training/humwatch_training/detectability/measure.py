"""Detectability of faults, mixed into held-out normal sound and scored as the service scores.

Every system (a machine's model) gets the same sounds, sample for sample. Scores are kept by the digests of bundle and
sound, so that a report that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import soundfile

from humwatch.arrays import Bool, Float32, Float64
from humwatch.bundle.bundle import Bundle
from humwatch.bundle.repository import ModelRepository
from humwatch.detectors.detector_set import DetectorName
from humwatch.errors import BundleInvalid
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.recording import COARSE_BITS
from humwatch_training.detectability.curves import DetectionCurve, RateEstimate, just_above
from humwatch_training.detectability.fault import SimulatedFault
from humwatch_training.detectability.held_out import HeldOutClip
from humwatch_training.errors import TrainingDataError

At = Literal["alarm", "matched"]

ALARM_SCORE: Final = 1.0
SETTLED: Final = 2
"""Number of severities in a row with all clips detected (or none) after which the rest is taken as the same."""


class SoundScore(NamedTuple):
    """Normalised score of a sound, -inf where it cannot be judged, and the detector that decided it.

    The detector is None where the sound cannot be judged, and in a score that was kept before detectors were noted.
    """

    score: float
    detector: DetectorName | None


UNJUDGED: Final = SoundScore(-np.inf, None)


@dataclass(frozen=True)
class SystemUnderTest:
    """A machine's model whose detections are measured."""

    name: str
    bundle: Bundle
    predictor: OnnxPredictor

    @staticmethod
    def read(repository: ModelRepository, machine: str, *, threads: int = 1) -> SystemUnderTest:
        """Load and check ``ID`` or ``ID@VERSION``. Raises RepositoryError, BundleError, PredictorError."""
        machine_id, _, chosen = machine.partition("@")
        bundle = repository.read(machine_id, chosen or None)
        predictor = OnnxPredictor(bundle.graph, threads=threads)
        bundle.golden.check(predictor)
        return SystemUnderTest(f"{machine_id}@{bundle.manifest.version}", bundle, predictor)

    @property
    def clip_s(self) -> float:
        """Length of the clips that the model judges, s."""
        return self.bundle.manifest.windows.clip_seconds

    def score(self, samples: Float32, rate_hz: int) -> SoundScore:
        """Score a clip, float32 (n,), by the service's own path; it cannot be judged where the state is ``unknown``."""
        sound = io.BytesIO()
        soundfile.write(sound, samples, rate_hz, format="WAV", subtype="FLOAT")  # does not clip at full scale
        sound.seek(0)
        answer = self.bundle.score(sound, self.predictor)
        if answer.scale != "clip":
            raise TrainingDataError(f"{self.name}: {answer.duration_s:.2f} s of sound are less than a clip")
        return UNJUDGED if answer.state == "unknown" else SoundScore(answer.worst.score, answer.worst.detector)


def common_clip_and_channel(systems: Sequence[SystemUnderTest], channel: int | None) -> tuple[float, int]:
    """Return clip length (s), and the channel of recordings that have several, on which systems can be compared.

    Raises:
        BundleInvalid: the systems judge clips of different lengths, or different channels and none was chosen.
    """
    lengths = {system.clip_s for system in systems}
    channels = {system.bundle.manifest.channel for system in systems} if channel is None else {channel}
    if len(lengths) > 1 or len(channels) > 1:
        what = "clips of different lengths" if len(lengths) > 1 else "different channels; choose one with --channel"
        raise BundleInvalid(f"{', '.join(system.name for system in systems)} judge {what}")
    return lengths.pop(), channels.pop()


class ScoreCache:
    """Cache of scores by bundle and sound, a line of JSON each in a file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = 0
        self._version = version("humwatch")
        self._scores: dict[tuple[str, str], SoundScore] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            text = path.read_text("utf-8", errors="replace")
            self._scores = dict(self._read(text.splitlines()))
            if not text.endswith("\n"):
                self._append("")  # what a stopped report left must not spoil the next line

    def score(self, system: SystemUnderTest, samples: Float32, rate_hz: int) -> SoundScore:
        """Return the score of a sound: the cached one, or a new one, which is then cached."""
        sound = hashlib.sha256(f"{rate_hz} ".encode() + samples.tobytes()).hexdigest()
        key = (system.bundle.digest, sound)
        if key not in self._scores:
            self._scores[key] = system.score(samples, rate_hz)
            self._write(*key, self._scores[key])
            self.fresh += 1
        return self._scores[key]

    def _read(self, lines: Sequence[str]) -> Iterable[tuple[tuple[str, str], SoundScore]]:
        for line in lines:
            try:
                row = json.loads(line)
                if row["humwatch"] == self._version:
                    score = -np.inf if row["score"] is None else float(row["score"])
                    yield (str(row["bundle"]), str(row["sound"])), SoundScore(score, _detector(row.get("detector")))
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when a report was stopped

    def _write(self, bundle: str, sound: str, found: SoundScore) -> None:
        row = {"humwatch": self._version, "bundle": bundle, "sound": sound}
        score = found.score if np.isfinite(found.score) else None
        self._append(json.dumps({**row, "score": score, "detector": found.detector}))

    def _append(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _detector(name: object) -> DetectorName | None:
    known: tuple[DetectorName, ...] = get_args(DetectorName)
    return next((detector for detector in known if detector == name), None)


@dataclass(frozen=True)
class DetectabilityResult:
    """Results of one system.

    Attributes:
        normal_scores: scores of the untouched clips, float64 (clips,).
        curves: detection curves of the faults, by their names.
    """

    system: SystemUnderTest
    normal_scores: Float64
    curves: dict[str, DetectionCurve]

    def threshold(self, at: At) -> float:
        """Return the score of a detection: the bundle's alarm, or just above the highest untouched clip."""
        return ALARM_SCORE if at == "alarm" else just_above(self.normal_scores)

    def false_alarms(self, at: At) -> int:
        """Return the number of untouched clips that reach the threshold."""
        return int(np.sum(self.normal_scores >= self.threshold(at)))

    def false_alarm_rate(self, at: At) -> RateEstimate:
        """Return the share of the untouched clips that reach the threshold."""
        return RateEstimate.of(self.false_alarms(at), len(self.normal_scores))


@dataclass(frozen=True)
class Sweep:
    """Measurement of one system against the catalogue.

    Attributes:
        on_sounds: callback with the number of sounds finished since the last call.
    """

    system: SystemUnderTest
    clips: Sequence[HeldOutClip]
    cache: ScoreCache
    seed: int = 0
    on_sounds: Callable[[int], None] = field(default=lambda count: None)

    def measure(self, faults: Sequence[SimulatedFault]) -> DetectabilityResult:
        """Score the untouched clips, then each fault at its severities.

        Raises:
            TrainingDataError: an untouched clip cannot be judged.
        """
        normal = np.array([self._normal_score(clip) for clip in self.clips])
        bounds = sorted((ALARM_SCORE, just_above(normal)))
        return DetectabilityResult(self.system, normal, {fault.name: self._curve(fault, *bounds) for fault in faults})

    def _normal_score(self, clip: HeldOutClip) -> float:
        score = self._score(clip.samples, clip.rate_hz).score
        coarse = clip.sample_bits < min(COARSE_BITS, self.system.bundle.manifest.calibration.sample_bits)
        if coarse or not np.isfinite(score):
            why = "it is silent, stuck, or of too low a rate or resolution"
            raise TrainingDataError(f"{clip.recording}: {self.system.name} cannot judge it: {why}")
        return score

    def _curve(self, fault: SimulatedFault, never: float, surely: float) -> DetectionCurve:
        """Score upwards from the middle until all clips are detected, then downwards until none is.

        ``never`` and ``surely`` are the lowest and highest threshold that the scores will be held against.
        """
        severities = np.array(fault.severities)
        limits = [fault.limit(clip.samples, clip.rate_hz, seed=self.seed, clip=i) for i, clip in enumerate(self.clips)]
        holds = np.array(limits)[:, None] >= severities
        names = list(dict.fromkeys(clip.recording for clip in self.clips))
        recordings = np.array([names.index(clip.recording) for clip in self.clips])
        curve = DetectionCurve(
            severities, np.full(holds.shape, np.nan), recordings, np.full(holds.shape, None, dtype=object)
        )
        middle = len(severities) // 2
        self._scan(fault, range(middle, len(severities)), holds, curve, lambda known: known.min() >= surely, np.inf)
        self._scan(fault, range(middle - 1, -1, -1), holds, curve, lambda known: known.max() < never, -np.inf)
        return curve

    def _scan(
        self,
        fault: SimulatedFault,
        order: range,
        holds: Bool,
        curve: DetectionCurve,
        settled: Callable[[Float64], bool],
        beyond: float,
    ) -> None:
        """Fill columns of a curve in ``order``; with ``beyond`` once ``SETTLED`` of them in a row were settled."""
        in_a_row, scores = 0, curve.scores
        for level in order:
            held = np.flatnonzero(holds[:, level])
            if in_a_row >= SETTLED:
                scores[held, level] = beyond
                self.on_sounds(len(self.clips))
                continue
            for i in held:
                scores[i, level], detector = self._mixed_score(fault, int(i), fault.severities[level])
                if curve.detectors is not None:
                    curve.detectors[i, level] = detector
            if len(held) < len(self.clips):
                self.on_sounds(len(self.clips) - len(held))
            in_a_row = in_a_row + 1 if held.size and settled(scores[held, level]) else 0

    def _mixed_score(self, fault: SimulatedFault, number: int, severity: float) -> SoundScore:
        clip = self.clips[number]
        return self._score(fault.mix(clip.samples, clip.rate_hz, severity, seed=self.seed, clip=number), clip.rate_hz)

    def _score(self, samples: Float32, rate_hz: int) -> SoundScore:
        score = self.cache.score(self.system, samples, rate_hz)
        self.on_sounds(1)
        return score


def measure_systems(
    systems: Sequence[SystemUnderTest],
    clips: Sequence[HeldOutClip],
    faults: Sequence[SimulatedFault],
    cache: ScoreCache,
    *,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> list[DetectabilityResult]:
    """Measure one system after another on the same sounds; ``progress`` counts each one's sounds."""
    total = len(clips) * (1 + sum(len(fault.severities) for fault in faults))
    found = []
    for system in systems:
        done = 0

        def count(sounds: int, name: str = system.name) -> None:
            nonlocal done
            done += sounds
            progress(name, done, total)

        found.append(Sweep(system, clips, cache, seed, count).measure(faults))
    return found
