"""Report of ``humwatch capacity --json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndedReport(_Part):
    """Connections that ended in one way."""

    how: str = Field(description="`http_503`: refused in the handshake; `close_1013`: closed; `no_answer`")
    code: str = Field(description="the service's code, e.g. `streams_full`; `service_unreachable` where it said none")
    times: int = Field(description="how often")


class LatencyReport(_Part):
    """Scores at the client: from when the chunk was due that holds the last sample, to the score."""

    scores: int = Field(description="that came")
    lost_scores: int = Field(description="that were due and did not come")
    p50_s: float | None = Field(description="median, seconds; null where so many are lost")
    p99_s: float | None = Field(description="99th percentile, seconds; null where more than that are lost")
    max_s: float | None = Field(description="the latest that came, seconds")


class LevelReport(_Part):
    """A number of streams, played for a while to a service that was started for it."""

    version: str = Field("this", description="of the service: `this`, or what `--against` names")
    streams: int = Field(description="that were played")
    seconds: float = Field(description="that were measured, after the warm-up")
    beside: str | None = Field(None, description="what else the service was asked meanwhile; null: nothing")
    sustained: bool = Field(description="whether all of it was followed within the budget")
    failed_by: list[str] = Field(description="why not: latency, lost, refused, broken, dropped")
    broke: str | None = Field(None, description="what failed and what was used up, in a sentence; null: sustained")
    admitted: int = Field(description="streams that the service took")
    refusals: list[EndedReport] = Field(description="of connections, before `ready`, while it was measured")
    breaks: list[EndedReport] = Field(description="of connections, after it")
    latency: LatencyReport = Field(description="as the client measured it")
    service_p50_s: float | None = Field(description="median by the service's own histogram, warm-up included")
    service_p99_s: float | None = Field(description="99th percentile, the same")
    dropped_windows: int | None = Field(description="without a score; null: the service did not answer")
    untold_scores: int | None = Field(description="that the player did not read in time")
    gap_s: float | None = Field(description="sound that never came, seconds")
    faults: int | None = Field(description="of sources, that began")
    alarms: int | None = Field(description="that were raised")
    machine_states: dict[str, int] = Field(description="machines by the state that was told last")
    rss_idle_mb: float = Field(description="memory of the service with its models, before the streams (10^6 bytes)")
    rss_mb: float = Field(description="memory at the end of the measurement")
    mb_a_stream: float = Field(description="growth between the two, by the streams")
    service_cores: float = Field(description="processors that the service kept busy")
    ms_a_stream_second: float = Field(
        description="processor time of the service for a second of one stream, milliseconds"
    )
    player_cores: float = Field(description="processors that the player kept busy")
    other_cores: float = Field(description="processors that everything else on this host kept busy")
    player_lag_s: float = Field(description="99th percentile of how late the player itself was, seconds")
    backlog_s: float = Field(description="most sound of a stream that the service left unread in the socket, seconds")


class SoakReading(_Part):
    """One line of a long run; counts are since the start, latencies and processors since the last reading."""

    at_s: float = Field(description="since the streams began")
    rss_mb: float = Field(description="memory of the service (10^6 bytes)")
    live_streams: int = Field(description="that are fed")
    dropped_windows: int = Field(description="without a score because their samples never came")
    untold_scores: int = Field(description="that the player did not read in time")
    gap_s: float = Field(description="sound that never came, seconds")
    p50_s: float | None = Field(description="median latency at the client, seconds")
    p99_s: float | None = Field(description="99th percentile, seconds")
    lost_scores: int = Field(description="that were due in this time and did not come")
    service_cores: float = Field(description="processors that the service kept busy")
    other_cores: float = Field(description="processors that everything else on this host kept busy")
    player_lag_s: float = Field(description="99th percentile of how late the player itself was, seconds")
    faults: int = Field(description="of sources, that began")
    alarms: int = Field(description="that were raised")
    breaks: int = Field(description="connections that ended and should not have")


class SoakReport(_Part):
    """A number of streams for a long time."""

    streams: int = Field(description="that were played")
    seconds: float = Field(description="of the last reading")
    settling_s: float = Field(description="of the beginning, that memory is not judged by")
    memory_slope_mb_h: float | None = Field(description="growth of memory after it by least squares, MB an hour")
    rss_first_mb: float | None = Field(description="memory at the first reading after it")
    rss_last_mb: float | None = Field(description="at the last one")
    mb_a_stream: float | None = Field(description="growth from before the streams to the last reading, by the streams")
    rss_max_mb: float = Field(description="highest of all readings")
    live_streams_min: int | None = Field(description="fewest that were fed at a reading after it")
    p50_worst_s: float | None = Field(description="highest median of a reading, seconds")
    p99_worst_s: float | None = Field(description="highest 99th percentile of a reading, seconds")
    service_cores_mean: float | None = Field(description="processors that the service kept busy after it")
    lost_scores: int = Field(description="of all readings")
    dropped_windows: int = Field(description="at the last reading")
    untold_scores: int = Field(description="at the last reading")
    gap_s: float = Field(description="at the last reading")
    faults: int = Field(description="at the last reading")
    alarms: int = Field(description="at the last reading")
    breaks: int = Field(description="at the last reading")
    readings: list[SoakReading] = Field(description="one every ten seconds")


class OverloadReport(_Part):
    """More streams than are sustained, and back."""

    streams: int = Field(description="that came")
    seconds: float = Field(description="that were measured, after the warm-up")
    admitted: int = Field(description="streams that were fed at the end")
    never_admitted: int = Field(description="streams that the service never took")
    refusals: list[EndedReport] = Field(description="of connections, before `ready`; one that comes again counts again")
    breaks: list[EndedReport] = Field(description="of connections, after it")
    latency: LatencyReport = Field(description="of the streams that were taken")
    rss_mb: float = Field(description="memory of the service at the end (10^6 bytes)")
    service_cores: float = Field(description="processors that the service kept busy")
    other_cores: float = Field(description="processors that everything else on this host kept busy")
    player_lag_s: float = Field(description="99th percentile of how late the player itself was, seconds")
    back_to_streams: int = Field(description="that stayed; the others were cut off")
    recovered_after_s: float | None = Field(
        description="from then on, until the 99th percentile of five seconds was within the budget; null: it never was"
    )


class RequestsReport(_Part):
    """Requests, one after the other or several at once."""

    clients: int = Field(description="at once")
    requests: int = Field(description="that were sent")
    errors: dict[str, int] = Field(description="answers that were not 200, by code")
    p50_s: float | None = Field(description="median of the others, seconds")
    p99_s: float | None = Field(description="99th percentile, seconds")
    a_second: float = Field(description="good answers a second")


class ScoreReport(_Part):
    """`POST /score` of a clip, without streams."""

    clip_s: float = Field(description="length of the recording, seconds")
    sequential: RequestsReport = Field(description="one client")
    concurrent: RequestsReport = Field(description="ten clients")
    speed_up: float | None = Field(description="answers a second of ten clients, by those of one")


class ModelCard(_Part):
    """Model that was played to."""

    machine_id: str = Field(description="whose bundle it is")
    version: str = Field(description="of the bundle")
    strategy: str = Field(description="what its network is asked")
    score: str = Field(description="kind of the score")
    hop_frames: int = Field(description="frames from one window to the next")
    step_s: float = Field(description="from one score to the next, seconds")


class FloorReport(_Part):
    """The arithmetic of the model alone, in arrays over many streams, in one thread; a service cannot do with less."""

    stages: dict[str, float] = Field(
        description="processor time of front end, predictor, evidence, lines and scores for a second of one stream, ms"
    )
    batch_windows: int = Field(description="windows that the predictor was fastest with")
    ms_a_stream_second: float = Field(description="all stages together, milliseconds")


class ComparedLevel(_Part):
    """A number of streams that both versions were played; medians of its rounds."""

    streams: int = Field(description="that were played")
    rounds: int = Field(description="how often each version was played them")
    sustained: bool = Field(description="whether this version followed all of it within the budget")
    against_sustained: bool = Field(description="whether the other one did")
    ms_a_stream_second: float = Field(description="processor time of this version for a second of one stream, ms")
    against_ms_a_stream_second: float = Field(description="of the other one")
    ratio: float | None = Field(
        description="the other version's processor time by this one's; below 1 this one is slower"
    )
    p50_s: float | None = Field(description="median latency of this version, seconds")
    against_p50_s: float | None = Field(description="of the other one")
    p99_s: float | None = Field(description="99th percentile of this version, seconds")
    against_p99_s: float | None = Field(description="of the other one")
    mb_a_stream: float = Field(description="memory of this version that the streams added, by the streams, MB")
    against_mb_a_stream: float = Field(description="of the other one")


class AgainstReport(_Part):
    """Another version of the service, played to in turn with this one."""

    version: str = Field(description="what `--against` names")
    model: ModelCard = Field(description="the bundle that all its machines have")
    sustained_streams: int | None = Field(description="highest number that it sustained; 0: not even one")
    limited_by: list[str] = Field(description="why the lowest number that it did not sustain was not")
    levels: list[LevelReport] = Field(description="in the order in which they were played")
    compared: list[ComparedLevel] = Field(description="numbers of streams that both versions were played")
    score: ScoreReport | None = Field(description="of `--score`")


class CapacityReport(_Part):
    """Report of the measurements. A part that was not asked for, or not reached, is null."""

    model: ModelCard = Field(description="the bundle that all machines have")
    processors: int = Field(description="that this process may use, and the service and the player share")
    cpu_quota: float | None = Field(
        None, description="processors that both may keep busy at a time by the container's CPU quota; null without one"
    )
    budget_s: float = Field(description="longest 99th percentile of the latency that counts as following, seconds")
    message_s: float = Field(0.25, description="sound of a message that the player sends, seconds")
    settings: dict[str, str] = Field(description="of the service, that are not its defaults")
    thread_limits: dict[str, str] = Field(
        description="variables that limit libraries' threads, as the service got them"
    )
    sustained_streams: int | None = Field(description="highest number that was sustained; 0: not even one")
    limited_by: list[str] = Field(description="why the lowest number that was not sustained was not")
    floor: FloorReport | None = Field(None, description="the arithmetic alone, measured before the levels")
    levels: list[LevelReport] = Field(description="in the order in which they were played")
    hold: SoakReport | None = Field(description="of `--hold-minutes`")
    overload: OverloadReport | None = Field(description="of `--overload`")
    score: ScoreReport | None = Field(description="of `--score`")
    against: AgainstReport | None = Field(None, description="of `--against`")
    interrupted: bool = Field(description="whether it was told to stop before the end")
