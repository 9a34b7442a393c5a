"""Parts of the service, made from settings and wired: each is handed what it needs, and none knows all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from humwatch.bundle.repository import ModelRepository
from humwatch.false_alarms.estimate import fit_decision
from humwatch.false_alarms.scores import NormalScores
from humwatch.live.model import LiveModel
from humwatch_service.calibration.parts import make_calibrations
from humwatch_service.config.settings import Settings
from humwatch_service.config.webhooks import recipients
from humwatch_service.cpu_allowance import ControlGroup, cpu_allowance
from humwatch_service.live.admission import StreamAdmission
from humwatch_service.live.coalescing import Coalescing
from humwatch_service.live.evidence_writer import EvidenceWriter
from humwatch_service.live.gauges import MachineGauges
from humwatch_service.live.lifecycle import LiveParts
from humwatch_service.live.load import Load
from humwatch_service.live.logbook import Logbook
from humwatch_service.live.machines import LiveMachines
from humwatch_service.live.overload_watch import OverloadWatch
from humwatch_service.live.periodic import PeriodicTask, PeriodicTasks
from humwatch_service.live.recorder import MachineRecorder
from humwatch_service.live.reference_recorder import ReferenceRecorder
from humwatch_service.live.retention import Retention
from humwatch_service.live.stream_recorder import StreamRecorder, beside_predictor, counted_predictor
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import Engine, LoadedModel, ModelRegistry
from humwatch_service.models.versions import ModelVersions
from humwatch_service.oversight.drifts import Drifts
from humwatch_service.oversight.false_alarms import SeenFalseAlarms
from humwatch_service.oversight.limits import LimitsFit
from humwatch_service.oversight.recorder import NormalRecorder
from humwatch_service.rehearsal.backtests import Backtests
from humwatch_service.scoring.queue import ScoringQueue
from humwatch_service.scoring.scorer import ScoreJob, Scorer
from humwatch_service.scoring.uploads import UploadSlots
from humwatch_service.shadow.candidate_maker import CandidateMaker
from humwatch_service.shadow.scores import scores_of
from humwatch_service.shadow.shadows import Shadows
from humwatch_service.sources.live_host import LiveHost
from humwatch_service.sources.supervisor import SourceSupervisor
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import split_alarm_id
from humwatch_service.storage.state_folder import StateFolder
from humwatch_service.streams.audio_ring import Sound
from humwatch_service.streams.clock_watch import ClockWatch
from humwatch_service.streams.workers import StreamWorkers
from humwatch_service.telemetry.tracing import Tracing, past_span
from humwatch_service.viewers.broadcast import Broadcast
from humwatch_service.web.access import ApiKeys
from humwatch_service.web.application import Service
from humwatch_service.web.page_files import PageFiles
from humwatch_service.web.sessions import Attempts, Sessions
from humwatch_service.webhooks.outbox import OutboxAdapter
from humwatch_service.webhooks.sender import WebhookSender

DAY_S: Final = 86_400.0
FLUSH_S: Final = 10.0
"""Time between writes of history and positions: what a power cut takes of them. Alarms are written at once."""
TIDY_S: Final = 600.0
"""Time between checks of quotas and retention."""
JUDGE_S: Final = 5.0
"""Time between turns that judge the drift of a few machines."""
COUNT_S: Final = 300.0
"""Time between counts of false alarms, and writes of normal hours: what a power cut takes of these."""
MEASURE_S: Final = 5.0
"""Time between measurements of the disk for the metrics."""


def make_service(settings: Settings) -> Service:
    """Return the parts of a service.

    Raises:
        TracingUnavailable: traces are asked for, and OpenTelemetry is not installed.
        SettingsInvalid: the file of API keys cannot be read.
    """
    metrics, tracing = Metrics(), Tracing(settings)
    models, scorer = _models(settings, metrics), Scorer()
    state = StateFolder(
        settings.state_dir,
        evidence_max_bytes=settings.evidence_max_bytes,
        evidence_s=settings.evidence_days * DAY_S,
        normal_sounds=settings.normal_sounds,
        normal_s=settings.normal_sound_days * DAY_S,
    )
    webhooks = WebhookSender(
        settings.webhooks, OutboxAdapter(state.store, settings.alarm_page), on_outcome=metrics.state.notified
    )
    gauges = MachineGauges(settings, metrics, state)
    paint = _painter(models, state.evidence, scorer)
    recorder = _recorder(settings, state, gauges, paint=paint, on_owed=webhooks.wake)
    retention = Retention(state.store, state.evidence, state.kept_sounds, on_purged=metrics.state.purged)
    normal = NormalRecorder(state.store.add_normal)
    recorder.subscribe(normal)
    recorder.before_close(normal.flush)
    drifts = Drifts(state.store, metrics.live, flush=normal.flush)

    def scores(machine_id: str, version: str) -> NormalScores:
        return scores_of(state.store.shadows, machine_id, version, in_use=version)

    false_alarms = SeenFalseAlarms(state.store, metrics.live, flush=normal.flush, scores=scores)
    watch = ClockWatch()
    watch.subscribe(metrics.live.clock_set)
    watch.subscribe(retention.on_clock_set)
    live, shadows = _live(
        settings, models, state, recorder, gauges, retention, drifts, false_alarms, watch, metrics, tracing
    )
    versions = ModelVersions(models, reload=live.machines.reload, note=state.store.note)
    calibration = make_calibrations(
        models,
        versions,
        live.machines,
        state.commissionings,
        note=state.store.note,
        candidates=shadows,
        fit_decision=fit_decision,
        wanted_a_week=lambda machine_id: settings.machine(machine_id).alarm.false_alarms_a_week,
        follows_level=lambda machine_id: settings.machine(machine_id).run_state == "level",
    )
    watch.subscribe(calibration.upkeep.on_clock_set)
    metrics.watch_readiness(lambda: not models.unready() and not live.machines.unready())
    queue = _queue(settings, metrics)
    return Service(
        settings=settings,
        keys=ApiKeys(settings.keys()),
        sessions=Sessions(),
        attempts=Attempts(),
        page=PageFiles(),
        models=models,
        queue=queue,
        uploads=UploadSlots(settings.max_uploads),
        scorer=scorer,
        metrics=metrics,
        state=state,
        live=live,
        sources=SourceSupervisor(LiveHost(live, state.store), settings.sources, state.store.folders, metrics.folders),
        broadcast=_broadcast(settings, live, metrics),
        versions=versions,
        calibration=calibration,
        drifts=drifts,
        false_alarms=false_alarms,
        limits=LimitsFit(state.store, models, versions, scores=scores),
        shadows=shadows,
        backtests=Backtests(settings, models, state, queue),
        webhooks=webhooks,
        tracing=tracing,
    )


def _models(settings: Settings, metrics: Metrics) -> ModelRegistry:
    models = ModelRegistry(
        ModelRepository(settings.models_dir),
        Engine(
            settings.provider_names,
            threads=settings.predictor_threads,
            processors=cpu_allowance().workers,
            delay_s=settings.predict_delay_s,
            on_run=metrics.ran,
        ),
    )
    metrics.watch_predictors(lambda: models.predict_queue_depth)
    return models


def _queue(settings: Settings, metrics: Metrics) -> ScoringQueue:
    def on_wait(seconds: float) -> None:
        metrics.stage("queue", seconds)
        past_span("queue", seconds)

    queue = ScoringQueue(
        workers=settings.score_workers,
        waiting=settings.score_queue,
        timeout_s=settings.score_timeout_s,
        on_wait=on_wait,
    )
    metrics.watch_queue(lambda: queue.depth, lambda: queue.in_progress)
    return queue


def _painter(models: ModelRegistry, evidence: EvidenceFolder, scorer: Scorer) -> Callable[[str], bytes | None]:
    def paint(alarm_id: str) -> bytes | None:
        """Return the picture of an alarm's sound, by the machine's model; None where it has none any more."""
        loaded = models.current.models.get(split_alarm_id(alarm_id)[0])
        if loaded is None:
            return None
        return scorer.score(ScoreJob(evidence.clip_path(alarm_id), loaded, picture=True)).png

    return paint


def _recorder(
    settings: Settings,
    state: StateFolder,
    gauges: MachineGauges,
    *,
    paint: Callable[[str], bytes | None],
    on_owed: Callable[[], None],
) -> MachineRecorder:
    logbook = Logbook(
        state.store,
        recipients=lambda machine, event, late_s: recipients(
            settings.webhooks,
            machine.machine_id,
            event,
            late_s=late_s if event.alarm is None else machine.alarm_late_s,
        ),
    )
    writer = EvidenceWriter(state.store, state.evidence, paint=paint)
    references = ReferenceRecorder(state.normal_sounds, state.kept_sounds, submit=writer.submit)
    return MachineRecorder(state, logbook, writer, gauges, references, on_owed=on_owed)


def _live(
    settings: Settings,
    models: ModelRegistry,
    state: StateFolder,
    recorder: MachineRecorder,
    gauges: MachineGauges,
    retention: Retention,
    drifts: Drifts,
    false_alarms: SeenFalseAlarms,
    watch: ClockWatch,
    metrics: Metrics,
    tracing: Tracing,
) -> tuple[LiveParts, Shadows]:
    load = Load(processors=cpu_allowance().cores, budget_s=settings.stream_latency_s, max_load=settings.max_load)

    def make_model(loaded: LoadedModel) -> LiveModel:
        return LiveModel(loaded.bundle, counted_predictor(loaded.predictor, loaded.manifest.machine_id, metrics, load))

    machines = LiveMachines(settings, models, recorder, gauges, make_model=make_model)
    workers = StreamWorkers(settings.stream_workers, around=tracing.batch if tracing.follows_batches else None)
    metrics.live.watch(lambda: len(machines.fed), lambda: machines.waiting_s, lambda: recorder.unsaved)
    metrics.live.watch_load(
        load.share, lambda: load.lateness_s, lambda: load.throttled, budget_s=settings.stream_latency_s
    )
    shadows = _shadows(models, machines, load, state, recorder, metrics)
    parts = LiveParts(
        machines=machines,
        admission=StreamAdmission(
            settings,
            workers,
            load,
            observer_for=lambda machine: StreamRecorder(machine, recorder, metrics, load),
            live=lambda: len(machines.fed),
            stream_s=lambda machine_id: _stream_s(models, machine_id),
            on_open=gauges.expect,
            on_end=recorder.on_stream_end,
            on_refusal=lambda refusal: metrics.live.stream_refused(refusal.code),
        ),
        recorder=recorder,
        load=load,
        workers=workers,
        coalescing=Coalescing(lambda: workers.streams),
        overload=OverloadWatch(
            load, metrics.live, lambda: machines.fed, relieve=shadows.relieve, throttled_s=ControlGroup().throttled_s
        ),
        periodic=_periodic(machines, recorder, gauges, retention, drifts, false_alarms, shadows, watch),
        metrics=metrics.live,
        conclude=shadows.conclude,
    )
    return parts, shadows


def _shadows(
    models: ModelRegistry,
    machines: LiveMachines,
    load: Load,
    state: StateFolder,
    recorder: MachineRecorder,
    metrics: Metrics,
) -> Shadows:
    def make_model(loaded: LoadedModel) -> LiveModel:
        return LiveModel(loaded.bundle, beside_predictor(loaded.predictor, loaded.manifest.machine_id, load))

    def keep_sound(machine_id: str, name: str, sound: Sound, rate_hz: int) -> None:
        recorder.submit(machine_id, lambda: state.shadow_sounds.write(machine_id, name, sound, rate_hz))

    maker = CandidateMaker(
        models, machines, load, make_model=make_model, on_settled=metrics.shadow.settled, on_sound=keep_sound
    )
    shadows = Shadows(models, machines, maker, state.store.shadows, metrics.shadow, note=state.store.note)
    recorder.subscribe(shadows)
    return shadows


def _stream_s(models: ModelRegistry, machine_id: str) -> float:
    """Return the processor time that the predictions of a second of a machine's stream take, seconds."""
    loaded = models.current.models.get(machine_id)
    return 0.0 if loaded is None else loaded.stream_s


