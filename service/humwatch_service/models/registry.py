"""The models of the machines that can be scored: bundles that passed every check, and the reasons against others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from humwatch.arrays import Float32
from humwatch.bundle.bundle import Bundle
from humwatch.bundle.manifest import PREDICTOR, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleInvalid, HumwatchError, MachineNotFound, RepositoryError
from humwatch.onnx_predictor import CUDA, OnnxPredictor
from humwatch.scoring.evidence import evidence_of
from humwatch_service.errors import MachineUnavailable, ModelsLoading
from humwatch_service.inference.batching import BatchedPredictor, GraphPredictor
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.models")


@dataclass(frozen=True)
class LoadedModel:
    """The model of a machine, loaded and checked.

    Attributes:
        bundle: bundle of the model.
        predictor: predictor of its graph, shared with other models of the same graph.
        digest: SHA-256 of the whole bundle, hexadecimal.
    """

    bundle: Bundle
    predictor: GraphPredictor
    digest: str

    @property
    def manifest(self) -> Manifest:
        """Manifest of the bundle."""
        return self.bundle.manifest

    @property
    def stream_s(self) -> float:
        """Processor time of the predictions for a second of a stream, seconds; 0 where it was not measured."""
        windows_hz = self.manifest.features.frame_rate_hz / self.manifest.windows.hop_frames
        return windows_hz * self.predictor.window_s if isinstance(self.predictor, BatchedPredictor) else 0.0


@dataclass(frozen=True)
class RefusedModel:
    """A bundle that failed a check.

    Attributes:
        machine_id: id of the machine.
        version: version that should have been used; None where not even that could be read.
        code: code of the error.
        reason: message of the error.
        in_use: version that stays in use instead; None when there is none.
    """

    machine_id: str
    version: str | None
    code: str
    reason: str
    in_use: str | None


@dataclass(frozen=True)
class ModelSet:
    """The models that are loaded at a time; never changed, only replaced as a whole.

    Attributes:
        models: model of each machine, by machine id.
        refusals: bundles that failed a check, by machine id.
    """

    models: Mapping[str, LoadedModel] = field(default_factory=lambda: MappingProxyType({}))
    refusals: Mapping[str, RefusedModel] = field(default_factory=lambda: MappingProxyType({}))

    def log_refusals(self) -> None:
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


def load_model(
    repository: ModelRepository,
    machine_id: str,
    version: str | None = None,
    *,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    threads: int = 1,
    shared: Mapping[str, GraphPredictor] | None = None,
    share: Callable[[OnnxPredictor, Float32], GraphPredictor] | None = None,
) -> LoadedModel:
    """Load a bundle, and check all of it.

    Args:
        repository: folder of models.
        machine_id: id of the machine.
        version: version of its model; None for the active one.
        providers: execution providers of ONNX Runtime.
        threads: threads of ONNX Runtime for one run.
        shared: predictors that are loaded already, by the SHA-256 of their graph.
        share: maker of a predictor for many callers, from a new one and windows to try it on.

    Raises:
        RepositoryError, BundleError, PredictorError: it cannot be used, and why.
    """
    bundle = repository.read(machine_id, version)
    predictor = (shared or {}).get(bundle.manifest.files[PREDICTOR])
    if predictor is not None:
        verify(bundle, predictor)
        return LoadedModel(bundle, predictor, bundle.digest)
    alone = OnnxPredictor(bundle.graph, providers=providers, threads=threads)
    verify(bundle, alone)
    return LoadedModel(bundle, alone if share is None else share(alone, bundle.golden.windows), bundle.digest)


@dataclass(frozen=True)
class Engine:
    """The way in which predictors run.

    Attributes:
        providers: execution providers of ONNX Runtime.
        threads: threads of ONNX Runtime for one run.
        processors: number of processors.
        delay_s: longest wait of a run for more requests, seconds.
        on_run: callback after each run, with its number of windows.
    """

    providers: Sequence[str]
    threads: int
    processors: int
    delay_s: float = 0.0
    on_run: Callable[[int], None] | None = None

    @property
    def runs(self) -> int:
        """Number of runs at a time: one a processor, or one for all of a GPU."""
        return 1 if CUDA in self.providers else max(1, self.processors // self.threads)

    def share(self, predictor: OnnxPredictor, sample: Float32) -> BatchedPredictor:
        """Warm a predictor up for many callers, on windows of float32 (n, L, F) in dB."""
        shared = BatchedPredictor(predictor, sample, runs=self.runs, delay_s=self.delay_s, on_run=self.on_run)
        _log.info(
            "predictor ready",
            providers=list(predictor.providers),
            batch_windows=predictor.batch,
            window_s=round(shared.window_s, 6),
            shares_runs=shared.row_exact,
        )
        return shared


class ModelRegistry:
    """The models of a running service. Reading needs no lock: they are replaced as a whole.

    Attributes:
        repository: folder of models.
        current: models in use now.
        loaded: whether the folder was read at least once.
        failure: reason why the folder could not be read the last time; None when it could.
    """

    def __init__(self, repository: ModelRepository, engine: Engine) -> None:
        self.repository = repository
        self.current = ModelSet()
        self.loaded = False
        self.failure: str | None = None
        self._engine = engine
        self._reloading = threading.Lock()

    @property
    def predict_queue_depth(self) -> int:
        """Number of requests that wait for a run of their predictor, of all predictors."""
        predictors = {id(model.predictor): model.predictor for model in self.current.models.values()}
        return sum(one.depth for one in predictors.values() if isinstance(one, BatchedPredictor))

    def get(self, machine_id: str) -> LoadedModel:
        """Return the model of a machine.

        Raises:
            MachineNotFound: there is none.
            MachineUnavailable: its bundle was refused, and none was in use before.
            ModelsLoading: it is not known yet.
        """
        current = self.current
        model = current.models.get(machine_id)
        if model is not None:
            return model
        if not self.loaded:
            raise ModelsLoading("the models are being loaded; ask again in a moment")
        refusal = current.refusals.get(machine_id)
        if refusal is not None:
            raise MachineUnavailable(f"the model of {machine_id} was refused: {refusal.reason}")
        raise MachineNotFound(f"there is no machine {machine_id[:80]!r}")

    def reload(self) -> ModelSet:
        """Read the folder again (blocking); a bundle that fails a check is refused, and the one in use stays.

        Raises:
            RepositoryError: the folder cannot be read; everything stays as it is.
        """
        with self._reloading:
            try:
                following = self._read(self.current)
            except RepositoryError as error:
                self.failure = str(error)
                raise
            self.failure = None
            self.current = following
            self.loaded = True
            return following

    def load(self, machine_id: str, version: str) -> LoadedModel:
        """Return a version beside the one in use, on its predictor if the graph is the same (blocking).

        Raises:
            RepositoryError, BundleError, PredictorError: it cannot be used, and why.
        """
        models = self.current.models.values()
        return self._load(
            machine_id,
            {model.manifest.files[PREDICTOR]: model.predictor for model in models},
            {model.manifest.files[PREDICTOR]: model.bundle.graph for model in models},
            version=version,
        )

    def unready(self) -> list[str]:
        """Return the reasons why the service cannot do all of its work; none when it can."""
        if self.failure is not None:
            return [self.failure]
        if not self.loaded:
            return ["the models are being loaded"]
        current = self.current
        reasons = [
            f"{refusal.machine_id}: {refusal.reason}" for refusal in current.refusals.values() if refusal.in_use is None
        ]
        return reasons if reasons or current.models else [f"there is no model in {self.repository.root}"]

    def _read(self, before: ModelSet) -> ModelSet:
        models: dict[str, LoadedModel] = {}
        refusals: dict[str, RefusedModel] = {}
        shared = {model.manifest.files[PREDICTOR]: model.predictor for model in before.models.values()}
        graphs = {model.manifest.files[PREDICTOR]: model.bundle.graph for model in before.models.values()}
        for machine_id in self.repository.machine_ids():
            in_use = before.models.get(machine_id)
            try:
                model = self._load(machine_id, shared, graphs)
                if in_use is not None and in_use.digest == model.digest:
                    model = in_use  # all of it was read and checked again; what was computed of it stays
            except HumwatchError as error:
                refusals[machine_id] = self._refusal(machine_id, error, in_use)
                if in_use is not None:
                    models[machine_id] = in_use
                continue
            models[machine_id] = model
            shared[model.manifest.files[PREDICTOR]] = model.predictor
            graphs[model.manifest.files[PREDICTOR]] = model.bundle.graph
        return ModelSet(MappingProxyType(models), MappingProxyType(refusals))

    def _load(
        self,
        machine_id: str,
        shared: Mapping[str, GraphPredictor],
        graphs: Mapping[str, bytes],
        version: str | None = None,
    ) -> LoadedModel:
        engine = self._engine
        model = load_model(
            self.repository,
            machine_id,
            version,
            providers=engine.providers,
            threads=engine.threads,
            shared=shared,
            share=engine.share,
        )
        if model.manifest.scoring.is_profile:
            model.bundle.calibration.prepare()
        known = graphs.get(model.manifest.files[PREDICTOR])
        # models of one graph keep one copy of it
        return model if known is None else replace(model, bundle=replace(model.bundle, graph=known))

    def _refusal(self, machine_id: str, error: HumwatchError, in_use: LoadedModel | None) -> RefusedModel:
        try:
            version: str | None = self.repository.active_version(machine_id)
        except HumwatchError:
            version = None
        return RefusedModel(machine_id, version, error.code, str(error), in_use.manifest.version if in_use else None)
