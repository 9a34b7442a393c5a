"""A new machine from an old network: statistics and thresholds of its own, from normal sound, without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from humwatch.audio.decoding import open_recording
from humwatch.bundle.bundle import Bundle, compose_bundle, digest_of, sha256
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.calibration.fit import calibrate
from humwatch.calibration.type_prior import TypePrior
from humwatch.errors import AudioError, CalibrationError
from humwatch.monitor import ListeningSpec, network_response
from humwatch.predictor import Predictor
from humwatch.recording import normal_clips
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.evidence import DEFAULT_SCORE, ScoreKind
from humwatch.scoring.normal_clip import NormalClip
from humwatch_service.errors import FileUnreadable, RecordingNotNormal

SUFFIXES: Final = (".wav", ".flac")

_NOT_NORMAL = re.compile(r"(?<![a-z])(abnormal|anomal(y|ies|ous))(?![a-z])")


@dataclass(frozen=True)
class Commission:
    """What the new bundle is for, and how its thresholds are fitted.

    Attributes:
        machine_id: of the new bundle; a machine may be new.
        version: of the new bundle.
        channel: counted from 0; None takes the one of the model's manifest, or the only one.
        all_channels: every channel counts as clips of the recording; scores then still listen to one.
        score: of the new bundle; None takes the default of new bundles.
        spec: rates and method of the thresholds.
        made_by: what makes the bundle, as its manifest will say.
    """

    machine_id: str
    version: str
    channel: int | None = None
    all_channels: bool = False
    score: ScoreKind | None = None
    spec: CalibrationSpec = field(default_factory=CalibrationSpec)
    made_by: str = "calibrate"


def normal_recordings(paths: Iterable[Path]) -> list[Path]:
    """The recordings among files and folders (searched with all their subfolders), in order, each once.

    Raises:
        FileUnreadable: a path is not there, or a folder has no recording.
        RecordingNotNormal: a file's name, or that of its folder, says that it is not normal.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
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
    commission: Commission,
    *,
    relatives: Sequence[Bundle] = (),
    on_recording: Callable[[Path], None] | None = None,
) -> tuple[Manifest, bytes]:
    """Fit a machine's statistics and thresholds to normal recordings, through the network of ``bundle``.

    Args:
        bundle: whose network, features and windows are kept.
        predictor: that network.
        paths: of normal recordings that trained nothing; files of the same content count once.
        commission: what for, and how.
        relatives: bundles in use of other machines; those of the type lend their spread, too.
        on_recording: called after each recording.

    Returns:
        Manifest and packed arrays for :func:`humwatch.bundle.bundle.write_bundle`, with ``bundle.graph``.

    Raises:
        AudioError: a recording cannot be used; its path is in the message.
        CalibrationError: too few recordings, or too short.
        FileUnreadable: a file cannot be read.
    """
    by_content = {path: _digest(path) for path in paths}
    listening = listening_for(bundle, commission)
    clips: list[NormalClip] = []
    digests: list[str] = []
    for path, digest in by_content.items():
        if digest not in digests:
            found = _clips(path, digest, listening, predictor, bundle.manifest.channel, commission)
            clips += found
            digests += [digest] if found else []
        if on_recording is not None:
            on_recording(path)
    if not clips:
        raise CalibrationError(f"no recording is as long as a clip ({listening.windows.clip_seconds:g} s)")
    return commissioned(bundle, predictor, listening, clips, digests, commission, relatives=relatives)


def listening_for(bundle: Bundle, commission: Commission) -> ListeningSpec:
    """What is heard of the machine, and which score its bundle gets: evidence is of one score.

    Args:
        bundle: whose network, features and windows are kept.
        commission: what for; its score, if it names one, else the default of new bundles.
    """
    old = bundle.manifest.listening
    scoring = old.scoring.of_kind(commission.score or DEFAULT_SCORE)
    return old if scoring == old.scoring else ListeningSpec(old.features, old.windows, scoring)


def commissioned(
    bundle: Bundle,
    predictor: Predictor,
    listening: ListeningSpec,
    clips: Sequence[NormalClip],
    digests: Sequence[str],
    commission: Commission,
    *,
    relatives: Sequence[Bundle] = (),
) -> tuple[Manifest, bytes]:
    """Fit statistics and thresholds to clips, wherever they are from, and make a bundle of them.

    Args:
        bundle: whose network is kept, and whose own machine lends its spread (a type prior).
        predictor: network of the bundle.
        listening: that the clips were heard by, from :func:`listening_for`.
        clips: normal ones that trained nothing.
        digests: of the sound that they are from, SHA-256, hexadecimal.
        commission: what for, and how.
        relatives: bundles in use of other machines; those of the type lend their spread, too.

    Returns:
        Manifest and packed arrays for :func:`humwatch.bundle.bundle.write_bundle`, with ``bundle.graph``.

    Raises:
        CalibrationError: too few recordings, or sound that no threshold can be made of.
    """
    old = bundle.manifest
    calibration_digest = digest_of(list(digests))
    calibration = calibrate(
        clips,
        scoring=listening.scoring,
        spec=commission.spec,
        step_windows=listening.step_windows,
        clip_seconds=listening.windows.clip_seconds,
        prior=TypePrior.of(
            [*relatives, bundle],
            listening,
            machine_id=commission.machine_id,
            machine_type=old.machine_type,
            network=old.files[PREDICTOR],
            calibration_digest=calibration_digest,
        ),
        response=network_response(listening, predictor, bundle.golden.windows),
    )
    return compose_bundle(
        listening,
        calibration,
        bundle.graph,
        bundle.golden,
        machine_id=commission.machine_id,
        machine_type=old.machine_type,
        version=commission.version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=f"humwatch {version('humwatch')} {commission.made_by}, network of {old.machine_id}@{old.version}",
        licence=old.licence,
        attribution=old.attribution,
        channel=old.channel if commission.channel is None else commission.channel,
        calibration_digest=calibration_digest,
        predictor=old.predictor,
    )


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


def _clips(
    path: Path, name: str, listening: ListeningSpec, predictor: Predictor, default_channel: int, how: Commission
) -> list[NormalClip]:
    try:
        channels: list[int | None] = [how.channel]
        if how.all_channels:
            with open_recording(path) as recording:
                channels = list(range(recording.info.channels))
        return [
            clip
            for channel in channels
            for clip in normal_clips(path, name, listening, predictor, channel=channel, default_channel=default_channel)
        ]
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error