def _periodic(
    machines: LiveMachines,
    recorder: MachineRecorder,
    gauges: MachineGauges,
    retention: Retention,
    drifts: Drifts,
    false_alarms: SeenFalseAlarms,
    shadows: Shadows,
    watch: ClockWatch,
) -> PeriodicTasks:
    machines.on_restored = retention.on_restored
    return PeriodicTasks(
        PeriodicTask(0.0, watch.look),
        PeriodicTask(0.0, machines.restore),
        PeriodicTask(0.0, shadows.restore),
        PeriodicTask(0.0, machines.tick),
        PeriodicTask(FLUSH_S, lambda: recorder.flush(machines.all())),
        PeriodicTask(FLUSH_S, shadows.flush),
        PeriodicTask(TIDY_S, lambda: retention.enforce(machines.all())),
        PeriodicTask(JUDGE_S, lambda: drifts.judge_due(machines.all())),
        PeriodicTask(COUNT_S, lambda: false_alarms.measure(machines.all())),
        PeriodicTask(TIDY_S, shadows.estimate),
        PeriodicTask(MEASURE_S, gauges.measure),
    )


def _broadcast(settings: Settings, live: LiveParts, metrics: Metrics) -> Broadcast:
    broadcast = Broadcast(
        lambda: live.machines.by_id,
        max_viewers=settings.max_viewers,
        sourced={source.machine for source in settings.sources},
        on_drop=metrics.live.events_dropped,
    )
    metrics.live.watch_viewers(lambda: broadcast.viewers)
    live.recorder.subscribe(broadcast)
    return broadcast
