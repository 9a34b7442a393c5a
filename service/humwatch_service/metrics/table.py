"""The table of all metrics: their names, kinds, labels and meanings. ``docs/metrics.md`` explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class MetricSpec:
    """One metric, as Prometheus sees it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


MODEL_METRICS: Final = (
    MetricSpec(
        "humwatch_score_requests_total",
        "counter",
        ("machine_id", "outcome"),
        "Recordings sent for a known machine, by what came of them.",
    ),
    MetricSpec(
        "humwatch_score_duration_seconds", "histogram", (), "From a request's head to the answer of a scored recording."
    ),
    MetricSpec(
        "humwatch_stage_duration_seconds",
        "histogram",
        ("stage",),
        "Time that one recording spends in a stage: receive, queue, predict, score (all but the prediction), picture;"
        " live_predict: that a block of a live stream's windows takes.",
    ),
    MetricSpec("humwatch_windows_scored_total", "counter", ("machine_id",), "Windows that went through a predictor."),
    MetricSpec(
        "humwatch_anomaly_score_ratio",
        "gauge",
        ("machine_id",),
        "Score of the last recording or live clip: 0 is the median of normal, 1 the alarm level. NaN before any, after"
        " a change of model, and from when a machine that was heard is unknown, off or out of service until it is"
        " judged again.",
    ),
    MetricSpec(
        "humwatch_anomaly_score_raw", "gauge", ("machine_id",), "The same score before normalisation; NaN with it."
    ),
    MetricSpec(
        "humwatch_anomaly_threshold",
        "gauge",
        ("machine_id", "level"),
        "Levels on the scale of humwatch_anomaly_score_ratio, for clips: warn, and alarm (1).",
    ),
    MetricSpec(
        "humwatch_batch_size",
        "histogram",
        (),
        "Windows that went through a graph in one run, of all streams and recordings that shared it.",
    ),
    MetricSpec("humwatch_predict_queue_depth", "gauge", (), "Requests of streams and recordings that wait for a run."),
    MetricSpec("humwatch_score_queue_depth", "gauge", (), "Recordings that wait for a worker."),
    MetricSpec("humwatch_scores_in_progress", "gauge", (), "Recordings that a worker is busy with."),
    MetricSpec(
        "humwatch_score_rejections_total", "counter", ("reason",), "Recordings without a score, by the problem's code."
    ),
    MetricSpec(
        "humwatch_http_requests_total",
        "counter",
        ("route", "method", "status"),
        "HTTP requests by route template.",
    ),
    MetricSpec(
        "humwatch_model_info",
        "gauge",
        ("machine_id", "version", "digest", "strategy", "score"),
        "1 for each model in use.",
    ),
    MetricSpec(
        "humwatch_model_provisional",
        "gauge",
        ("machine_id",),
        "1 while the version in use is a stage of a commissioning that others follow, else 0.",
    ),
    MetricSpec("humwatch_models_refused", "gauge", (), "Machines whose active bundle failed a check."),
    MetricSpec("humwatch_ready", "gauge", (), "1 while /readyz says that the service can do all of its work, else 0."),
    MetricSpec("humwatch_build_info", "gauge", ("version", "python", "onnxruntime"), "1, with what is running."),
)

