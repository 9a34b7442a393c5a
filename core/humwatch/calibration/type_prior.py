"""Prior of a type of machine: the variation of normal profiles on other machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.bundle.bundle import Bundle
from humwatch.bundle.manifest import PREDICTOR
from humwatch.detectors.profile import NormalProfile
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import Calibration, ScaleCalibration
from humwatch.scoring.spec import ScoreKind, ScoringSpec


@dataclass(frozen=True)
class ScalePrior:
    """Variation of normal profiles on other machines of the type, on one time scale.

    Attributes:
        slope: profile of the likelihood's slope; None where no machine of the same network has one.
        level: profile of the level; None where no machine has one.
        own: profile of a single score, of machines that are calibrated for the same; None where there is none.
    """

    slope: NormalProfile | None = None
    level: NormalProfile | None = None
    own: NormalProfile | None = None


@dataclass(frozen=True)
class TypePrior:
    """Variation of normal profiles on other machines of the type, on each time scale.

    Attributes:
        clip: profiles of the clips.
        step: profiles of the steps.
        recordings: number of independent normal recordings that both rest on.
    """

    clip: ScalePrior
    step: ScalePrior
    recordings: int

    @staticmethod
    def of(
        bundles: Iterable[Bundle],
        pipeline: PipelineSpec,
        *,
        machine_id: str,
        machine_type: str,
        network: str,
        calibration_digest: str,
    ) -> TypePrior | None:
        """Pool the bundles of a machine's type; None where none has a profile.

        Args:
            bundles: bundles in use, of any machines; those of other types or features are passed over.
            pipeline: front end, windows and score of the new machine.
            machine_id: id of the new machine; its own statistics would count the same clips twice.
            machine_type: type of the new machine.
            network: SHA-256 of its predictor: levels need none in common, slopes and residuals do.
            calibration_digest: digest of its recordings; another machine's statistics of the same ones are no prior.
        """
        found = {
            bundle.manifest.machine_id: bundle
            for bundle in bundles
            if bundle.manifest.machine_type == machine_type
            and bundle.manifest.machine_id != machine_id
            and bundle.manifest.calibration.digest != calibration_digest
            and _comparable(bundle.manifest.pipeline, pipeline)
        }
        relatives = list(found.values())
        same = [
            one.manifest.files[PREDICTOR] == network and one.manifest.windows == pipeline.windows for one in relatives
        ]
        clip, step = (
            _scale_prior(
                [
                    _RelatedScale(scale, one.manifest.scoring, same_network)
                    for one, scale, same_network in zip(relatives, scales, same, strict=True)
                ],
                pipeline.scoring,
            )
            for scales in ([one.calibration.clip for one in relatives], [one.calibration.step for one in relatives])
        )
        if clip == ScalePrior():
            return None
        recordings = sum(one.calibration.recordings + one.calibration.prior_recordings for one in relatives)
        return TypePrior(clip, step, recordings)


COPY_SHARE: Final = 0.2
"""Two sets of recordings differ by their sampling error; so small a share of it, beside their gain, only copies do."""
COPY_GAIN_DB: Final = 0.1


def from_copies(one: Calibration, other: Calibration) -> bool:
    """Return True if two calibrations rest on copies of the same sound in another unit, or at another gain.

    The statistics of copies are no prior of each other: a clip would be measured by itself. Copies bit for bit are
    known by their digest.
    """
    mine, theirs = one.clip.level, other.clip.level
    if mine is None or theirs is None or mine.mean.shape != theirs.mean.shape:
        return False
    apart_db = mine.mean - theirs.mean
    gain_db = float(np.median(apart_db))
    if one.float_scale == other.float_scale and abs(gain_db) < COPY_GAIN_DB:
        return False
    error_db = np.sqrt(np.diag(mine.covariance) / max(1, one.recordings))
    return bool(np.median(np.abs(apart_db - gain_db)) < COPY_SHARE * np.median(error_db))


def _comparable(one: PipelineSpec, other: PipelineSpec) -> bool:
    """Return True if profiles of both are of the same bands, over clips of the same length."""
    return (
        one.features == other.features
        and one.windows.clip_seconds == other.windows.clip_seconds
        and one.scoring.bands(one.features).tolist() == other.scoring.bands(other.features).tolist()
    )


@dataclass(frozen=True)
class _RelatedScale:
    """One time scale of another machine of the type."""

    scale: ScaleCalibration
    scoring: ScoringSpec
    same_network: bool

    def single(self, kind: ScoreKind) -> NormalProfile | None:
        """Return the profile of a bundle that has one score alone, if it is of that kind."""
        return self.scale.normal if self.scoring.kind == kind else None


def _scale_prior(scales: Sequence[_RelatedScale], scoring: ScoringSpec) -> ScalePrior:
    network = [one for one in scales if one.same_network]
    comparable = scales if scoring.kind == "spectrum_profile" else network
    return ScalePrior(
        slope=_pooled([one.scale.slope or one.single("likelihood_profile") for one in network]),
        level=_pooled([one.scale.level or one.single("spectrum_profile") for one in scales]),
        own=_pooled([one.scale.normal for one in comparable if one.scoring == scoring and scoring.is_profile]),
    )


def _pooled(profiles: Sequence[NormalProfile | None]) -> NormalProfile | None:
    known = [profile for profile in profiles if profile is not None]
    return NormalProfile.pooled(known) if known else None
