"""Secrets of the configuration: those that the settings hold or lead to, and those that their names give away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from humwatch.text_files import text_of
from humwatch_service.config.settings import ENV_PREFIX, Settings
from humwatch_service.errors import SettingsInvalid

MIN_SECRET_CHARACTERS: Final = 6
"""Anything shorter is found too often in what is not secret."""
MIN_VARIABLE_CHARACTERS: Final = 8
"""Of a variable of other programs, whose value may be a word such as `enabled`."""
MIN_PATH_CHARACTERS: Final = 12
"""Of a part of a webhook's path that may be a secret."""

MAX_SECRET_FILE_BYTES: Final = 1 << 20

SECRET_NAME: Final = r"(?:secret|token|passw(?:or)?d|passphrase|api[_-]?keys?|credentials?|private[_-]?key)"
"""A pattern of names of what is secret."""
SECRET_KEY: Final = re.compile(rf"[\w-]*{SECRET_NAME}|(?:proxy-)?authorization|(?:set-)?cookie", re.IGNORECASE)


def secrets_of(settings: Settings) -> Iterator[str | bytes]:
    """Return every secret that the settings hold or lead to; files that cannot be read hold none."""
    yield from (key.get_secret_value() for key in settings.api_keys)
    if settings.api_keys_file is not None:
        yield from _lines(settings.api_keys_file)
    for webhook in settings.webhooks:
        if webhook.secret is not None:
            yield webhook.secret.get_secret_value()
        if webhook.secret_file is not None:
            yield from _lines(webhook.secret_file)
        with suppress(SettingsInvalid):  # what can be read of its file was read above
            yield webhook.key()
        yield from secrets_of_url(str(webhook.url))


def secrets_of_url(url: str) -> Iterator[str]:
    """Return the parts of a webhook's URL that may be secret: all of it, its path, and its longer parts."""
    try:
        parts = urlsplit(url)
    except ValueError:
        yield url
        return
    path = parts.path.rstrip("/")
    if path or parts.query:
        yield url
    pieces = [path, f"{path}?{parts.query}", *path.split("/"), *re.split(r"[&=]", parts.query)]
    yield from (piece for piece in pieces if len(piece) >= MIN_PATH_CHARACTERS)
    yield from (part for part in (parts.username, parts.password) if part)


def secrets_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """Return the values of variables whose name says that they are secret, whole and in their parts."""
    for name, value in environment.items():
        if name.endswith("_FILE") or not (SECRET_KEY.search(name) or name.endswith(("_HEADERS", "_KEY"))):
            continue
        parts = re.split(r"[\s,;\[\]\"']+", value)
        shortest = MIN_SECRET_CHARACTERS if name.startswith(ENV_PREFIX) else MIN_VARIABLE_CHARACTERS
        found = (value, *parts, *(part.partition("=")[2] for part in parts))
        yield from (part for part in found if len(part) >= shortest)


def secrets_of_text(text: str) -> Iterator[str]:
    """Return those of a configuration file, TOML or not: quoted texts of lines that name a secret or a URL."""
    named = re.compile(rf"^\s*[\w.\"-]*(?:{SECRET_NAME}|url)\b", re.IGNORECASE)
    inside = False
    for line in text.splitlines():
        inside = named.match(line) is not None or (inside and "=" not in line.split('"')[0])
        if inside:
            for found in re.finditer(r"\"([^\"]+)\"|'([^']+)'", line):
                quoted = found[1] or found[2]
                yield from secrets_of_url(quoted) if "://" in quoted else (quoted,)


def _lines(path: Path) -> list[str]:
    """Return the lines of a small file; a device or a pipe is not read."""
    try:
        if not path.is_file():
            return []
        return [line.strip() for line in readable_text(path).splitlines()]
    except OSError:
        return []


def readable_text(path: Path) -> str:
    """Return what can be read of the beginning of a file. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_FILE_BYTES)
    try:
        return text_of(content)
    except ValueError:
        return content.decode("utf-8", "replace")
