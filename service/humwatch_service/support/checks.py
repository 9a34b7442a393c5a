"""Checks of ``humwatch doctor``: everything that the service needs."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import onnxruntime
import soundfile

from humwatch.audio.codecs import EXTRA
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch.scoring.spec import DEFAULT_SCORE, ScoreKind
from humwatch_service.config.service_links import links_text, service_links
from humwatch_service.config.settings import Settings, check_exposure
from humwatch_service.config.webhooks import check_webhooks
from humwatch_service.cpu_allowance import cpu_allowance
from humwatch_service.errors import (
    PortInUse,
    SettingsInvalid,
    SoundDeviceUnavailable,
    StateUnusable,
    TracingUnavailable,
)
from humwatch_service.models.verification import Track, verify_bundles
from humwatch_service.sources.capture import input_devices, load_sounddevice
from humwatch_service.storage.store import StateStore
from humwatch_service.telemetry.tracing import check_tracing

PACKAGES: Final = ("humwatch", "numpy", "scipy", "soundfile", "soxr", "fastapi", "uvicorn", "prometheus-client")
LIVE_PACKAGES: Final = ("websockets", "sqlalchemy", "sounddevice")
LOW_DISK_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    result: Literal["ok", "warning", "failed"]
    detail: str


Listen = Callable[[str, int], socket.socket]
"""Opens the socket that the service would listen on."""


def run_checks(settings: Settings, *, listen: Listen, track: Track) -> list[Finding]:
    """Look at everything that the service needs (slow: every model is loaded).

    Args:
        settings: settings of the service.
        listen: tried to see whether the port is free.
        track: wrapper of the models that shows which one is being checked.
    """
    return [*_programs(settings), *_surroundings(settings, listen), *_models(settings, track), *_live(settings)]


def _codecs() -> str:
    try:
        return f"PyAV {version('av')}"
    except PackageNotFoundError:
        return f"not installed; M4A, AAC, AMR and WMA are refused: {EXTRA}"


def _programs(settings: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("processors", "ok", str(cpu_allowance()))
    for package in (*PACKAGES, *LIVE_PACKAGES):
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "failed", "not installed: pip install 'humwatch[service]'")
    yield Finding("libsndfile", "ok", str(soundfile.__libsndfile_version__))
    yield Finding("codecs", "ok", _codecs())
    available = list(onnxruntime.get_available_providers())
    missing = [name for name in settings.provider_names if name not in available]
    detail = f"onnxruntime {onnxruntime.__version__}: {', '.join(available)}"
    if missing:
        detail += f"; {', '.join(missing)} is asked for and not there (pip install 'humwatch[gpu]')"
    yield Finding("providers", "failed" if missing else "ok", detail)


def _score(machine_id: str, kind: ScoreKind) -> str:
    """Name a score; one that new bundles do not get works on, and a calibration brings the default."""
    if kind == DEFAULT_SCORE:
        return f"score {kind}"
    return (
        f"score {kind}; `humwatch calibrate {machine_id} RECORDINGS` makes a version with the default, {DEFAULT_SCORE}"
    )


def _live(settings: Settings) -> Iterator[Finding]:
    """Check what streams and alarms need."""
    yield _state(settings.state_dir)
    try:
        check_webhooks(settings.webhooks, settings.webhook_hosts)
        yield Finding("webhooks", "ok", f"{len(settings.webhooks)} set")
    except SettingsInvalid as error:
        yield Finding("webhooks", "failed", f"{error.code}: {error}")
    try:
        check_tracing(settings)
        yield Finding("traces", "ok", f"sent to {settings.tracing_endpoint}" if settings.tracing_endpoint else "off")
    except TracingUnavailable as error:
        yield Finding("traces", "failed", f"{error.code}: {error}")
    try:
        found = input_devices(load_sounddevice())
        yield Finding("microphones", "ok", ", ".join(device.name for device in found) or "none on this machine")
    except SoundDeviceUnavailable as error:
        needed = any(source.kind == "sound_card" for source in settings.sources)
        yield Finding("microphones", "failed" if needed else "warning", str(error))


def _state(folder: Path) -> Finding:
    """Check that alarms can be kept; nothing is made that was not there."""
    store = StateStore(folder)
    if not store.path.exists():
        there = next(parent for parent in store.path.absolute().parents if parent.exists())
        if os.access(there, os.W_OK | os.X_OK):
            return Finding("state", "ok", f"{folder} is made when the service starts")
        return Finding("state", "failed", f"{folder} cannot be made: {there} is not writable")
    try:
        store.check()
    except StateUnusable as error:
        return Finding("state", "failed", f"{error.code}: {error}")
    finally:
        store.close()
    return Finding("state", "ok", f"{store.path} can be written")


def _surroundings(settings: Settings, listen: Listen) -> Iterator[Finding]:
    links = service_links(os.environ)
    if links:
        yield Finding("service links", "ok", links_text(links))
    try:
        check_exposure(settings)
        keys = len(settings.keys())
        yield Finding("api keys", "ok", f"{keys} set" if keys else f"none; {settings.host} is loopback")
    except HumwatchError as error:
        yield Finding("api keys", "failed", f"{error.code}: {error}")
    try:
        listen(settings.host, settings.port).close()
        yield Finding("port", "ok", f"{settings.host}:{settings.port} is free")
    except PortInUse as error:
        yield Finding("port", "warning", f"{error} (or is it humwatch itself that runs there?)")
    except HumwatchError as error:
        yield Finding("port", "failed", f"{error.code}: {error}")
    yield _disk("disk for uploads", Path(os.environ.get("TMPDIR", "/tmp")))


def _disk(check: str, folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(check, "failed", f"{folder}: {error.strerror}")
    detail = f"{free / (1 << 30):.1f} GiB free at {folder}"
    return Finding(check, "ok" if free >= LOW_DISK_BYTES else "warning", detail)


def _models(settings: Settings, track: Track) -> Iterator[Finding]:
    repository = ModelRepository(settings.models_dir)
    try:
        machine_ids = repository.machine_ids()
    except HumwatchError as error:
        yield Finding("models folder", "failed", f"{error.code}: {error}")
        return
    yield Finding(
        "models folder", "ok" if machine_ids else "failed", f"{len(machine_ids)} machine(s) in {repository.root}"
    )
    yield _disk("disk for models", settings.models_dir)
    for check in verify_bundles(repository, settings, [(machine_id, None) for machine_id in machine_ids], track=track):
        name = f"model {check['machine_id']}"
        if check["ok"]:
            yield Finding(name, "ok", f"version {check['version']}, {_score(check['machine_id'], check['score'])}")
        else:
            yield Finding(name, "failed", f"{check['code']}: {check['reason']}")
