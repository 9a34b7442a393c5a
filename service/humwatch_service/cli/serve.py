"""``humwatch serve``: the service, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from threadpoolctl import threadpool_limits

from humwatch.audio.decoding import open_recording
from humwatch.audio.files import is_audio_file
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.app import create_app
from humwatch_service.cli.console import JsonOption, ModelsOption, failures, say, show
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.secrets import secrets_of
from humwatch_service.config.settings import Settings
from humwatch_service.config.sources import LoopSource
from humwatch_service.errors import FileUnreadable
from humwatch_service.telemetry.logs import configure_logging, event_logger
from humwatch_service.web.server import listen, run

DEMO: Final = ("normal", "anomalous")
HALF_MINUTE_S: Final = 30.0

_log = event_logger("humwatch.service")


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback an API key is needed.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = None,
    models: ModelsOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Play the examples of a model as if they came from its microphone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish what runs."""
    with failures(as_json=as_json):
        given = {"host": host, "port": port, "models_dir": models}
        configuration = load_configuration(given)
        settings = configuration.settings
        if demo:
            settings = _with_demo(settings)
        configure_logging(settings.log_level, settings.log_format, secrets_of(settings))
        if configuration.service_links:
            _log.info("service links left out", variables=list(configuration.service_links))
        app = create_app(settings)
        listening = listen(settings.host, settings.port)
        url = _url(settings.host, listening.getsockname()[1])
        if as_json:
            show({"url": url}, "", as_json=True)
        say(_invitation(url, settings))
        # Streams run side by side; a numerical library's own threads, which spin for work, would take their processors.
        with threadpool_limits(1):
            run(app, settings, listening)


def _with_demo(settings: Settings) -> Settings:
    """Add a loop of half a minute of normal sound, half a minute of a fault, and nine minutes of normal sound."""
    for machine_id in ModelRepository(settings.models_dir).machine_ids():
        normal, anomalous = (settings.models_dir / machine_id / "examples" / f"{name}.wav" for name in DEMO)
        if normal.is_file() and anomalous.is_file():
            with open_recording(normal) as recording:
                repeats = max(1, round(HALF_MINUTE_S / recording.info.duration_s))
            files = (*[normal] * repeats, *[anomalous] * repeats, *[normal] * (18 * repeats))
            loop = LoopSource(kind="loop", machine=machine_id, files=files)
            return settings.model_copy(update={"sources": (*settings.sources, loop)})
    raise FileUnreadable(f"no model in {settings.models_dir} has examples/normal.wav and examples/anomalous.wav")


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _invitation(url: str, settings: Settings) -> str:
    """Return the commands to try first."""
    try:
        machine_ids = ModelRepository(settings.models_dir).machine_ids()
    except HumwatchError:
        machine_ids = []
    key = "-H 'X-API-Key: ...' " if settings.keys() else ""
    lines = [f"humwatch listens on {url}", "", "try:", f"  curl {key}{url}/healthz", f"  curl {key}{url}/v1/machines"]
    for machine_id in machine_ids[:1]:
        names = _examples(settings.models_dir, machine_id)
        posts = [f"  curl {key}-F machine_id={machine_id} -F file=@{name}" for name in names]
        lines += [f"{post} {url}/score" for post in posts]
        lines.append(f"{posts[-1]} '{url}/score?plot=png' -o score.png")
    if not machine_ids:
        lines.append(f"there is no model in {settings.models_dir} yet: see `humwatch calibrate --help`")
    return "\n".join([*lines, "stop with Ctrl-C", ""])


def _examples(models_dir: Path, machine_id: str) -> list[str]:
    """Return the example recordings that came with the model, normal ones first, or a placeholder."""
    found = filter(is_audio_file, (models_dir / machine_id / "examples").glob("*"))
    examples = sorted(found, key=lambda path: path.stem != "normal")
    return [str(path) for path in examples] or ["recording.wav"]
