"""Export of a run folder to a bundle: the graph, its parity with torch, and the machine's calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Literal

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.decoding import open_recording, read_mono
from humwatch.audio.features import log_mel
from humwatch.audio.windows import WindowSpec
from humwatch.bundle.bundle import Golden, compose_bundle, digest_of, sha256, write_bundle
from humwatch.bundle.manifest import PredictorCard
from humwatch.bundle.repository import ModelRepository
from humwatch.calibration.fit import calibrate
from humwatch.calibration.type_prior import TypePrior
from humwatch.normal_recording import RecordingInput, normal_clips
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.normal_clip import NormalClip
from humwatch.scoring.spec import DEFAULT_SCORE, ScoreKind, ScoringSpec
from humwatch_training.datasets.recordings import RecordingEntry, Split, find_recordings, sha256_of
from humwatch_training.errors import CheckpointError, TrainingDataError
from humwatch_training.export.graph import Parity, check_parity, export_graph
from humwatch_training.fit.checkpoint import Checkpoint, trained_network
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.run_folder import RunFolder, stored_config
from humwatch_training.networks.network import Network
from humwatch_training.networks.strategy_choice import (
    StrategyConfig,
    build_strategy,
    default_hop,
    default_strategy,
    strategy_title,
)

PARITY_WINDOWS = 64
GOLDEN_WINDOWS = 4

Progress = Callable[[str, int, int], None]
"""Callback with the name of a stage, the number of items done, and their total."""


@dataclass(frozen=True)
class TrainedRun:
    """Contents of a run folder: the network and the recordings that it may and may not be judged on."""

    config: FitConfig
    split: Split
    checkpoint: Checkpoint
    network: Network

    @staticmethod
    def read(folder: Path) -> TrainedRun:
        """Read a run folder; raise CheckpointError or RunFolderError where it does not hold a trained model."""
        checkpoint = RunFolder(folder).load()
        try:
            network = trained_network(checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        return TrainedRun(stored_config(checkpoint), Split.from_json(checkpoint.split), checkpoint, network)

    def files(self, entries: Sequence[RecordingEntry], data: Sequence[Path] = ()) -> dict[str, Path]:
        """Return name and path of recordings, checked by content; ``data`` replaces the run's own folders."""
        there = find_recordings(list(data) or [Path(root) for root in self.config.data])
        for entry in entries:
            if entry.path not in there:
                raise TrainingDataError(f"{entry.path}: the recording is no longer where the data was given")
            if sha256_of(there[entry.path]) != entry.sha256:
                raise TrainingDataError(f"{entry.path}: the recording has changed since the run began")
        return {entry.path: there[entry.path] for entry in entries}


@dataclass(frozen=True)
class ExportSpec:
    """Settings of the bundle; everything else comes from the run.

    ``strategy`` None takes the default of the run's network, ``score`` None the default of new
    bundles, ``hop_frames`` None that of the strategy.
    """

    machine_id: str
    machine_type: str
    licence: str
    attribution: str
    strategy: StrategyConfig | None = None
    score: ScoreKind | None = None
    hop_frames: int | None = None
    clip_seconds: float = 10.0
    calibration: CalibrationSpec = field(default_factory=CalibrationSpec)
    channel: int | Literal["all"] = "all"


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    folder: Path
    version: str
    parity: Parity
    warnings: list[str]


