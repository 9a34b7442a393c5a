"""The live protocol's messages (version 1), as JSON; ``docs/protocol.md`` is the specification."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from humwatch.alarm.events import MachineState
from humwatch_service.errors import StreamInvalid

PROTOCOL_VERSION: Final = 1

SampleFormat = Literal[
    "s16le", "s16be", "s24le", "s24be", "s24_32le", "s24_32be", "s32le", "s32be", "f32le", "f32be", "f64le", "f64be"
]
"""Names as in GStreamer: ``s24`` is packed in 3 bytes, ``s24_32`` lies in the lower 3 of 4 bytes."""
SAMPLE_BYTES: Final[dict[SampleFormat, int]] = {
    "s16le": 2,
    "s16be": 2,
    "s24le": 3,
    "s24be": 3,
    "s24_32le": 4,
    "s24_32be": 4,
    "s32le": 4,
    "s32be": 4,
    "f32le": 4,
    "f32be": 4,
    "f64le": 8,
    "f64be": 8,
}
FLOAT_FORMATS: Final[frozenset[SampleFormat]] = frozenset({"f32le", "f32be", "f64le", "f64be"})
"""Formats without a full scale: samples may be in any unit."""
FORMAT_BITS: Final[dict[SampleFormat, int]] = {form: 16 if size == 2 else 24 for form, size in SAMPLE_BYTES.items()}
"""Resolution of a sample, bits: it is kept as float32, which holds 24."""

_ALSA: Final[dict[str, SampleFormat]] = {
    "s16_le": "s16le",
    "s16_be": "s16be",
    "s24_3le": "s24le",
    "s24_3be": "s24be",
    "s24_le": "s24_32le",
    "s24_be": "s24_32be",
    "s32_le": "s32le",
    "s32_be": "s32be",
    "float_le": "f32le",
    "float_be": "f32be",
    "float64_le": "f64le",
    "float64_be": "f64be",
}


def format_of(name: object) -> object:
    """Return the format that GStreamer, FFmpeg or ALSA call so, in any case; what none of them does, as it is."""
    if not isinstance(name, str):
        return name
    lower = name.lower()
    return _ALSA.get(lower, lower)


MAX_JOIN_S: Final = 604_800.0
"""Longest pause between two bursts that are joined, seconds: a week."""
MAX_SAMPLE: Final = 1 << 62


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hello(_Message):
    """First message of a client: what it is going to send."""

    type: Literal["hello"] = "hello"
    version: Literal[1] = PROTOCOL_VERSION
    rate_hz: int = Field(gt=0, description="samples a second and channel")
    format: Annotated[SampleFormat, BeforeValidator(format_of)] = Field(
        "s16le", description="of binary messages, channels interleaved"
    )
    channels: int = Field(1, ge=1, le=16, description="channels in binary messages")
    channel: int | None = Field(None, ge=0, description="the one to listen to, from 0; default: the model's")
    stream_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="names one unbroken count of samples; the same id resumes it. Default: a new one",
    )
    start_sample: int = Field(0, ge=0, le=MAX_SAMPLE, description="index of the first sample that will be sent")
    start_time_s: float | None = Field(
        None,
        allow_inf_nan=False,
        description="when sample 0 was taken, seconds since 1970 (UTC); default: the sound is from now",
    )
    realtime: bool = Field(True, description="false: a recording, sent faster or slower than it was taken")
    join_s: float | None = Field(
        None,
        gt=0,
        le=MAX_JOIN_S,
        allow_inf_nan=False,
        description="what comes is a burst: the stream goes on with the next one, if it begins within so many seconds",
    )


class Position(_Message):
    """The index of the next sample: ahead of what was sent marks a gap, behind repeats what is already there."""

    type: Literal["position"] = "position"
    sample: int = Field(ge=0, le=MAX_SAMPLE)


class Clock(_Message):
    """When a sample was taken, by the client's clock; about once a second, for drift and wrong rates."""

    type: Literal["clock"] = "clock"
    sample: int = Field(ge=0, le=MAX_SAMPLE)
    time_s: float = Field(description="seconds, of a clock that runs evenly; its origin does not matter")


