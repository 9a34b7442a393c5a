"""Address of the service, and the API key for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from humwatch.text_files import read_text
from humwatch_service.config.addresses import is_loopback
from humwatch_service.config.settings import keys_of
from humwatch_service.errors import FileUnreadable, RequestInvalid

DEFAULT_URL: Final = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class ServiceAddress:
    """A service, as ``http://`` or ``https://`` URL, with an API key where it wants one.

    Raises:
        RequestInvalid: this is no such URL, or the key cannot be sent in a header.
    """

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username is not None:
            raise RequestInvalid(f"{self.url} is no address of a service; it looks like {DEFAULT_URL}")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and " " not in self.key):
            raise RequestInvalid("the API key has characters that an API key cannot have")

    @classmethod
    def with_key_file(cls, url: str, key_file: Path | None) -> ServiceAddress:
        """Take the key from a file: its first line that is neither empty nor a comment.

        Raises:
            FileUnreadable: the file cannot be read, or holds no key.
        """
        if key_file is None:
            return cls(url)
        try:
            keys = keys_of(read_text(key_file))
        except (OSError, ValueError) as error:
            raise FileUnreadable(f"{key_file} cannot be read: {error}") from error
        if not keys:
            raise FileUnreadable(f"{key_file} holds no API key")
        return cls(url, keys[0])

    @property
    def headers(self) -> dict[str, str]:
        """Headers that authorise the client."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    @property
    def on_loopback(self) -> bool:
        """True where the service is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def shows_its_key(self) -> bool:
        """True where the key goes over a network that others can listen to."""
        return self.key is not None and not self.on_loopback and self.url.startswith("http:")

    def post_url(self, machine_id: str) -> str:
        """Return the URL that a machine's sound is posted to."""
        return f"{self.url.rstrip('/')}/v1/machines/{quote(machine_id, safe='')}/stream"

    def stream_url(self, machine_id: str) -> str:
        """Return the URL of a machine's WebSocket."""
        return "ws" + self.post_url(machine_id).removeprefix("http")
