"""The machines that can be scored: bundles that passed every check, and the reasons why others did not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from humwatch.bundle.bundle import Bundle
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleInvalid, HumwatchError, MachineNotFound, RepositoryError
from humwatch.onnx_predictor import CUDA, OnnxPredictor
from humwatch.predictor import Predictor
from humwatch.scoring.evidence import evidence_of
from humwatch_service.errors import MachineUnavailable, ModelsLoading
from humwatch_service.inference.batching import BatchingPredictor
from humwatch_service.telemetry.logs import event_logger

Float32 = npt.NDArray[np.float32]

_log = event_logger("humwatch.models")


class GraphPredictor(Predictor, Protocol):
    """The predictor of a graph."""

    @property
    def window_shape(self) -> tuple[int, int]:
        """(L, F) of the windows that it takes."""
        ...


@dataclass(frozen=True)
class Machine:
    """A machine with a model in use."""

    bundle: Bundle
    predictor: GraphPredictor
    digest: str

    @property
    def manifest(self) -> Manifest:
        """Of the model in use."""
        return self.bundle.manifest

    @property
    def stream_s(self) -> float:
        """Processor time that the predictions of a second of a stream take, seconds; 0 where it was not measured."""
        windows_hz = self.manifest.features.frame_rate_hz / self.manifest.windows.hop_frames
        return windows_hz * self.predictor.window_s if isinstance(self.predictor, BatchingPredictor) else 0.0


@dataclass(frozen=True)
class Refusal:
    """A bundle that failed a check.

    Attributes:
        version: that should have been used; None where not even that could be read.
        code: of the error.
        reason: in words.
        in_use: version that stays in use instead; None when there is none.
    """

    machine_id: str
    version: str | None
    code: str
    reason: str
    in_use: str | None


@dataclass(frozen=True)
class Fleet:
    """What is loaded; never changed, only replaced as a whole."""

    machines: Mapping[str, Machine] = field(default_factory=lambda: MappingProxyType({}))
    refusals: Mapping[str, Refusal] = field(default_factory=lambda: MappingProxyType({}))

    def note_refusals(self) -> None:
        """Write into the log which bundles were refused, and why."""
        for refusal in self.refusals.values():
            _log.error("model refused", machine_id=refusal.machine_id, code=refusal.code, reason=refusal.reason)


def verify(bundle: Bundle, predictor: GraphPredictor) -> None:
    """Check that a predictor is the one of the bundle's golden outputs, and fits the rest of the bundle.

    Raises:
        BundleInvalid, BundleParityFailed, PredictorError: it is not.
    """
    manifest = bundle.manifest
    expected = (manifest.windows.length_frames, manifest.features.n_mels)
    if predictor.window_shape != expected:
        raise BundleInvalid(f"the graph takes windows of {predictor.window_shape}, the manifest says {expected}")
    bundle.golden.check(predictor)
    prediction = predictor.predict(bundle.golden.windows)
    bands = manifest.scoring.bands(manifest.features)
    try:
        evidence = evidence_of(bundle.golden.windows, prediction, manifest.scoring.kind, bands)
    except (IndexError, ValueError) as error:
        raise BundleInvalid(f"the graph's outputs do not fit its windows: {error}") from error
    if not len(evidence.counts) or not evidence.counts.sum():
        raise BundleInvalid("the graph predicts no bin of the bands that count")


def load_machine(
    repository: ModelRepository,
    machine_id: str,
    version: str | None = None,
    *,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    threads: int = 1,
    shared: Mapping[str, GraphPredictor] | None = None,
    share: Callable[[OnnxPredictor, Float32], GraphPredictor] | None = None,
) -> Machine:
    """Load a bundle, by default the active one, and check all of it.

    Args:
        repository: the folder of models.
        machine_id: whose model.
        version: of the model; None takes the active one.
        providers: of ONNX Runtime.
        threads: of ONNX Runtime.
        shared: predictors that are loaded already, by the SHA-256 of their graph.
        share: makes of a new predictor, and windows to try it on, one that many can use at a time.

    Raises:
        RepositoryError, BundleError, PredictorError: it cannot be used, and why.
    """
    bundle = repository.read(machine_id, version)
    predictor = (shared or {}).get(bundle.manifest.files[PREDICTOR])
    if predictor is not None:
        verify(bundle, predictor)
        return Machine(bundle, predictor, bundle.digest)
    alone = OnnxPredictor(bundle.graph, providers=providers, threads=threads)
    verify(bundle, alone)
    return Machine(bundle, alone if share is None else share(alone, bundle.golden.windows), bundle.digest)


@dataclass(frozen=True)
class Engine:
    """How predictors run.

    Attributes:
        providers: of ONNX Runtime.
        threads: of ONNX Runtime, for one run.
        processors: that there are.
        delay_s: longest wait of a run for company.
        on_run: is told of the windows of each run.
    """

    providers: Sequence[str]
    threads: int
    processors: int
    delay_s: float = 0.0
    on_run: Callable[[int], None] | None = None

    @property
    def runs(self) -> int:
        """Runs at a time: one a processor, or one for all of a GPU."""
        return 1 if CUDA in self.providers else max(1, self.processors // self.threads)

    def share(self, predictor: OnnxPredictor, sample: Float32) -> BatchingPredictor:
        """Warm a predictor up for many, on windows of float32 (n, L, F) in dB."""
        shared = BatchingPredictor(predictor, sample, runs=self.runs, delay_s=self.delay_s, on_run=self.on_run)
        _log.info(
            "predictor ready",
            providers=list(predictor.providers),
            batch_windows=predictor.batch,
            window_s=round(shared.window_s, 6),
            shares_runs=shared.row_exact,
        )
        return shared


class Machines:
    """The machines of a running service. Reading needs no lock: the fleet is swapped whole."""

    def __init__(self, repository: ModelRepository, engine: Engine) -> None:
        self.repository = repository
        self.fleet = Fleet()
        self.loaded = False
        self.failure: str | None = None
        self._engine = engine
        self._reloading = threading.Lock()

    @property
    def predict_queue_depth(self) -> int:
        """Requests that wait for a run of their predictor, of all predictors."""
        predictors = {id(machine.predictor): machine.predictor for machine in self.fleet.machines.values()}
        return sum(one.depth for one in predictors.values() if isinstance(one, BatchingPredictor))

    def get(self, machine_id: str) -> Machine:
        """The machine of this id.

        Raises:
            MachineNotFound: there is none.
            MachineUnavailable: its bundle was refused, and none was in use before.
            ModelsLoading: it is not known yet.
        """
        fleet = self.fleet
        machine = fleet.machines.get(machine_id)
        if machine is not None:
            return machine
        if not self.loaded:
            raise ModelsLoading("the models are being loaded; ask again in a moment")
        refusal = fleet.refusals.get(machine_id)
        if refusal is not None:
            raise MachineUnavailable(f"the model of {machine_id} was refused: {refusal.reason}")
        raise MachineNotFound(f"there is no machine {machine_id[:80]!r}")

    def reload(self) -> Fleet:
        """Read the folder again (blocking); what fails a check is refused, and the one in use stays.

        Raises:
            RepositoryError: the folder cannot be read; everything stays as it is.
        """
        with self._reloading:
            try:
                fleet = self._read(self.fleet)
            except RepositoryError as error:
                self.failure = str(error)
                raise
            self.failure = None
            self.fleet = fleet
            self.loaded = True
            return fleet

    def unready(self) -> list[str]:
        """Why the service cannot do all of its work; nothing when it can."""
        if self.failure is not None:
            return [self.failure]
        if not self.loaded:
            return ["the models are being loaded"]
        fleet = self.fleet
        reasons = [
            f"{refusal.machine_id}: {refusal.reason}" for refusal in fleet.refusals.values() if refusal.in_use is None
        ]
        return reasons if reasons or fleet.machines else [f"there is no model in {self.repository.root}"]

    def _read(self, before: Fleet) -> Fleet:
        machines: dict[str, Machine] = {}
        refusals: dict[str, Refusal] = {}
        shared = {machine.manifest.files[PREDICTOR]: machine.predictor for machine in before.machines.values()}
        graphs = {machine.manifest.files[PREDICTOR]: machine.bundle.graph for machine in before.machines.values()}
        for machine_id in self.repository.machine_ids():
            in_use = before.machines.get(machine_id)
            try:
                machine = self._load(machine_id, shared, graphs)
                if in_use is not None and in_use.digest == machine.digest:
                    machine = in_use  # all of it was read and checked again; what was computed of it stays
            except HumwatchError as error:
                refusals[machine_id] = self._refusal(machine_id, error, in_use)
                if in_use is not None:
                    machines[machine_id] = in_use
                continue
            machines[machine_id] = machine
            shared[machine.manifest.files[PREDICTOR]] = machine.predictor
            graphs[machine.manifest.files[PREDICTOR]] = machine.bundle.graph
        return Fleet(MappingProxyType(machines), MappingProxyType(refusals))

    def _load(self, machine_id: str, shared: Mapping[str, GraphPredictor], graphs: Mapping[str, bytes]) -> Machine:
        engine = self._engine
        machine = load_machine(
            self.repository,
            machine_id,
            providers=engine.providers,
            threads=engine.threads,
            shared=shared,
            share=engine.share,
        )
        if machine.manifest.scoring.is_profile:
            machine.bundle.calibration.prepare()
        known = graphs.get(machine.manifest.files[PREDICTOR])
        # machines of one graph keep one copy of it
        return machine if known is None else replace(machine, bundle=replace(machine.bundle, graph=known))

    def _refusal(self, machine_id: str, error: HumwatchError, in_use: Machine | None) -> Refusal:
        try:
            version: str | None = self.repository.active_version(machine_id)
        except HumwatchError:
            version = None
        return Refusal(machine_id, version, error.code, str(error), in_use.manifest.version if in_use else None)