class Dropped(_Message):
    """The sound card lost samples that nobody can count (an overflow)."""

    type: Literal["dropped"] = "dropped"
    overflows: int = Field(1, ge=1)


class Eof(_Message):
    """Nothing more comes: score what is left, answer ``bye`` and close."""

    type: Literal["eof"] = "eof"


ClientMessage = Hello | Position | Clock | Dropped | Eof
CLIENT_MESSAGE: Final[TypeAdapter[ClientMessage]] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def understood(text: str) -> ClientMessage:
    """Return a client's message. Raises :class:`StreamInvalid` where it is none."""
    try:
        return CLIENT_MESSAGE.validate_json(text)
    except ValidationError as error:
        raise StreamInvalid(f"this message is not understood: {error.errors()[0]['msg']}") from error


class Limits(_Message):
    """What the service takes of one stream."""

    max_message_bytes: int = Field(description="largest message")
    buffer_s: float = Field(description="sound that may wait to be scored; then reading pauses")
    idle_timeout_s: float = Field(description="longest time without a message, or without 1 KiB of one")


class Ready(_Message):
    """The answer to ``hello``."""

    type: Literal["ready"] = "ready"
    version: Literal[1] = PROTOCOL_VERSION
    stream_id: str
    machine_id: str
    model_version: str | None = Field(description="of the model that judges; null while the machine has none")
    model_sha256: str | None
    next_sample: int = Field(
        description="first sample that the service has not got: send from here, if it is still there"
    )
    resumed: bool = Field(description="whether the service knew this stream")
    state: MachineState
    limits: Limits


class Score(_Message):
    """One step's scores."""

    type: Literal["score"] = "score"
    start_sample: int = Field(description="first sample that the step's score depends on")
    end_sample: int = Field(description="one past the last")
    step_score: float = Field(description="of this step alone, on the step scale")
    clip_start_sample: int | None = Field(
        description="first sample of the clip that ends here; null before a whole one"
    )
    score: float | None = Field(description="of that clip: 0 is the median of normal, 1 the alarm level")
    raw_score: float | None = Field(description="the same before normalisation")
    state: MachineState = Field(description="of the machine, after this step")
    level_dbfs: float = Field(description="of the last second")


class StateChange(_Message):
    """The machine's state changed, or an alarm did."""

    type: Literal["state"] = "state"
    event: str = Field(description="kind of the event")
    state: MachineState
    before: MachineState
    reasons: list[str]
    at_s: float = Field(description="seconds since 1970 (UTC)")
    alarm_id: str | None


class Warn(_Message):
    """A fault of the source began or ended."""

    type: Literal["warn"] = "warn"
    code: str
    message: str
    active: bool


class Received(_Message):
    """The service has everything before ``sample``; the client need not keep it."""

    type: Literal["received"] = "received"
    sample: int


class Failure(_Message):
    """Why the service closes the stream: a problem's code and detail."""

    type: Literal["error"] = "error"
    code: str
    detail: str
    retry: bool = Field(description="whether connecting again may help")
    retry_after_s: float | None = None


class Bye(_Message):
    """The answer to ``eof``: everything is scored."""

    type: Literal["bye"] = "bye"
    samples: int = Field(description="that were heard")
    gap_samples: int = Field(description="that never came")
    steps: int = Field(description="scores that were given")
    worst_score: float | None = Field(description="highest score of a clip; null when there was none")
    state: MachineState


ServerMessage = Ready | Score | StateChange | Warn | Received | Failure | Bye
SERVER_MESSAGE: Final[TypeAdapter[ServerMessage]] = TypeAdapter(Annotated[ServerMessage, Field(discriminator="type")])
