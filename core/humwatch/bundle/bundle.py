"""Bundle of a model: manifest, graph and statistics; refused when they do not agree.

``<models>/<machine_id>/<version>/`` holds ``manifest.json``, ``predictor.onnx`` and ``calibration.npz``. The
manifest names the SHA-256 of the other two; the arrays hold golden inputs and outputs of the predictor.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final, Unpack

import numpy as np
from pydantic import ValidationError

from humwatch.arrays import AnyArray, Float32
from humwatch.audio.decoding import DecodeLimits
from humwatch.bundle.manifest import CALIBRATION, MANIFEST, PREDICTOR, BundleFacts, CalibrationCard, Manifest
from humwatch.detectors.normal_lines import NormalLines
from humwatch.detectors.profile import NormalProfile
from humwatch.durable import sync_folder, write_durably
from humwatch.errors import BundleDigestMismatch, BundleInvalid, BundleParityFailed
from humwatch.monitor import Monitor, Step
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.recording import RecordingScore, score_recording
from humwatch.scoring.calibration import Calibration, ScaleCalibration, ScaleThresholds
from humwatch.text_files import text_of

GOLDEN_TOLERANCE: Final = 1e-3
"""Tolerance of mean and std, dB: engines and processors round differently; a decision turns on far more."""


@dataclass(frozen=True)
class Golden:
    """Windows and their predictions: float32 (n, L, F), (n, T) and (n, T), all dB."""

    windows: Float32
    mean: Float32
    std: Float32

    @staticmethod
    def of(predictor: Predictor, windows: Float32) -> Golden:
        """Record the predictions of ``predictor`` for ``windows``."""
        prediction = predictor.predict(windows)
        return Golden(windows, prediction.mean, prediction.std)

    def check(self, predictor: Predictor) -> None:
        """Raise :class:`BundleParityFailed` when ``predictor`` gives other predictions."""
        prediction = predictor.predict(self.windows)
        for name, expected, got in (("mean", self.mean, prediction.mean), ("std", self.std, prediction.std)):
            if got.shape != expected.shape:
                raise BundleParityFailed(f"golden {name}: shape {got.shape}, {expected.shape} expected")
            worst = float(np.abs(got - expected).max())
            if not worst <= GOLDEN_TOLERANCE:
                raise BundleParityFailed(f"golden {name} is off by {worst:.3g} dB ({GOLDEN_TOLERANCE:g} allowed)")


@dataclass(frozen=True)
class Bundle:
    """Bundle in memory; its files have been checked against the manifest.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import OnnxPredictor, read_bundle
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> result = bundle.score("models/fan-id_00/examples/anomalous.wav", OnnxPredictor(bundle.graph))
        >>> result.state, round(result.worst.score, 1)
        ('alarm', 2.9)
    """

    manifest: Manifest
    graph: bytes
    calibration: Calibration
    golden: Golden

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole bundle: of its files' digests and its manifest, hexadecimal."""
        return hashlib.sha256(_manifest_json(self.manifest)).hexdigest()

    def monitor(self, predictor: Predictor, *, source_rate_hz: int, channel: int) -> Monitor:
        """Return a monitor for one stream or recording of this machine.

        Args:
            predictor: predictor of the bundle's graph.
            source_rate_hz: sample rate of the source, Hz.
            channel: channel to score, counted from 0.
        """
        return Monitor(
            self.manifest.pipeline,
            predictor,
            self.calibration,
            source_rate_hz=source_rate_hz,
            channel=channel,
        )

    def score(
        self,
        source: Path | str | BinaryIO,
        predictor: Predictor,
        *,
        channel: int | None = None,
        limits: DecodeLimits | None = None,
        on_step: Callable[[Step], None] | None = None,
        use_level: bool = True,
    ) -> RecordingScore:
        """Score a recording of this machine, as :func:`humwatch.recording.score_recording` does.

        Args:
            source: path or seekable binary file.
            predictor: predictor of the bundle's graph.
            channel: channel to score, counted from 0; None takes the model's, or the only one of a mono recording.
            limits: limits of decoding; None for the usual ones.
            on_step: callback for each step as soon as it is known; may raise to give up.
            use_level: True if the level shows whether the machine runs.

        Raises:
            AudioError: a subclass for each reason that a recording cannot be scored.
        """
        return score_recording(
            source,
            self.manifest.pipeline,
            lambda rate_hz, chosen: self.monitor(predictor, source_rate_hz=rate_hz, channel=chosen),
            channel=channel,
            default_channel=self.manifest.channel,
            limits=limits,
            on_step=on_step,
            use_level=use_level,
        )


