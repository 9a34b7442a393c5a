"""One evaluation from beginning to end: train, export, collect evidence, score; each step only where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.pipeline import PipelineSpec, network_response
from humwatch.scoring.spec import ScoreKind, ScoringSpec
from humwatch_training.console import stage_progress
from humwatch_training.datasets import DataClip
from humwatch_training.errors import TrainingInterrupted
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.collection import collect_evidence, stage_of
from humwatch_training.evaluation.evidence import ClipEvidence, EvidenceSpec, EvidenceStore, evidence_path, kinds_of
from humwatch_training.evaluation.few_recordings import DrawSpec, FewDraws, FewKey, FewRecordings
from humwatch_training.evaluation.few_recordings_table import FewRow, few_rows
from humwatch_training.evaluation.graphs import PARITY_WINDOWS, SystemGraph, system_graph
from humwatch_training.evaluation.protocols import Experiment, MachineTask
from humwatch_training.evaluation.scores import EvidenceLookup, MachineScores, clips_needed, score_machine
from humwatch_training.evaluation.spec import EvaluationSpec
from humwatch_training.evaluation.studies import Study, network_folder
from humwatch_training.evaluation.tables import Cost, MachineRow, ScoreRow, machine_row
from humwatch_training.evaluation.training import (
    NetworkJob,
    TrainedNetwork,
    train_network,
    training_clips,
    training_entries,
)
from humwatch_training.fit.progress import StopSignal
from humwatch_training.fit.systems import System


@dataclass(frozen=True)
class EvaluatedSystem:
    """A system with the evidence of one network's machines, and its cost."""

    system: System
    graph: SystemGraph
    evidence_spec: EvidenceSpec
    folder: Path
    cost: Cost


@dataclass(frozen=True)
class Evaluation:
    """Results: rows by study, in the order of the systems, and systems by folder of networks and name."""

    rows: dict[Study, list[ScoreRow]]
    evaluated: dict[tuple[str, str], EvaluatedSystem]
    few_recordings: tuple[FewRow, ...] = ()

    def system_of(self, experiment: Experiment, system: System) -> EvaluatedSystem:
        """Return a system with the network of an experiment."""
        return self.evaluated[network_folder(experiment), system.name]


@dataclass(frozen=True)
class _Networks:
    """Experiments that share their train clips, and so their networks."""

    name: str
    experiments: list[Experiment]

    @property
    def train(self) -> tuple[DataClip, ...]:
        return self.experiments[0].train

    def tasks(self) -> Iterator[tuple[Experiment, MachineTask]]:
        """Yield every machine that is tested."""
        for experiment in self.experiments:
            yield from ((experiment, task) for task in experiment.machines)

    def needed_clips(self) -> list[DataClip]:
        """Return the clips that scores need."""
        found: dict[str, DataClip] = {}
        for experiment in self.experiments:
            found |= clips_needed(experiment)
        return list(found.values())


_Key = tuple[str, str, str, ScoreKind]
"""Experiment, machine id, system, score."""


