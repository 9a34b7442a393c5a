"""Settings of the service: one table, of which the documentation and ``humwatch config show`` are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from humwatch.audio.decoding import DecodeLimits
from humwatch.bundle.manifest import MachineId
from humwatch.text_files import read_text
from humwatch_service.config import addresses
from humwatch_service.config.addresses import Network, is_loopback
from humwatch_service.config.machines import MachineSettings
from humwatch_service.config.sources import SourceSettings, check_folders
from humwatch_service.config.webhooks import WebhookSettings
from humwatch_service.cpu_allowance import cpu_allowance
from humwatch_service.errors import ApiKeyRequired, SettingsInvalid

ENV_PREFIX: Final = "HUMWATCH_"
MIN_KEY_CHARACTERS: Final = 16

_PROVIDERS: Final = {"cpu": ("CPUExecutionProvider",), "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider")}


def _split_list(value: object) -> object:
    """Take a JSON list or a comma list where a list of strings is wanted."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("neither a comma list nor a JSON list") from error
    return [part.strip() for part in value.split(",") if part.strip()]


def _workers() -> int:
    return cpu_allowance().workers


_List = (NoDecode, BeforeValidator(_split_list))


class Settings(BaseSettings):
    """Everything that can be set; made by :func:`humwatch_service.config.layers.load_configuration`.

    Calling the class itself takes its arguments alone and reads nothing from the environment.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    models_dir: Path = Field(Path("models"), description="folder of models: `<machine_id>/<version>/`")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; beyond loopback a key is needed")
    port: int = Field(8000, ge=0, le=65_535, description="TCP port to listen on; 0 takes a free one")
    api_keys: Annotated[tuple[SecretStr, ...], *_List] = Field(
        (), description=f"API keys, comma or JSON list, {MIN_KEY_CHARACTERS} characters each at least"
    )
    api_keys_file: Path | None = Field(None, description="file of further API keys, one a line")
    allowed_hosts: Annotated[tuple[str, ...], *_List] = Field(
        (), description="host names that requests may be addressed to, comma or JSON list; without a key loopback only"
    )
    public_url: str | None = Field(
        None,
        description="URL that people know the service under, such as `https://plant.example/humwatch`: its path is"
        " taken off requests where a proxy has not, links in notifications begin with it",
    )
    trusted_proxies: Annotated[tuple[Network, ...], *_List] = Field(
        (),
        description="addresses or networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Prefix` count,"
        " comma or JSON list",
    )
    max_body_bytes: int = Field(64 << 20, ge=1, description="largest request body, bytes")
    max_duration_s: float = Field(600.0, gt=0, le=86_400, description="longest recording, seconds")
    max_channels: int = Field(16, ge=1, le=1024, description="most channels of a recording")
    min_rate_hz: int = Field(4_000, ge=1, description="lowest sample rate of a recording, Hz")
    max_rate_hz: int = Field(384_000, ge=1, description="highest sample rate of a recording, Hz")
    max_decoded_samples: int = Field(
        256_000_000, ge=1, description="most samples (frames x channels) that a recording may decode to"
    )
    max_connections: int = Field(1024, ge=1, description="most connections at a time; further ones are answered 503")
    max_uploads: int = Field(32, ge=1, description="most bodies that are received at a time; further ones get 503")
    score_workers: int = Field(
        default_factory=_workers,
        ge=1,
        le=256,
        description="recordings scored at a time; default: one a processor, by the CPU quota where there is one",
    )
    score_queue: int = Field(16, ge=0, le=10_000, description="recordings that may wait for a worker; then 503")
    score_timeout_s: float = Field(300.0, gt=0, description="longest time from a whole body to its answer, seconds")
    body_timeout_s: float = Field(
        60.0, gt=0, description="longest time for the next `body_min_bytes` of a body, or its rest, seconds; then 408"
    )
    body_min_bytes: int = Field(
        16 << 10, ge=1, description="bytes of a body with which `body_timeout_s` begins anew: the slowest sender taken"
    )
    body_total_timeout_s: float = Field(
        7_200.0, gt=0, description="longest time for a whole body, however steadily it comes, seconds; then 408"
    )
    header_timeout_s: float = Field(
        30.0, gt=0, description="longest time for receiving a request's head, or a stream's hello, seconds"
    )
    keep_alive_s: int = Field(
        75,
        ge=0,
        le=3_600,
        description="a connection without a request is kept so long, seconds; longer than a proxy before it keeps its",
    )
    shutdown_timeout_s: float = Field(
        8.0, ge=0, le=600, description="time that running requests get to finish when the service stops, seconds"
    )
    state_dir: Path = Field(
        Path("state"), description="folder of alarms, history and evidence; made when it is missing"
    )
    max_streams: int = Field(512, ge=0, le=10_000, description="most live streams at a time; further ones get 503")
    stream_workers: int = Field(
        default_factory=_workers,
        ge=1,
        le=256,
        description="threads that score streams; default: one a processor, by the CPU quota where there is one",
    )
    stream_buffer_s: float = Field(
        10.0, ge=1, le=600, description="sound of a stream that may wait to be scored, seconds; then reading pauses"
    )
    stream_idle_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3_600,
        description="longest time without a message on a stream's connection, seconds; then closed",
    )
    stream_ping_s: float = Field(
        20.0,
        gt=0,
        le=3_600,
        description="between pings on a stream's WebSocket, and longest wait for the answer, seconds; then closed",
    )
    stream_owner: Literal["first", "newest"] = Field(
        "first",
        description="which of two streams for one machine is heard: the first (the other gets 409) or the newest",
    )
    no_sound_s: float = Field(
        5.0, ge=1, le=3_600, description="a machine is `unknown` after so long without sound, seconds"
    )
    max_viewers: int = Field(
        64, ge=0, le=10_000, description="most connections that look on (pages; one or two each); further ones get 503"
    )
    evidence_max_bytes: int = Field(
        2 << 30, ge=0, description="room for the sound of alarms, bytes; the oldest goes first"
    )
    evidence_days: float = Field(90.0, gt=0, description="the sound of an alarm is kept so long, days")
    normal_sounds: int = Field(
        200,
        ge=0,
        le=2_000,
        description="normal sounds of ten seconds that are kept of each machine to train with, of as many conditions as"
        " there were; 0: none",
    )
    normal_sound_days: float = Field(400.0, gt=0, description="they are kept so long, days")
    machines: dict[MachineId, MachineSettings] = Field(
        default_factory=dict, description="alarm rule and run state of single machines (tables in the file)"
    )
    sources: tuple[SourceSettings, ...] = Field(
        (), description="sound cards, folders and loops that the service opens itself (tables in the file)"
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        (), description="who is told of alarms over HTTP (tables in the file); see docs/webhooks.md"
    )
    webhook_hosts: Annotated[tuple[str, ...], *_List] = Field(
        (), description="hosts that webhooks may be sent to, `name` or `name:port`, comma or JSON list"
    )
    stream_latency_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="latency of scores, seconds, at which the newest streams are given up for the others; from half of"
        " it on no more are taken",
    )
    max_load: float = Field(
        0.75, gt=0, le=1, description="share of the processors that live streams may keep busy; further ones get 503"
    )
    predictor_threads: int = Field(
        1, ge=1, le=256, description="threads of ONNX Runtime for one run; as many runs go at a time as fit"
    )
    predict_delay_s: float = Field(
        0.0,
        ge=0,
        le=1,
        description="longest wait of a run for the windows of other streams, seconds; on a GPU some ms may be worth it",
    )
    providers: Literal["cpu", "cuda"] = Field("cpu", description="where predictors run; refused when not there")
    tracing_endpoint: str | None = Field(
        None, description="OTLP/HTTP URL that traces are sent to; without it there are none; see docs/tracing.md"
    )
    tracing_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="share of requests that are traced, of those whose caller has not decided it"
    )
    tracing_live_ratio: float = Field(0.0, ge=0, le=1, description="share of turns of live streams that are traced")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["json", "console"] = Field("json", description="one JSON object a line, or text for people")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the arguments alone; the other sources are merged, with their names, by ``load_configuration``."""
        return (init_settings,)

    @field_validator("api_keys")
    @classmethod
    def _keys_are_long(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < MIN_KEY_CHARACTERS for key in keys):
            raise ValueError(f"an API key has {MIN_KEY_CHARACTERS} characters at least (try `openssl rand -hex 24`)")
        return keys

    @field_validator("sources")
    @classmethod
    def _folders_are_apart(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        check_folders(sources)
        return sources

    @field_validator("public_url")
    @classmethod
    def _whole_public_url(cls, given: str | None) -> str | None:
        return None if given is None else addresses.public_url(given)

    @field_validator("tracing_endpoint")
    @classmethod
    def _whole_endpoint(cls, endpoint: str | None) -> str | None:
        return None if endpoint is None else addresses.tracing_endpoint(endpoint)

    @model_validator(mode="after")
    def _rates_are_ordered(self) -> Self:
        if self.min_rate_hz > self.max_rate_hz:
            raise ValueError("min_rate_hz is higher than max_rate_hz")
        return self

    @property
    def decode_limits(self) -> DecodeLimits:
        """Limits of a recording."""
        return DecodeLimits(
            max_duration_s=self.max_duration_s,
            max_channels=self.max_channels,
            min_rate_hz=self.min_rate_hz,
            max_rate_hz=self.max_rate_hz,
            max_samples=self.max_decoded_samples,
        )

    def machine(self, machine_id: str) -> MachineSettings:
        """Return the file's settings of a machine, or the defaults."""
        return self.machines.get(machine_id, MachineSettings())

    @property
    def provider_names(self) -> tuple[str, ...]:
        """Names of the providers in ONNX Runtime."""
        return _PROVIDERS[self.providers]

    def alarm_page(self, alarm_id: str) -> str | None:
        """Return the URL of an alarm on the page; None where nobody said what people call the service."""
        return None if self.public_url is None else f"{self.public_url}/ui/#/alarms/{alarm_id}"

    @property
    def on_loopback(self) -> bool:
        """True where only this machine can reach the service."""
        return is_loopback(self.host)

    def keys(self) -> tuple[str, ...]:
        """Return all API keys, those of the file included. Raises :class:`SettingsInvalid`."""
        given = [key.get_secret_value() for key in self.api_keys]
        if self.api_keys_file is None:
            return tuple(given)
        try:
            filed = keys_of(read_text(self.api_keys_file))
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"api_keys_file: {self.api_keys_file} cannot be read: {error}") from error
        if not filed or any(len(key) < MIN_KEY_CHARACTERS for key in filed):
            raise SettingsInvalid(
                f"api_keys_file: {self.api_keys_file} has to hold keys of {MIN_KEY_CHARACTERS} characters at least"
            )
        return (*given, *filed)


def keys_of(text: str) -> list[str]:
    """Return the API keys of a file's text: its lines that are neither empty nor a comment (``#``)."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def check_exposure(settings: Settings) -> None:
    """Refuse to be open to the network without an API key. Raises :class:`ApiKeyRequired`."""
    if not settings.on_loopback and not settings.keys():
        raise ApiKeyRequired(
            f"{settings.host} can be reached from other machines, and no API key is set: set HUMWATCH_API_KEYS"
            " (or HUMWATCH_API_KEYS_FILE, one key a line; `openssl rand -hex 24` makes one), or listen on 127.0.0.1"
        )
