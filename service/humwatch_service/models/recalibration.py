"""A new bundle from the network of another: statistics and thresholds of its own, from normal sound, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from humwatch.audio.decoding import open_recording
from humwatch.audio.files import sha256_of_file
from humwatch.audio.quality import SoundWarning
from humwatch.bundle.bundle import Bundle, compose_bundle, digest_of
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.calibration.fit import calibrate
from humwatch.calibration.type_prior import TypePrior, from_copies
from humwatch.errors import CalibrationError, HumwatchError
from humwatch.normal_recording import NormalSurvey, RecordingInput, normal_clips
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.predictor import Predictor
from humwatch.run_state import RunGate
from humwatch.scoring.calibration import Calibration, CalibrationSpec
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import DEFAULT_SCORE, ScoreKind
from humwatch_service.models.unusable_recordings import UnusableRecordings


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


def recalibrate(
    bundle: Bundle,
    predictor: Predictor,
    paths: Sequence[Path],
    request: RecalibrationRequest,
    *,
    relatives: Sequence[Bundle] = (),
    on_recording: Callable[[Path], None] | None = None,
    on_warning: Callable[[Path, SoundWarning], None] | None = None,
    on_unusable: Callable[[Path, HumwatchError], None] | None = None,
) -> tuple[Manifest, bytes]:
    """Fit a machine's statistics and thresholds to normal recordings, through the network of ``bundle``.

    Args:
        bundle: bundle with the network, features and windows to keep.
        predictor: predictor of that network.
        paths: paths of normal recordings that trained nothing; files of the same content count once.
        request: request for the new bundle.
        relatives: bundles in use of other machines; those of the type lend their spread, too.
        on_recording: callback after each recording.
        on_warning: callback for each warning about the sound of a recording.
        on_unusable: callback for each recording that cannot be used, which is then left out; without it, all are
            heard and those that cannot be used are an error.

    Returns:
        Manifest and packed arrays for :func:`humwatch.bundle.bundle.write_bundle`, with ``bundle.graph``.

    Raises:
        AudioError: recordings cannot be used; their paths are in the message.
        CalibrationError: recordings are not of a running machine, too few, or too short.
        FileUnreadable: a file cannot be read.
    """
    pipeline = pipeline_for(bundle, request)
    clips: list[NormalClip] = []
    digests: list[str] = []
    unusable, done = UnusableRecordings(on_unusable), on_recording or (lambda _: None)
    survey, by_digest = NormalSurvey(), dict[str, Path]()
    surveyed = None if request.all_channels else request.channel
    for path in dict.fromkeys(paths):  # scale and gate are one for all of them
        with unusable.noted(path):
            digest = sha256_of_file(path)
            if digest not in by_digest:
                survey.add(path, channel=surveyed, default_channel=bundle.manifest.channel)
                by_digest[digest] = path
                continue
        done(path)
    request = replace(request, float_scale=survey.float_scale)
    gate = None if request.quiet_is_normal else survey.run_gate
    for digest, path in by_digest.items():
        with unusable.noted(path):
            found = _clips(path, digest, pipeline, predictor, bundle.manifest.channel, request, gate, on_warning)
            clips += found
            digests += [digest] if found else []
        done(path)
    unusable.check(nothing_left=not clips)
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


def _clips(
    path: Path,
    digest: str,
    pipeline: PipelineSpec,
    predictor: Predictor,
    default_channel: int,
    request: RecalibrationRequest,
    run_gate: RunGate | None,
    on_warning: Callable[[Path, SoundWarning], None] | None,
) -> list[NormalClip]:
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
            RecordingInput(channel, default_channel, request.float_scale, run_gate),
            on_warning=None if on_warning is None else partial(on_warning, path),
        )
    ]