LIVE_METRICS: Final = (
    MetricSpec(
        "humwatch_alarm_state",
        "gauge",
        ("machine_id", "state"),
        "1 for the state that is shown of a machine that is listened to, 0 for the others.",
    ),
    MetricSpec(
        "humwatch_alarm_transitions_total", "counter", ("machine_id", "event"), "Alarm events and changes of state."
    ),
    MetricSpec(
        "humwatch_alarms_raised_total",
        "counter",
        ("machine_id", "detector"),
        "Alarms that were raised, by the detector that decided the score: profile, rhythm, lines; error: a score that"
        " has no detectors.",
    ),
    MetricSpec(
        "humwatch_alarm_last_number",
        "gauge",
        ("machine_id",),
        "Number of the machine's newest alarm, as in its id; 0: it never had one.",
    ),
    MetricSpec(
        "humwatch_alarm_active",
        "gauge",
        ("machine_id",),
        "1 while an alarm of the machine is in force, also while it is not heard or stands; else 0.",
    ),
    MetricSpec(
        "humwatch_alarm_acknowledged", "gauge", ("machine_id",), "1 while the alarm in force is acknowledged, else 0."
    ),
    MetricSpec(
        "humwatch_alarm_shelved", "gauge", ("machine_id",), "1 while nobody is told of the machine's alarms, else 0."
    ),
    MetricSpec(
        "humwatch_audio_expected",
        "gauge",
        ("machine_id",),
        "1 for a machine that is listened to: a source of the settings is for it, or a stream was fed, now or before a"
        " restart; 0 for one that recordings are only sent for.",
    ),
    MetricSpec("humwatch_source_fault", "gauge", ("machine_id", "fault"), "1 while the source has this fault."),
    MetricSpec("humwatch_source_faults_total", "counter", ("machine_id", "fault"), "Faults of the source that began."),
    MetricSpec(
        "humwatch_audio_level_dbfs", "gauge", ("machine_id",), "Level of the last second of sound; NaN without any."
    ),
    MetricSpec(
        "humwatch_audio_last_sample_timestamp_seconds",
        "gauge",
        ("machine_id",),
        "When the last sound was listened to, seconds since 1970; 0: never. It outlives a restart.",
    ),
    MetricSpec(
        "humwatch_sound_age_seconds",
        "gauge",
        ("machine_id",),
        "How long after it was recorded the last sound was listened to: of a backlog hours or days; NaN before any.",
    ),
    MetricSpec(
        "humwatch_alarm_sound_age_seconds",
        "gauge",
        ("machine_id",),
        "How long after it was recorded the sound was listened to that raised the alarm in force; 0 without one.",
    ),
    MetricSpec(
        "humwatch_audio_gap_seconds_total", "counter", ("machine_id",), "Sound of live streams that never came."
    ),
    MetricSpec(
        "humwatch_sound_redated_total",
        "counter",
        ("machine_id", "reason"),
        "Times that sound was dated otherwise than it was said, or than before: clock_set, undated, from_the_future,"
        " start_time_ignored, sent_again, clock_stands.",
    ),
    MetricSpec("humwatch_audio_overflows_total", "counter", ("machine_id",), "Times that a sound card lost samples."),
    MetricSpec(
        "humwatch_windows_dropped_total",
        "counter",
        ("machine_id", "reason"),
        "Windows without a score because their samples never came (gap), scores that a slow client did not get.",
    ),
    MetricSpec(
        "humwatch_clock_steps_total",
        "counter",
        ("direction",),
        "Times that the wall clock was set by more than two seconds, forward or back; forward too after the box slept.",
    ),
    MetricSpec("humwatch_live_streams", "gauge", (), "Streams that somebody feeds."),
    MetricSpec("humwatch_page_viewers", "gauge", (), "Connections that look on: pages, one or two each."),
    MetricSpec(
        "humwatch_page_events_dropped_total",
        "counter",
        (),
        "Events that were not sent to a connection that looks on, because it did not read those before.",
    ),
    MetricSpec(
        "humwatch_live_waiting_seconds",
        "gauge",
        (),
        "Sound that waits for a worker or is with one, of all streams; what is too little for a step is not counted.",
    ),
    MetricSpec(
        "humwatch_live_load_ratio",
        "gauge",
        ("resource",),
        "Processor time that streams and the event loop use of what they may use, mean of 5 s: of all processors"
        " (cores), of which a CPU quota counts as used up while the kernel holds the process back, and of the one that"
        " runs Python (interpreter). At 1 no more streams are taken.",
    ),
    MetricSpec(
        "humwatch_cpu_throttled_ratio",
        "gauge",
        (),
        "Share of the last 5 s in whose periods the CPU quota was used up; 0 without one.",
    ),
    MetricSpec(
        "humwatch_live_lateness_seconds",
        "gauge",
        (),
        "Latency that the scores of the last 5 s kept to but for a twentieth of them, of streams that do not catch up.",
    ),
    MetricSpec(
        "humwatch_streams_refused_total",
        "counter",
        ("reason",),
        "Live streams that were not taken: streams_full (max_streams), overloaded (no processor time, or scores late).",
    ),
    MetricSpec(
        "humwatch_streams_given_up_total",
        "counter",
        (),
        "Live streams that were closed so that the scores of the others come in time.",
    ),
    MetricSpec(
        "humwatch_end_to_end_latency_seconds",
        "histogram",
        (),
        "From the arrival of the last sample that a score depends on to the score, of streams in real time.",
    ),
    MetricSpec(
        "humwatch_latency_budget_seconds",
        "gauge",
        (),
        "Longest that scores of live streams may be late (setting stream_latency_s).",
    ),
    MetricSpec(
        "humwatch_machine_drifted",
        "gauge",
        ("machine_id",),
        "1 while the normal sound of the machine has moved since its calibration came into use, 0 while it has not; NaN"
        " while there is too little of it to tell.",
    ),
    MetricSpec(
        "humwatch_drift_since_timestamp_seconds",
        "gauge",
        ("machine_id",),
        "Likeliest begin of that drift, seconds since 1970; 0: there is none.",
    ),
    MetricSpec(
        "humwatch_alarms_judged",
        "gauge",
        ("machine_id", "verdict"),
        "Alarms that the version in use raised under the rule in force, by what operators said of them.",
    ),
    MetricSpec(
        "humwatch_watched_seconds",
        "gauge",
        ("machine_id",),
        "Sound that the version in use has scored under the rule in force.",
    ),
    MetricSpec(
        "humwatch_false_alarms_promised_per_week",
        "gauge",
        ("machine_id",),
        "False alarms a week that the version in use promises; NaN while it promises none.",
    ),
    MetricSpec(
        "humwatch_false_alarms_seen_low_per_week",
        "gauge",
        ("machine_id",),
        "Lower end of the 90 % interval of false alarms a week, of alarms that operators judged false; NaN before any"
        " sound was scored.",
    ),
    MetricSpec("humwatch_unsaved_changes", "gauge", (), "Alarm events that the disk has not taken yet."),
)

