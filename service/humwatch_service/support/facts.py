"""Facts of a support bundle: this machine, the models, the state and a running service; nothing is changed.

Every function gives what JSON can say, and may give more than is to be shown: the bundle redacts all of it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import httpx
import onnxruntime
import soundfile

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.config.settings import Settings
from humwatch_service.cpu_allowance import cpu_allowance
from humwatch_service.sources.capture import input_devices, load_sounddevice
from humwatch_service.storage.folder_lock import FILE as LOCK_FILE
from humwatch_service.storage.store import FILE as DATABASE_FILE

MAX_MACHINES: Final = 200
MAX_EVENTS: Final = 100
MAX_EVIDENCE_FILES: Final = 100_000
MAX_ANSWER_BYTES: Final = 2 << 20
ANSWER_S: Final = 5.0
QUERY_S: Final = 10.0
"""Longest time for one question to the database."""
LOCKED_S: Final = 2.0
CHECKED_BYTES: Final = 256 << 20
"""Largest database that is checked as a whole."""

_PATHS: Final = ("/livez", "/readyz", "/healthz", "/metrics")
_TABLES: Final = ("machines", "alarms", "events", "outbox", "minutes", "seconds")
_EVENTS: Final = """
    SELECT id, machine_id, at_s, kind, number, from_state, to_state, score, reasons, until_s, announced
    FROM events ORDER BY id DESC LIMIT ?
"""
"""Not who, why and details: people wrote them, and they name people."""


def guarded(ask: Callable[..., Any], *about: Any) -> Any:
    """Return the facts of a function, or what went wrong: one that cannot be had leaves the others."""
    try:
        return ask(*about)
    except Exception as error:  # whatever is broken here is what the bundle is for
        return {"error": {"code": getattr(error, "code", type(error).__name__), "message": str(error)}}


def system(settings: Settings | None) -> dict[str, Any]:
    """Return programs, processors, memory and disks, without the names of this machine and of its users."""
    folders = [Path(os.environ.get("TMPDIR", "/tmp"))]
    folders += [settings.models_dir, settings.state_dir] if settings is not None else []
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "processors": cpu_allowance().processors,
        "cpu_quota": cpu_allowance().quota,
        "processor": guarded(_processor),
        "load_average": guarded(os.getloadavg),
        "memory_kib": guarded(_memory_kib),
        "disks": [guarded(_disk, folder) for folder in folders],
        "providers": onnxruntime.get_available_providers(),
        "libsndfile": soundfile.__libsndfile_version__,
        "sound_devices": guarded(lambda: [vars(device) for device in input_devices(load_sounddevice())]),
        "packages": dict(sorted({(str(found.name), found.version) for found in distributions()})),
        "variables": sorted(name for name in os.environ if name.startswith(("HUMWATCH_", "OTEL_"))),
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_kib() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    rows = dict(line.split(":", 1) for line in lines)
    return {name: int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")}


def _disk(folder: Path) -> dict[str, Any]:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    usage = shutil.disk_usage(there)
    return {"folder": str(folder), "total_bytes": usage.total, "free_bytes": usage.free}


def models(settings: Settings) -> dict[str, Any]:
    """Return machines, their versions, and the manifest of the one in use; not how and by whom it was trained."""
    repository = ModelRepository(settings.models_dir)
    machine_ids = repository.machine_ids()
    return {
        "machines": {machine_id: guarded(_model, repository, machine_id) for machine_id in machine_ids[:MAX_MACHINES]},
        "left_out": max(0, len(machine_ids) - MAX_MACHINES),
    }


def _model(repository: ModelRepository, machine_id: str) -> dict[str, Any]:
    manifest = repository.manifest(machine_id).model_dump(
        mode="json", exclude={"attribution": True, "created_by": True}
    )
    manifest["predictor"].pop("config", None)
    return {
        "versions": repository.versions(machine_id),
        "active_version": repository.active_version(machine_id),
        "manifest": manifest,
    }


def state(folder: Path) -> dict[str, Any]:
    """Return sizes and counts of the database and the kept sound, and the last events without what people wrote."""
    path = folder / DATABASE_FILE
    files = {name: _size(folder / name) for name in (path.name, f"{path.name}-wal", f"{path.name}-shm")}
    return {
        "files_bytes": files,
        "in_use_by_a_service": guarded(_is_held, folder / LOCK_FILE),
        "evidence": guarded(_evidence, folder / "evidence"),
        "database": guarded(_database, path) if files[path.name] is not None else None,
    }


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _evidence(folder: Path) -> dict[str, Any]:
    sizes = []
    for found, _, names in os.walk(folder):
        sizes += [size for name in names if (size := _size(Path(found, name))) is not None]
        if len(sizes) >= MAX_EVIDENCE_FILES:
            break
    return {"files": len(sizes), "bytes": sum(sizes), "all_counted": len(sizes) < MAX_EVIDENCE_FILES}


def _database(path: Path) -> dict[str, Any]:
    with closing(_opened(path)) as connection:
        return {
            "schema_version": guarded(_one, connection, "PRAGMA user_version"),
            "damage": guarded(_damage, connection, path),
            "rows": {table: guarded(_count, connection, table) for table in _TABLES},
            "outbox": guarded(_outbox, connection),
            "last_events": guarded(_events, connection),
        }


def _opened(path: Path) -> sqlite3.Connection:
    """Read-only; a database that nobody writes is read without making the files that go with one in use."""
    quiet = "&immutable=1" if _size(path.with_name(f"{path.name}-wal")) is None else ""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{quiet}", uri=True, timeout=LOCKED_S)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def _in_time(connection: sqlite3.Connection) -> Iterator[None]:
    until_s = time.monotonic() + QUERY_S
    connection.set_progress_handler(lambda: time.monotonic() > until_s, 100_000)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _one(connection: sqlite3.Connection, question: str) -> Any:
    with _in_time(connection):
        return connection.execute(question).fetchone()[0]


def _count(connection: sqlite3.Connection, table: str) -> Any:
    return _one(connection, f"SELECT count(*) FROM {table}")


def _damage(connection: sqlite3.Connection, path: Path) -> Any:
    if (_size(path) or 0) > CHECKED_BYTES:
        return "not looked for: the file is large"
    return _one(connection, "PRAGMA quick_check(10)")


def _outbox(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    with _in_time(connection):
        rows = connection.execute(
            "SELECT webhook, count(*) AS notifications, sum(delivered_s IS NOT NULL) AS delivered,"
            " sum(given_up) AS given_up, max(attempts) AS most_attempts FROM outbox GROUP BY webhook LIMIT 100"
        )
        return [dict(row) for row in rows]


def _events(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    with _in_time(connection):
        return [dict(row) for row in connection.execute(_EVENTS, (MAX_EVENTS,))]


def service(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Return a running service's answers to probes and of metrics, by path; with the first API key if there is one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    try:
        keys = settings.keys()
    except HumwatchError:
        keys = ()
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    with httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False, follow_redirects=False) as client:
        return {path: guarded(_answer, client, path, keys) for path in _PATHS}


def _answer(client: httpx.Client, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
    headers = {"X-API-Key": keys[0]} if keys else {}
    until_s = time.monotonic() + ANSWER_S
    body = b""
    with client.stream("GET", path, headers=headers) as response:
        for piece in response.iter_bytes(65_536):
            body += piece
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > until_s:
                break
        return {"status": response.status_code, "body": body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")}