def compose_bundle(
    pipeline: PipelineSpec,
    calibration: Calibration,
    graph: bytes,
    golden: Golden,
    *,
    calibration_digest: str,
    **facts: Unpack[BundleFacts],
) -> tuple[Manifest, bytes]:
    """Return manifest and packed arrays of a new bundle, ready for :func:`write_bundle`."""
    arrays = pack_calibration(calibration, golden)
    manifest = Manifest(
        features=pipeline.features,
        windows=pipeline.windows,
        scoring=pipeline.scoring,
        clip=calibration.clip.thresholds,
        step=calibration.step.thresholds,
        calibration=CalibrationCard(
            recordings=calibration.recordings,
            clips=calibration.clips,
            digest=calibration_digest,
            level_dbfs_low=calibration.level_dbfs_low,
            level_dbfs_high=calibration.level_dbfs_high,
            sample_bits=calibration.sample_bits,
            warnings=calibration.warnings,
            prior_recordings=calibration.prior_recordings,
            quietest_dbfs=calibration.quietest_dbfs,
            float_scale=calibration.float_scale,
        ),
        files={PREDICTOR: sha256(graph), CALIBRATION: sha256(arrays)},
        **facts,
    )
    return manifest, arrays


def _manifest_json(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=2).encode() + b"\n"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data``, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(digests: list[str]) -> str:
    """Return one digest for a set of files: over their sorted digests."""
    return sha256("\n".join(sorted(digests)).encode())


