"""Settings of webhooks in the configuration file, and the hosts that they may lead to."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_core import Url

from humwatch.alarm.events import AlarmEvent, EventKind
from humwatch.bundle.manifest import MachineId
from humwatch.text_files import read_text
from humwatch_service.errors import SettingsInvalid

ANNOUNCED: Final[frozenset[EventKind]] = frozenset({"raised", "cleared", "realarmed", "unshelved"})
"""Kinds that people are told of unless the machine's alarm is shelved."""

SECRET_PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
MIN_SECRET_CHARACTERS: Final = 24

_ALLOWED_HOST: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^\s/@:\[\]*?#]+)(:(?P<port>[0-9]{1,5}))?")


class WebhookSettings(BaseModel):
    """A table ``[[webhooks]]``.

    Neither the secret nor the URL, whose path is a secret with some receivers, is in its ``repr``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="unique; logs, metrics and what is not delivered yet use it"
    )
    url: HttpUrl = Field(
        repr=False, description="where to post to; its host has to be in `webhook_hosts`, redirects are not followed"
    )
    allow_http: bool = Field(
        False, description="allow `http://` to other machines; the payload can then be read on its way"
    )
    secret: SecretStr | None = Field(
        None,
        description="signs the payload: `whsec_` and 24 to 64 bytes in base64, or any text of 24 characters and more",
    )
    secret_file: Path | None = Field(None, description="file that holds the secret, instead of `secret`")
    ca_file: Path | None = Field(
        None, description="PEM file of the certificate authorities to trust here instead of the public ones"
    )
    machines: tuple[MachineId, ...] = Field((), description="ids of machines to tell of; empty: all")
    events: tuple[EventKind, ...] = Field(
        ("raised", "cleared", "realarmed", "unshelved"), min_length=1, description="kinds of events to tell of"
    )
    max_sound_age_s: float | None = Field(
        None,
        gt=0,
        description="leave out alarms about sound that was heard later than so many seconds after it was recorded, as"
        " of a backlog; without it all are sent, and say so",
    )
    timeout_s: float = Field(
        10.0, gt=0, le=60, description="longest time from looking up the host to the head of the answer, seconds"
    )

    @field_validator("url")
    @classmethod
    def _no_credentials(cls, url: HttpUrl) -> HttpUrl:
        if url.username is not None or url.password is not None:
            raise ValueError("a user name or password in the URL ends up in logs; the signature tells who sends")
        return url

    @field_validator("secret")
    @classmethod
    def _secret_is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            key_of(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("either secret or secret_file is needed")
        return self

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.url.scheme == "http" and not self.allow_http and not _on_loopback(self.host):
            raise ValueError("https is needed to reach another machine (or `allow_http = true`)")
        return self

    @property
    def host(self) -> str:
        """Host name or address in small letters; an IPv6 address without brackets."""
        return (self.url.host or "").strip("[]").rstrip(".").lower()

    @property
    def port(self) -> int:
        """TCP port."""
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    def wants(self, machine_id: str, kind: EventKind, late_s: float = 0.0) -> bool:
        """Return whether the webhook gets such an event of the machine, about sound that was heard so late, seconds."""
        if self.max_sound_age_s is not None and late_s > self.max_sound_age_s:
            return False
        return kind in self.events and (not self.machines or machine_id in self.machines)

    def key(self) -> bytes:
        """Return the key that signs. Raises :class:`SettingsInvalid` for a file that holds none."""
        if self.secret is not None:
            return key_of(self.secret.get_secret_value())
        path = self.secret_file or Path()
        try:
            return key_of(read_text(path).strip())
        except OSError:
            reason = f"{path} cannot be read"
        except ValueError as error:
            reason = f"{path}: {error}"
        raise SettingsInvalid(f"webhooks: {self.name}: secret_file: {reason}")

    def trust(self) -> ssl.SSLContext | bool:
        """Return the authorities that are trusted: True for the public ones.

        Raises:
            SettingsInvalid: the file of authorities cannot be used.
        """
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cadata=read_text(self.ca_file))
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"webhooks: {self.name}: ca_file: {self.ca_file} cannot be used: {error}") from error


def key_of(secret: str) -> bytes:
    """Return the key of a secret: the bytes in base64 after ``whsec_``, or else the text itself in UTF-8.

    Raises:
        ValueError: it is too short, too long or no base64; the text does not repeat it.
    """
    if not secret.startswith(SECRET_PREFIX):
        if len(secret) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"a secret has {MIN_SECRET_CHARACTERS} characters at least (`openssl rand -base64 32`)")
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {SECRET_PREFIX} is no base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"what follows {SECRET_PREFIX} has to be {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64")
    return key


def recipients(
    webhooks: Iterable[WebhookSettings], machine_id: str, event: AlarmEvent, *, late_s: float = 0.0
) -> tuple[str, ...]:
    """Return the names of the webhooks that get an event; none where it is not announced.

    Args:
        webhooks: all of them.
        machine_id: machine that it is about.
        event: the event.
        late_s: how long after it was recorded the sound was heard that it is about, seconds; of an event about an
            alarm, the sound that raised that, so that a webhook gets all of an alarm or nothing.
    """
    if event.kind in ANNOUNCED and not event.announced:
        return ()
    return tuple(webhook.name for webhook in webhooks if webhook.wants(machine_id, event.kind, late_s))


def check_webhooks(webhooks: Iterable[WebhookSettings], allowed_hosts: Iterable[str]) -> None:
    """Refuse webhooks that cannot work or may not be reached.

    Args:
        webhooks: all of them.
        allowed_hosts: host names or addresses; with `:port` that port alone, without it all ports.

    Raises:
        SettingsInvalid: a host that is not allowed, a name given twice, a secret or certificate that cannot be read.
    """
    allowed = [_allowed(entry) for entry in allowed_hosts]
    names: set[str] = set()
    for webhook in webhooks:
        if webhook.name in names:
            raise SettingsInvalid(f"webhooks: two are called {webhook.name}")
        names.add(webhook.name)
        if not any(webhook.host == host and port in (None, webhook.port) for host, port in allowed):
            raise SettingsInvalid(
                f"webhooks: {webhook.name}: {webhook.host} is not in webhook_hosts; add it if alarms may be sent there"
            )
        webhook.key()
        webhook.trust()


def _allowed(entry: str) -> tuple[str, int | None]:
    """Return host and port of an entry of the allow-list, the host spelt as a URL's is."""
    match = _ALLOWED_HOST.fullmatch(entry.strip().lower())
    try:
        url = Url(f"http://{match['host']}/") if match else None
    except ValueError:
        url = None
    if match is None or url is None or url.host is None:
        raise SettingsInvalid(f"webhook_hosts: {entry!r} is no host name or address, with or without `:port`")
    return url.host.strip("[]").rstrip("."), None if match["port"] is None else int(match["port"])


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