class Evaluator:
    """Evaluation of studies under one specification; ``stop`` ends it between two steps or clips."""

    def __init__(self, spec: EvaluationSpec, reader: ClipReader, stop: StopSignal) -> None:
        self._spec = spec
        self._reader = reader
        self._stop = stop

    def evaluate(self, studies: Sequence[Study]) -> Evaluation:
        """Return a row for each study, system and score; results on disk are taken from there.

        Raises ResumeMismatch where the folder holds other networks, ExportParityError, CalibrationError, and
        TrainingInterrupted where a signal came: the next call goes on.
        """
        scores: dict[_Key, MachineScores] = {}
        evaluated: dict[tuple[str, str], EvaluatedSystem] = {}
        few: dict[FewKey, FewDraws] = {}
        for networks in self._networks(studies):
            trained = self._train(networks)
            for system in self._spec.systems:
                found, measured, with_few = self._measure(networks, system, trained[system.trains])
                evaluated[networks.name, system.name] = found
                scores |= measured
                few |= with_few
        rows = {study: self._rows(study, scores, evaluated) for study in studies}
        return Evaluation(rows, evaluated, few_rows(studies, self._spec.systems, few))

    def _networks(self, studies: Sequence[Study]) -> list[_Networks]:
        by_name: dict[str, list[Experiment]] = {}
        for study in studies:
            for experiment in study.experiments:
                by_name.setdefault(network_folder(experiment), []).append(experiment)
        return [_Networks(name, experiments) for name, experiments in by_name.items()]

    def _train(self, networks: _Networks) -> dict[str, TrainedNetwork]:
        """Train what the systems need, one recipe after the other: by the recipe's name."""
        reader, trained = self._reader, {}
        entries = training_entries(networks.train, reader)
        for recipe in {system.trains: system.recipe for system in self._spec.systems}.values():
            job = NetworkJob(
                self._spec.out / networks.name / recipe.name, self._spec.training_spec(recipe, reader), entries
            )
            trained[recipe.name] = train_network(
                job, lambda: training_clips(networks.train, reader), self._stop, retrain=self._spec.retrain
            )
        return trained

    def _measure(
        self, networks: _Networks, system: System, trained: TrainedNetwork
    ) -> tuple[EvaluatedSystem, dict[_Key, MachineScores], dict[FewKey, FewDraws]]:
        """Collect one system's evidence of all clips; score them, calibrated on all statistics clips and on few."""
        graph = system_graph(system, trained, lambda: self._parity_windows(networks.train, system))
        evidence_spec = EvidenceSpec(
            graph_sha256=graph.card.sha256,
            features=self._reader.features,
            windows=self._spec.windows(system),
            kinds=kinds_of(system.recipe.network),
        )
        store = EvidenceStore(evidence_path(trained.folder, system.name, evidence_spec), evidence_spec)
        clips = networks.needed_clips()

        def lookup(clip: DataClip) -> ClipEvidence:
            return store[self._reader.digest(clip)]

        with stage_progress() as progress:
            collect_evidence(
                clips,
                self._reader,
                evidence_spec,
                graph,
                store,
                threads=self._spec.cpu_threads,
                stop=self._stop,
                progress=stage_of(progress, f"{networks.name}: {system.name} hears"),
            )
            stage = self._until_stopped(stage_of(progress, f"{networks.name}: {system.name} scores"))
            response = self._response(networks.train, system, graph)
            scores = self._scores(networks, system, evidence_spec.kinds, lookup, stage, response)
            few = FewRecordings(DrawSpec(self._spec.few_draws, self._spec.seed), lookup, response)
            stage = self._until_stopped(stage_of(progress, f"{networks.name}: {system.name} has few recordings"))
            drawn = few.measure(networks.name, networks.experiments, system.name, evidence_spec.kinds, stage)
        cost = self._cost(system, trained, [lookup(clip) for clip in clips])
        return EvaluatedSystem(system, graph, evidence_spec, trained.folder, cost), scores, drawn

    def _scores(
        self,
        networks: _Networks,
        system: System,
        kinds: Sequence[ScoreKind],
        lookup: EvidenceLookup,
        progress: Callable[[int, int], None],
        response: Float64 | None,
    ) -> dict[_Key, MachineScores]:
        wanted = [(*pair, kind) for pair in networks.tasks() for kind in kinds]
        scores: dict[_Key, MachineScores] = {}
        for done, (experiment, task, kind) in enumerate(wanted):
            progress(done, len(wanted))
            key = (experiment.name, task.machine_id, system.name, kind)
            scores[key] = score_machine(kind, experiment, task, lookup, response=response)
        progress(len(wanted), len(wanted))
        return scores

    def _until_stopped(self, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def on_progress(done: int, total: int) -> None:
            progress(done, total)
            if self._stop.name is not None:
                raise TrainingInterrupted(f"{self._stop.name}; the same command goes on from there")

        return on_progress

    def _response(self, train: Sequence[DataClip], system: System, graph: SystemGraph) -> Float64 | None:
        """Return the network's response to changes of the sound; None for a system without a consensus."""
        if "consensus" not in kinds_of(system.recipe.network):
            return None
        spec = PipelineSpec(self._reader.features, self._spec.windows(system), ScoringSpec())
        predictor = graph.predictor(threads=self._spec.cpu_threads)
        return network_response(spec, predictor, self._parity_windows(train, system))

    def _parity_windows(self, train: Sequence[DataClip], system: System) -> Float32:
        """Draw windows of train clips, a clip each: float32 (n, L, F) in dB."""
        rng = np.random.default_rng(self._spec.seed)
        length = system.recipe.network.n_frames
        drawn = []
        for index in rng.choice(len(train), PARITY_WINDOWS, replace=len(train) < PARITY_WINDOWS):
            frames_db = self._reader.frames_db(train[index])
            start = int(rng.integers(len(frames_db) - length + 1))
            drawn.append(frames_db[start : start + length])
        return np.stack(drawn)

    def _cost(self, system: System, trained: TrainedNetwork, evidence: Sequence[ClipEvidence]) -> Cost:
        return Cost(
            steps=trained.checkpoint.step,
            training_s=trained.checkpoint.elapsed_s,
            scoring_s_per_clip=float(np.mean([one.scoring_s for one in evidence])),
            clip_s=float(np.mean([one.duration_s for one in evidence])),
            parameters=trained.network().parameter_count(),
            threads=self._spec.cpu_threads,
            hop_frames=self._spec.windows(system).hop_frames,
        )

    def _rows(
        self, study: Study, scores: dict[_Key, MachineScores], evaluated: dict[tuple[str, str], EvaluatedSystem]
    ) -> list[ScoreRow]:
        rows = []
        for system in self._spec.systems:
            costs = [evaluated[network_folder(experiment), system.name].cost for experiment in study.experiments]
            for kind in kinds_of(system.recipe.network):
                machines = tuple(
                    self._machine(experiment, task, scores[experiment.name, task.machine_id, system.name, kind])
                    for experiment, task in study.machines
                )
                rows.append(ScoreRow(study, system, kind, machines, Cost.together(costs)))
        return rows

    def _machine(self, experiment: Experiment, task: MachineTask, scores: MachineScores) -> MachineRow:
        # One stream of draws a machine: every system and score is resampled alike, so that intervals compare.
        name = f"{task.machine_type}/{task.machine_id}".encode()
        rng = np.random.default_rng([self._spec.seed, *name])
        train_ids = {clip.machine_id for clip in experiment.train}
        return machine_row(task.machine_id, train_ids, scores, draws=self._spec.draws, rng=rng)
