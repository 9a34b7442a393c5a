"""A support bundle: what somebody who helps has to know, in one file, without what is none of their business."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from humwatch.errors import HumwatchError
from humwatch.text_files import encoding_of
from humwatch_service.config.layers import CONFIG_VARIABLE, Configuration, load_configuration
from humwatch_service.config.secrets import readable_text, secrets_of, secrets_of_environment, secrets_of_text
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable
from humwatch_service.support import facts
from humwatch_service.support.checks import Finding
from humwatch_service.telemetry.redaction import REDACTED, Redactor, without_private_keys
from humwatch_service.utc import utc_text

MAX_FILE_CHARACTERS: Final = 2 << 20
"""Of one file in a bundle; what is longer is cut, and says so."""
MAX_LOG_BYTES: Final = 1 << 20

Examine = Callable[[Settings], list[Finding]]
"""What ``humwatch doctor`` does."""

README: Final = """\
A support bundle of Humwatch {version}, made {made} by `humwatch doctor --bundle`.

READ IT BEFORE YOU SEND IT. Secrets that the settings name, and what looks like one, were replaced by (redacted), paths
of home folders by ~, the names of people and what they wrote were left out, and addresses of clients in the log were
replaced by client-1, client-2, ... A program cannot know what else is confidential: names of machines, webhooks, hosts,
sound devices and folders are in here as they are.

There is no sound in here, no picture of sound, and no model.
The service writes its log to stderr and keeps none{log}.

