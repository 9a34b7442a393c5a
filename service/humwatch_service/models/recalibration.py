"""A new bundle from the network of another: statistics and thresholds of its own, from normal sound, without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from humwatch.audio.decoding import open_recording
from humwatch.audio.files import audio_files, sha256_of_file
from humwatch.bundle.bundle import Bundle, compose_bundle, digest_of
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.calibration.fit import calibrate
from humwatch.calibration.type_prior import TypePrior, from_copies
from humwatch.errors import AudioError, CalibrationError
from humwatch.normal_recording import NormalSurvey, normal_clips
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.predictor import Predictor
from humwatch.run_state import RunGate
from humwatch.scoring.calibration import Calibration, CalibrationSpec
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import DEFAULT_SCORE, ScoreKind
from humwatch_service.errors import FileUnreadable, RecordingNotNormal

_NOT_NORMAL = re.compile(r"(?<![a-z])(abnormal|anomal(y|ies|ous))(?![a-z])")


@dataclass(frozen=True)
class RecalibrationRequest:
    """A request for a new bundle.

    Attributes:
        machine_id: id of its machine, which may be new.
        version: version of the bundle.
        channel: channel of recordings, counted from 0; None for the one of the model's manifest, or the only one.
        all_channels: whether every channel counts as clips of the recording; scores are of one channel all the same.
        score: kind of its score; None for the default of new bundles.
        spec: rates and method of the thresholds.
        made_by: program that makes the bundle, for its manifest.
        float_scale: factor for float samples that the clips were heard with; of recordings it is measured.
        quiet_is_normal: whether recordings far quieter than most are of a machine that runs, not of one that stands.
    """

    machine_id: str
    version: str
    channel: int | None = None
    all_channels: bool = False
    score: ScoreKind | None = None
    spec: CalibrationSpec = field(default_factory=CalibrationSpec)
    made_by: str = "calibrate"
    float_scale: float = 1.0
    quiet_is_normal: bool = False


def normal_recordings(paths: Iterable[Path]) -> list[Path]:
    """Return the recordings among files and folders (searched with all their subfolders), in order, each once.

    Raises:
        FileUnreadable: a path is not there, or a folder has no recording.
        RecordingNotNormal: a file's name, or that of its folder, says that it is not normal.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = audio_files(path)
            if not inside:
                raise FileUnreadable(f"{path} has no WAV or FLAC file")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileUnreadable(f"{path} is not there")
    for path in found:
        _check_name(path)
    return list(dict.fromkeys(found))


def _check_name(path: Path) -> None:
    for name in (path.name, path.parent.name):
        if _NOT_NORMAL.search(name.lower()):
            raise RecordingNotNormal(f"{path} says that it is not normal; thresholds are fitted to normal sound alone")


def recalibrate(
    bundle: Bundle,
    predictor: Predictor,
    paths: Sequence[Path],
    request: RecalibrationRequest,
    *,
    relatives: Sequence[Bundle] = (),
    on_recording: Callable[[Path], None] | None = None,
) -> tuple[Manifest, bytes]:
    """Fit a machine's statistics and thresholds to normal recordings, through the network of ``bundle``.

    Args:
        bundle: bundle with the network, features and windows to keep.
        predictor: predictor of that network.
        paths: paths of normal recordings that trained nothing; files of the same content count once.
        request: request for the new bundle.
        relatives: bundles in use of other machines; those of the type lend their spread, too.
        on_recording: callback after each recording.

    Returns:
        Manifest and packed arrays for :func:`humwatch.bundle.bundle.write_bundle`, with ``bundle.graph``.

    Raises:
        AudioError: a recording cannot be used; its path is in the message.
        CalibrationError: too few recordings, or too short.
        FileUnreadable: a file cannot be read.
    """
    by_content = {path: _digest(path) for path in paths}
    pipeline = pipeline_for(bundle, request)
    clips: list[NormalClip] = []
    digests: list[str] = []
    survey = _survey(by_content, bundle.manifest.channel, request)
    request = replace(request, float_scale=survey.float_scale)
    gate = None if request.quiet_is_normal else survey.run_gate
    for path, digest in by_content.items():
        if digest not in digests:
            found = _clips(path, digest, pipeline, predictor, bundle.manifest.channel, request, gate)
            clips += found
            digests += [digest] if found else []
        if on_recording is not None:
            on_recording(path)
    if not clips:
        raise CalibrationError(f"no recording is as long as a clip ({pipeline.windows.clip_seconds:g} s)")
    return fit_bundle(bundle, predictor, pipeline, clips, digests, request, relatives=relatives)