STATE_METRICS: Final = (
    MetricSpec("humwatch_evidence_bytes", "gauge", (), "Size of the sound and pictures of alarms; NaN: unknown."),
    MetricSpec("humwatch_evidence_max_bytes", "gauge", (), "Room for them (setting evidence_max_bytes)."),
    MetricSpec(
        "humwatch_evidence_purged_total", "counter", (), "Alarms whose sound was deleted for its age or for room."
    ),
    MetricSpec(
        "humwatch_state_free_bytes", "gauge", (), "Room left on the disk of state_dir; NaN while that cannot be read."
    ),
    MetricSpec(
        "humwatch_webhook_deliveries_total",
        "counter",
        ("webhook", "outcome"),
        "Attempts to send an alarm event: delivered, failed; and given_up, events that nobody tries to send any more.",
    ),
    MetricSpec(
        "humwatch_webhook_pending",
        "gauge",
        ("webhook",),
        "Alarm events that the webhook is still owed; NaN while the database cannot be read.",
    ),
)

SHADOW_METRICS: Final = (
    MetricSpec(
        "humwatch_shadow_active",
        "gauge",
        ("machine_id",),
        "1 while a candidate runs beside the version in use, 0 once it failed; gone with it.",
    ),
    MetricSpec(
        "humwatch_shadow_alarms_total",
        "counter",
        ("machine_id", "by"),
        "Alarms that are over while a candidate runs: of both versions, of the old one in use alone, of the new one"
        " alone, which nobody was told of.",
    ),
)

FOLDER_METRICS: Final = (
    MetricSpec(
        "humwatch_folder_recordings_total",
        "counter",
        ("machine_id", "outcome"),
        "Recordings of watched folders, by what became of them: heard, or passed over and why.",
    ),
    MetricSpec(
        "humwatch_folder_late_recordings_total",
        "counter",
        ("machine_id",),
        "Recordings of watched folders that came after a newer one was heard.",
    ),
    MetricSpec(
        "humwatch_folder_recordings_pending",
        "gauge",
        ("machine_id",),
        "Recordings of watched folders that wait, or are still written.",
    ),
)

METRICS: Final = (*MODEL_METRICS, *LIVE_METRICS, *FOLDER_METRICS, *SHADOW_METRICS, *STATE_METRICS)

PROCESS_METRICS: Final = (
    MetricSpec("process_cpu_seconds_total", "counter", (), "Total user and system CPU time spent in seconds."),
    MetricSpec("process_resident_memory_bytes", "gauge", (), "Resident memory size in bytes."),
    MetricSpec("process_virtual_memory_bytes", "gauge", (), "Virtual memory size in bytes."),
    MetricSpec("process_start_time_seconds", "gauge", (), "Start time of the process since unix epoch in seconds."),
    MetricSpec("process_open_fds", "gauge", (), "Number of open file descriptors."),
    MetricSpec("process_max_fds", "gauge", (), "Maximum number of open file descriptors."),
)
"""The metrics of the client library's own collector, on Linux."""
