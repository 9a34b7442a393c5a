"""Layers of settings: command line over environment over file over defaults, unknown names refused."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from humwatch.text_files import bare_value, read_text
from humwatch_service.config.service_links import service_links, without_service_links
from humwatch_service.config.settings import ENV_PREFIX, Settings
from humwatch_service.errors import SettingsInvalid

CONFIG_VARIABLE: Final = f"{ENV_PREFIX}CONFIG"

Source = Literal["command line", "environment", "file", "default"]


@dataclass(frozen=True)
class SettingRow:
    """One row of the settings table."""

    name: str
    variable: str
    value: str
    source: Source
    description: str


@dataclass(frozen=True)
class Configuration:
    """Settings, and where each of them comes from.

    Attributes:
        settings: the settings.
        sources: where each of them comes from.
        file: the configuration file, if there is one.
        service_links: names of variables that look like settings and tell of a service instead.
    """

    settings: Settings
    sources: Mapping[str, Source]
    file: Path | None
    service_links: tuple[str, ...] = ()

    def table(self) -> list[SettingRow]:
        """Return every setting in the order of its definition; secrets are not shown."""
        return [
            SettingRow(
                name=name,
                variable=f"{ENV_PREFIX}{name.upper()}",
                value=_shown(getattr(self.settings, name)),
                source=self.sources[name],
                description=field.description or "",
            )
            for name, field in Settings.model_fields.items()
        ]


def load_configuration(command_line: Mapping[str, object] | None = None) -> Configuration:
    """Read all sources. A value of None on the command line stands for "not given".

    Raises:
        SettingsInvalid: an unknown name, a value that cannot be, or a file that cannot be read.
    """
    environment = without_service_links(os.environ)
    _check_environment(environment)
    path = bare_value(environment.get(CONFIG_VARIABLE, ""))
    file = Path(path) if path else None
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("file", _read_file(file) if file is not None else {}),
        ("environment", _of_environment(environment)),
        ("command line", {name: value for name, value in (command_line or {}).items() if value is not None}),
    ]
    sources: dict[str, Source] = dict.fromkeys(Settings.model_fields, "default")
    values: dict[str, Any] = {}
    for source, layer in layers:
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsInvalid(_explained(error, sources)) from error
    return Configuration(settings, sources, file, service_links(os.environ))


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of an environment; those of a file from Windows end with CR."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): bare for name, value in environment.items() if (bare := bare_value(value))}
    return source()


def _check_environment(environment: Iterable[str]) -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    for name in sorted(environment):
        if name.upper().startswith(f"\ufeff{ENV_PREFIX}"):
            raise SettingsInvalid(
                f"a byte order mark stands before {name[1:]}: save the file of variables as UTF-8 without it"
            )
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known:
            raise SettingsInvalid(f"the environment variable {name} is no setting{_nearest(name.upper(), known)}")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path} is not TOML: {error}") from error
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{CONFIG_VARIABLE}: {path} cannot be read: {error}") from error
    for name in values:
        if name not in Settings.model_fields:
            raise SettingsInvalid(f"{path}: {name} is no setting{_nearest(name, Settings.model_fields)}")
    return values


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "; see `humwatch config show`"


def _explained(error: ValidationError, sources: Mapping[str, Source]) -> str:
    """Say which setting, and from where; never its value, which may be a secret."""
    parts = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        inside = ".".join(str(part) for part in problem["loc"])
        where = f"{inside} ({sources.get(name, 'default')}): " if name else ""
        parts.append(where + problem["msg"].removeprefix("Value error, "))
    return "; ".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join("(secret)" if isinstance(part, SecretStr) else str(part) for part in value)
    return "" if value is None else str(value)