{files}
"""


@dataclass(frozen=True)
class Entry:
    """One file of a bundle.

    Attributes:
        name: name in the zip.
        about: description of it.
        text: without secrets.
    """

    name: str
    about: str
    text: str


@dataclass(frozen=True)
class Written:
    """A bundle on the disk.

    Attributes:
        size_bytes: size of the zip, bytes.
        files: name, size in bytes, and what it is, of each file in it.
    """

    size_bytes: int
    files: tuple[tuple[str, int, str], ...]


def write_bundle(path: Path, *, examine: Examine, log: Path | None = None) -> Written:
    """Gather, redact, and write a new file that only its owner can read, whole or not at all.

    Raises:
        FileUnreadable: there is a file of this name, it cannot be written, or the log cannot be read.
    """
    if os.path.lexists(path):
        raise FileUnreadable(f"{path} is there already; it is not overwritten")
    tail = None if log is None else _tail(log)
    entries = list(_entries(tail, examine))
    entries.insert(0, _readme(entries, with_log=log is not None))
    try:
        _write(path, entries)
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be written: {error.strerror or error}") from error
    listed = tuple((entry.name, len(entry.text.encode()), entry.about) for entry in entries)
    return Written(path.stat().st_size, listed)


def _entries(tail: str | None, examine: Examine) -> Iterator[Entry]:
    configuration = _configuration()
    settings = configuration.settings if isinstance(configuration, Configuration) else None
    redactor = Redactor(_secrets(settings), home=_home())

    def gathered(name: str, about: str, ask: Callable[[], Any]) -> Entry:
        return Entry(name, about, _json(redactor.value(facts.guarded(ask))))

    yield gathered("settings.json", "settings and where they come from", lambda: _settings(configuration))
    yield gathered("system.json", "programs, packages, processors, memory, disks", lambda: facts.system(settings))
    if settings is not None:
        yield gathered("findings.json", "what `humwatch doctor` finds", lambda: list(map(asdict, examine(settings))))
        yield gathered("models.json", "versions and manifests of models", lambda: facts.models(settings))
        yield gathered("state.json", "sizes, counts and last alarm events", lambda: facts.state(settings.state_dir))
        answers = facts.service(settings)
        metrics = answers["/metrics"]
        probes = {name: answer for name, answer in answers.items() if name != "/metrics"}
        yield gathered("service.json", "what a running service answers to probes", lambda: probes)
        if metrics.get("status") == 200:
            yield Entry("metrics.txt", "metrics of the running service", _cut(redactor.text(metrics["body"])))
    if tail is not None:
        yield Entry("log.txt", "the end of the log that was given", _cut(_Log(redactor).text(tail)))


def _configuration() -> Configuration | HumwatchError:
    try:
        return load_configuration()
    except HumwatchError as error:
        return error


def _settings(configuration: Configuration | HumwatchError) -> dict[str, Any]:
    if not isinstance(configuration, Configuration):
        return {"error": {"code": configuration.code, "message": str(configuration)}}
    values = configuration.settings.model_dump()
    return {
        "file": str(configuration.file) if configuration.file else None,
        "settings": [
            {"name": name, "value": values[name], "source": configuration.sources[name]}
            for name in Settings.model_fields
        ],
    }


def _secrets(settings: Settings | None) -> Iterator[str | bytes]:
    """Return all that is known to be secret; where the settings do not hold, that of what they would be made of."""
    yield from secrets_of_environment(os.environ)
    if settings is not None:
        yield from secrets_of(settings)
    file = os.environ.get(CONFIG_VARIABLE)
    if file and Path(file).is_file():
        try:
            yield from secrets_of_text(readable_text(Path(file)))
        except OSError:
            return


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _json(value: Any) -> str:
    text = json.dumps(value, indent=1)
    if len(text) <= MAX_FILE_CHARACTERS:
        return f"{text}\n"
    return json.dumps({"cut": True, "characters": len(text), "beginning": text[:MAX_FILE_CHARACTERS]})


def _cut(text: str) -> str:
    if len(text) <= MAX_FILE_CHARACTERS:
        return text
    return f"{text[:MAX_FILE_CHARACTERS]}\n... {len(text) - MAX_FILE_CHARACTERS} characters more were cut\n"


def _tail(log: Path) -> str:
    """Return the last whole lines of a file. Raises :class:`FileUnreadable`."""
    try:
        if not log.is_file():
            raise FileUnreadable(f"{log} is no file")
        with log.open("rb") as file:
            encoding = encoding_of(file.read(4))  # of PowerShell's `>`: read as UTF-8, its secrets would not be found
            start = max(0, log.stat().st_size - MAX_LOG_BYTES) // 4 * 4
            file.seek(start)
            text = file.read(MAX_LOG_BYTES + 4).decode(encoding, "replace")
    except OSError as error:
        raise FileUnreadable(f"{log} cannot be read: {error.strerror}") from error
    return text.partition("\n")[2] if start else text.removeprefix("\ufeff")


class _Log:
    """Redaction of the lines of a log, JSON or text."""

    _IN_TEXT: Final = re.compile(r"\b(who|client)=('[^']*'|\"[^\"]*\"|\S+)")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._clients: dict[str, str] = {}

    def text(self, text: str) -> str:
        return "".join(f"{self._line(line)}\n" for line in without_private_keys(text).splitlines())

    def _line(self, line: str) -> str:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            return self._redactor.text(self._IN_TEXT.sub(self._person, line))
        if isinstance(entry.get("client"), str):
            entry["client"] = self._client(entry["client"])
        return json.dumps(self._redactor.value(entry))

    def _person(self, found: re.Match[str]) -> str:
        return f"{found[1]}={REDACTED if found[1] == 'who' else self._client(found[2])}"

    def _client(self, address: str) -> str:
        return self._clients.setdefault(address, f"client-{len(self._clients) + 1}")


def _readme(entries: list[Entry], *, with_log: bool) -> Entry:
    text = README.format(
        version=version("humwatch"),
        made=utc_text(time.time()),
        log="; log.txt is the end of a file that was named" if with_log else ", so there is none in here",
        files="\n".join(f"{entry.name}: {entry.about}" for entry in entries),
    )
    return Entry("README.txt", "what is in here, and what is not", text)


def _write(path: Path, entries: list[Entry]) -> None:
    """Write beside the place first, then move it there in one step that overwrites nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for entry in entries:
                    archive.writestr(entry.name, entry.text)
            file.flush()
            os.fsync(file.fileno())
        _put(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _put(beside: Path, path: Path) -> None:
    """Give a file its name; a disk without hard links (FAT) cannot refuse to overwrite by itself."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise
        beside.replace(path)