def export_bundle(
    run: TrainedRun, repository: ModelRepository, spec: ExportSpec, *, data: Sequence[Path] = (), progress: Progress
) -> Exported:
    """Export the network with its strategy, calibrate it on the run's calibration recordings, write the next version.

    Raises:
        StrategyError: the network cannot follow the strategy.
        ExportParityError: torch and ONNX Runtime do not agree; nothing is written.
        TrainingDataError: the calibration recordings are not there any more, or are others.
        humwatch.errors.CalibrationError: they are too few.
    """
    chosen = spec.strategy or default_strategy(run.config.network)
    strategy = build_strategy(run.network, chosen)
    progress("exporting the graph", 0, 1)
    graph = export_graph(strategy)
    files = run.files(run.split.calibration, data)
    windows = sample_windows(list(files.values()), run.config, PARITY_WINDOWS)
    parity = check_parity(strategy, graph, windows)
    progress("exporting the graph", 1, 1)
    predictor = OnnxPredictor(graph)
    scoring = ScoringSpec.model_validate({"kind": spec.score or DEFAULT_SCORE})
    length = run.config.network.n_frames
    cut = WindowSpec(
        length_frames=length,
        hop_frames=spec.hop_frames or default_hop(chosen, length),
        clip_seconds=spec.clip_seconds,
    )
    pipeline = PipelineSpec(run.config.features, cut, scoring)
    clips = calibration_clips(files, pipeline, predictor, spec.channel, progress)
    calibration_digest = digest_of([entry.sha256 for entry in run.split.calibration])
    calibration = calibrate(
        clips,
        scoring=scoring,
        spec=spec.calibration,
        step_windows=pipeline.step_windows,
        clip_seconds=spec.clip_seconds,
        prior=TypePrior.of(
            repository.bundles_of_type(spec.machine_type),
            pipeline,
            machine_id=spec.machine_id,
            machine_type=spec.machine_type,
            network=sha256(graph),
            calibration_digest=calibration_digest,
        ),
        response=network_response(pipeline, predictor, windows[:GOLDEN_WINDOWS]),
    )
    version = repository.next_version(spec.machine_id)
    manifest, arrays = compose_bundle(
        pipeline,
        calibration,
        graph,
        Golden.of(predictor, windows[:GOLDEN_WINDOWS]),
        machine_id=spec.machine_id,
        machine_type=spec.machine_type,
        version=version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=f"humwatch-train {distribution_version('humwatch')}",
        licence=spec.licence,
        attribution=spec.attribution,
        channel=0 if spec.channel == "all" else spec.channel,
        calibration_digest=calibration_digest,
        predictor=_card(run, chosen, parity),
    )
    folder = repository.root / spec.machine_id / version
    write_bundle(folder, manifest, graph, arrays)
    return Exported(folder, version, parity, calibration.warnings)


def calibration_clips(
    files: dict[str, Path],
    pipeline: PipelineSpec,
    predictor: OnnxPredictor,
    channel: int | Literal["all"],
    progress: Progress,
) -> list[NormalClip]:
    """Return the evidence of every clip of the recordings, one or all channels of each."""
    clips: list[NormalClip] = []
    for done, (name, path) in enumerate(files.items()):
        progress("calibrating", done, len(files))
        for one in channels_of(path, channel):
            clips += normal_clips(path, name, pipeline, predictor, RecordingInput(channel=one))
    progress("calibrating", len(files), len(files))
    return clips


def channels_of(path: Path, channel: int | Literal["all"]) -> range | tuple[int]:
    """Return the chosen 0-based channels of a recording."""
    if channel != "all":
        return (channel,)
    with open_recording(path) as recording:
        return range(recording.info.channels)


def sample_windows(paths: Sequence[Path], config: FitConfig, count: int) -> Float32:
    """Draw windows from recordings for parity and golden checks: float32 (count, L, F) in dB, seeded."""
    rng = np.random.default_rng(config.seed)
    length = config.network.n_frames
    drawn = []
    frames: dict[Path, Float32] = {}
    for _ in range(count):
        path = paths[int(rng.integers(len(paths)))]
        if path not in frames:
            frames[path] = log_mel(read_mono(path, rate_hz=config.features.rate_hz), config.features)
        start = int(rng.integers(len(frames[path]) - length + 1))
        drawn.append(frames[path][start : start + length])
    return np.stack(drawn)


def _card(run: TrainedRun, strategy: StrategyConfig, parity: Parity) -> PredictorCard:
    return PredictorCard(
        strategy=strategy_title(run.config.network, strategy),
        parameters=run.network.parameter_count(),
        steps=run.checkpoint.step,
        train_recordings=len(run.split.train),
        train_digest=run.split.digest(),
        # Where the recordings lay on somebody's disk is nobody else's business.
        config=run.config.model_dump(mode="json", exclude={"data"}),
        parity=parity.as_figures(),
    )