def pipeline_for(bundle: Bundle, request: RecalibrationRequest) -> PipelineSpec:
    """Return features, windows and score of a new bundle: evidence is of one score.

    Args:
        bundle: bundle with the network, features and windows to keep.
        request: request for the new bundle, with the score if it names one.
    """
    old = bundle.manifest.pipeline
    scoring = old.scoring.of_kind(request.score or DEFAULT_SCORE)
    return old if scoring == old.scoring else PipelineSpec(old.features, old.windows, scoring)


def fit_bundle(
    bundle: Bundle,
    predictor: Predictor,
    pipeline: PipelineSpec,
    clips: Sequence[NormalClip],
    digests: Sequence[str],
    request: RecalibrationRequest,
    *,
    relatives: Sequence[Bundle] = (),
) -> tuple[Manifest, bytes]:
    """Fit statistics and thresholds to clips, wherever they are from, and make a bundle of them.

    Args:
        bundle: bundle with the network to keep; its own machine lends its spread (a type prior).
        predictor: predictor of that network.
        pipeline: features, windows and score of the clips, from :func:`pipeline_for`.
        clips: normal clips that trained nothing.
        digests: SHA-256 of the sound that they are from, hexadecimal.
        request: request for the new bundle.
        relatives: bundles in use of other machines; those of the type lend their spread, too.

    Returns:
        Manifest and packed arrays for :func:`humwatch.bundle.bundle.write_bundle`, with ``bundle.graph``.

    Raises:
        CalibrationError: too few recordings, or sound that no threshold can be made of.
    """
    old = bundle.manifest
    calibration_digest = digest_of(list(digests))
    response = network_response(pipeline, predictor, bundle.golden.windows)

    def fitted(lenders: Sequence[Bundle]) -> Calibration:
        found = calibrate(
            clips,
            scoring=pipeline.scoring,
            spec=request.spec,
            step_windows=pipeline.step_windows,
            clip_seconds=pipeline.windows.clip_seconds,
            prior=TypePrior.of(
                lenders,
                pipeline,
                machine_id=request.machine_id,
                machine_type=old.machine_type,
                network=old.files[PREDICTOR],
                calibration_digest=calibration_digest,
            ),
            response=response,
        )
        return replace(found, float_scale=request.float_scale)

    lenders = [*relatives, bundle]
    calibration = fitted(lenders)
    strangers = [one for one in lenders if not from_copies(calibration, one.calibration)]
    if len(strangers) < len(lenders):
        calibration = fitted(strangers)
    return compose_bundle(
        pipeline,
        calibration,
        bundle.graph,
        bundle.golden,
        machine_id=request.machine_id,
        machine_type=old.machine_type,
        version=request.version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=f"humwatch {version('humwatch')} {request.made_by}, network of {old.machine_id}@{old.version}",
        licence=old.licence,
        attribution=old.attribution,
        channel=old.channel if request.channel is None else request.channel,
        calibration_digest=calibration_digest,
        predictor=old.predictor,
    )


def _digest(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


def _survey(paths: Iterable[Path], default_channel: int, request: RecalibrationRequest) -> NormalSurvey:
    """Measure all recordings before any is heard: scale and gate are one for all of them."""
    survey = NormalSurvey()
    for path in paths:
        with _path_named(path):
            survey.add(path, channel=None if request.all_channels else request.channel, default_channel=default_channel)
    return survey


def _clips(
    path: Path,
    digest: str,
    pipeline: PipelineSpec,
    predictor: Predictor,
    default_channel: int,
    request: RecalibrationRequest,
    run_gate: RunGate | None,
) -> list[NormalClip]:
    with _path_named(path):
        channels: list[int | None] = [request.channel]
        if request.all_channels:
            with open_recording(path) as recording:
                channels = list(range(recording.info.channels))
        return [
            clip
            for channel in channels
            for clip in normal_clips(
                path,
                digest,
                pipeline,
                predictor,
                channel=channel,
                default_channel=default_channel,
                float_scale=request.float_scale,
                run_gate=run_gate,
            )
        ]


@contextmanager
def _path_named(path: Path) -> Iterator[None]:
    """Name the path in what goes wrong with it inside."""
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error