def pack_calibration(calibration: Calibration, golden: Golden) -> bytes:
    """Return the arrays of a bundle as an ``.npz`` file."""
    arrays: dict[str, AnyArray] = {
        "golden_windows": golden.windows,
        "golden_mean": golden.mean,
        "golden_std": golden.std,
    }
    for name, scale in (("clip", calibration.clip), ("step", calibration.step)):
        if scale.normal is not scale.level:
            arrays |= _profile_arrays(name, scale.normal)
        arrays[f"{name}_scores"] = scale.normal_scores
        for part, profile in (("slope", scale.slope), ("level", scale.level)):
            if profile is not None:
                arrays |= _profile_arrays(f"{name}_{part}", profile)
        if scale.lines is not None:
            arrays |= {f"{name}_lines_{key}": array for key, array in scale.lines.arrays().items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _profile_arrays(name: str, profile: NormalProfile) -> dict[str, AnyArray]:
    return {
        f"{name}_mean": profile.mean,
        f"{name}_covariance": profile.covariance,
        f"{name}_freedom": np.array(profile.freedom),
    }


def _unpack_calibration(data: bytes, manifest: Manifest) -> tuple[Calibration, Golden]:
    bands = len(manifest.scoring.bands(manifest.features))
    window = (manifest.windows.length_frames, manifest.features.n_mels)
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        golden = Golden(*(arrays[f"golden_{name}"] for name in ("windows", "mean", "std")))
        scales = [_unpack_scale(arrays, name, getattr(manifest, name), bands) for name in ("clip", "step")]
    if golden.windows.shape[1:] != window or not len(golden.windows):
        raise BundleInvalid(f"golden windows of shape {golden.windows.shape}, (n, {window[0]}, {window[1]}) expected")
    card = manifest.calibration
    calibration = Calibration(
        clip=scales[0],
        step=scales[1],
        clips=card.clips,
        recordings=card.recordings,
        level_dbfs_low=card.level_dbfs_low,
        level_dbfs_high=card.level_dbfs_high,
        sample_bits=card.sample_bits,
        warnings=card.warnings,
        prior_recordings=card.prior_recordings,
        quietest_dbfs=card.quietest_dbfs,
        float_scale=card.float_scale,
    )
    return calibration, golden


def _unpack_scale(arrays: np.lib.npyio.NpzFile, name: str, thresholds: ScaleThresholds, bands: int) -> ScaleCalibration:
    scores = arrays[f"{name}_scores"]
    if not np.isfinite(scores).all():
        raise BundleInvalid("the normal scores hold numbers that are not finite")
    slope, level = (
        _unpack_profile(arrays, f"{name}_{part}", bands) if f"{name}_{part}_mean" in arrays.files else None
        for part in ("slope", "level")
    )
    prefix = f"{name}_lines_"
    lines = {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}
    levels = thresholds.detectors
    if levels is not None and (slope is None or level is None or (levels.lines is not None) != bool(lines)):
        raise BundleInvalid("the statistics of a detector that the manifest has levels for are missing")
    own = _unpack_profile(arrays, name, bands) if levels is None or level is None else level
    return ScaleCalibration(
        thresholds,
        own,
        np.sort(scores),
        slope,
        level,
        NormalLines.from_arrays(lines) if lines else None,
    )


def _unpack_profile(arrays: np.lib.npyio.NpzFile, name: str, bands: int) -> NormalProfile:
    mean, covariance, freedom = (arrays[f"{name}_{part}"] for part in ("mean", "covariance", "freedom"))
    if mean.shape != (bands,) or covariance.shape != (bands, bands) or freedom.shape != ():
        raise BundleInvalid(f"the statistics are of {mean.shape[0]} bands, the manifest's score has {bands}")
    if not all(np.isfinite(array).all() for array in (mean, covariance)) or freedom < 1:
        raise BundleInvalid("the statistics hold numbers that are not finite")
    return NormalProfile(mean, covariance, int(freedom))


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its files against its manifest; the predictor itself is checked by its golden outputs.

    Raises:
        BundleInvalid: a file is missing, unreadable or contradicts another.
        BundleDigestMismatch: a file is not the one that the manifest names.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import OnnxPredictor, read_bundle
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> bundle.manifest.machine_type
        'fan'
        >>> bundle.golden.check(OnnxPredictor(bundle.graph))  # raises where the predictor does not reproduce them
    """
    manifest = read_manifest(folder)
    data: dict[str, bytes] = {}
    for name, digest in manifest.files.items():
        data[name] = _read(folder / name)
        if sha256(data[name]) != digest:
            raise BundleDigestMismatch(f"{name} in {folder} is not the file that the manifest names")
    try:
        calibration, golden = _unpack_calibration(data[CALIBRATION], manifest)
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise BundleInvalid(f"{CALIBRATION} in {folder} cannot be read: {error}") from error
    return Bundle(manifest, data[PREDICTOR], calibration, golden)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest alone. Raises :class:`BundleInvalid`."""
    try:
        return Manifest.model_validate_json(text_of(_read(folder / MANIFEST)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleInvalid(f"{MANIFEST} in {folder}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise BundleInvalid(f"{MANIFEST} in {folder}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleInvalid(f"{path.name} in {path.parent} cannot be read: {error.strerror}") from error


def write_bundle(folder: Path, manifest: Manifest, graph: bytes, arrays: bytes) -> None:
    """Write a bundle beside its place, make it durable, and rename it there whole; no reader sees half a bundle.

    Raises:
        BundleInvalid: the manifest does not describe these files, or the folder is there already.
        OSError: the disk is full or read-only; nothing is left behind.
    """
    if manifest.files != {PREDICTOR: sha256(graph), CALIBRATION: sha256(arrays)}:
        raise BundleInvalid("the manifest names other files")
    if folder.exists():
        raise BundleInvalid(f"{folder} is there already; a version is never changed")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:
        for name, data in ((PREDICTOR, graph), (CALIBRATION, arrays), (MANIFEST, _manifest_json(manifest))):
            write_durably(beside / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
        beside.chmod(0o755)
        sync_folder(beside)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
