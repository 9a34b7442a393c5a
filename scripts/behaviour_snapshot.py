"""The outward behaviour of the installed code as text files, to compare before and after a reorganisation.

    PYTHONPATH=../before/core:../before/service:../before/training python scripts/behaviour_snapshot.py before
    python scripts/behaviour_snapshot.py after
    diff -r before after

Two runs of one code give the same files. What is said goes through public entrances where there is one: the paths of
an app with the shipped model, and the commands. Objects that have none are looked for in the places of ``PLACES``;
names of Python classes are left out of their schemas, as nobody outside sees them.

Files:
    openapi.json: what the app says of itself; ``openapi_shapes.json`` is the same without words for people.
    metrics.txt: families of the metrics page, in both formats, with the values of their labels.
    answers.txt: what some paths answer, the scores of the model's example recordings among it.
    protocol.txt, events.txt, webhooks.txt, manifest.txt: messages of live streams, server-sent events, notifications
        and the manifest of a bundle, as JSON Schema.
    settings.txt: every setting with variable, default and meaning, and its JSON Schema.
    state.txt: tables of the database, and the state folder.
    log_events.txt: events of the log with their levels and fields.
    cli_help.txt: help of every command.
    problems.txt: codes of errors with their HTTP status and title.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

MODELS = Path(__file__).resolve().parents[1] / "models"
MACHINE = "fan-id_00"
READY_S = 60.0
WIDTH = "100"
COMMAND_S = 120.0

PLACES = {
    "create_app": ("humwatch_service.app",),
    "Settings": ("humwatch_service.config.settings", "humwatch_service.settings"),
    "HumwatchError": ("humwatch.errors",),
    "problem_of": ("humwatch_service.problems",),
    "ClientMessage": ("humwatch_service.protocol.messages", "humwatch_service.live.messages"),
    "NotificationPayload": ("humwatch_service.webhooks.payload",),
    "Manifest": ("humwatch.manifest", "humwatch.bundle.manifest"),
}
"""Modules in which a name is looked for, the newest first."""
COMMANDS = {
    "humwatch": ("humwatch_service.__main__",),
    "humwatch-train": ("humwatch_training.cli.main", "humwatch_training.cli"),
}
"""Modules whose ``main`` is a command."""

ACCEPTS = {"plain text": "text/plain", "OpenMetrics": "application/openmetrics-text; version=1.0.0"}
QUESTIONS = (
    "/",
    "/livez",
    "/v1/machines",
    f"/v1/machines/{MACHINE}",
    f"/v1/machines/{MACHINE}/status",
    f"/v1/machines/{MACHINE}/versions",
    f"/v1/machines/{MACHINE}/events",
    f"/v1/machines/{MACHINE}/history",
    "/v1/machines/nobody",
    "/v1/alarms",
    "/v1/alarms?limit=0",
    "/v1/alarms/nobody-000001",
    "/v1/models",
    "/nothing",
)
"""Paths whose answers do not depend on the time."""
PASSING = frozenset({"request_id", "status"})
"""Labels and fields whose values depend on what was asked before."""


def main() -> None:
    """Write all files."""
    out = options().out
    out.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.upper().startswith("HUMWATCH_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as state, service(Path(state)) as client:
        described = client.get("/openapi.json").json()
        write(out / "openapi.json", as_json(described))
        write(out / "openapi_shapes.json", as_json(without_words(described)))
        write(out / "answers.txt", answers(client))
        write(out / "metrics.txt", metrics(client))
        write(out / "state.txt", state_files(Path(state)))
    writers: dict[str, Callable[[], str]] = {
        "protocol.txt": protocol,
        "events.txt": events,
        "webhooks.txt": lambda: schema_text("notification", found("NotificationPayload")),
        "manifest.txt": lambda: schema_text("manifest", found("Manifest")),
        "settings.txt": settings,
        "problems.txt": problems,
        "log_events.txt": log_events,
        "cli_help.txt": cli_help,
    }
    for name, text in writers.items():
        write(out / name, text())


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the files; made when it is missing")
    return parser.parse_args()


def found(name: str) -> Any:
    """Return an object from the first of its places that has it."""
    for place in PLACES[name]:
        if (module := module_of(place)) is not None and hasattr(module, name):
            return getattr(module, name)
    raise SystemExit(f"{name} is in none of {', '.join(PLACES[name])}: add its place to PLACES")


def module_of(name: str) -> ModuleType | None:
    """Import a module, if it is there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        return None


def write(path: Path, text: str) -> None:
    """Write a file, and say so."""
    path.write_text(text.rstrip("\n") + "\n", "utf-8")
    sys.stdout.write(f"{path}\n")


def as_json(value: object) -> str:
    """Return a value as sorted JSON."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


# The app


@contextmanager
def service(state: Path) -> Iterator[Any]:
    """Run an app with the shipped models, and give a client of it once they are loaded."""
    from starlette.testclient import TestClient

    app = found("create_app")(found("Settings")(models_dir=MODELS, state_dir=state))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        deadline_s = time.monotonic() + READY_S
        while client.get("/readyz").status_code != 200:
            if time.monotonic() > deadline_s:
                raise SystemExit("the models are not loaded in time")
            time.sleep(0.1)
        yield client


def answers(client: Any) -> str:
    """Return what the paths answer, the ids of requests taken out."""
    got = {f"GET {path}": client.get(path) for path in QUESTIONS}
    for path in sorted((MODELS / MACHINE / "examples").glob("*.wav")):
        with path.open("rb") as file:
            got[f"POST /score {path.name}"] = client.post("/score", data={"machine_id": MACHINE}, files={"file": file})
    got["POST /score nothing"] = client.post("/score")
    return "\n".join(answer_text(name, answer) for name, answer in got.items())


def answer_text(name: str, answer: Any) -> str:
    """Return an answer as text: status, media type, names of the other headers, and the body."""
    body = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key != "request_id"}
    headers = ", ".join(sorted(answer.headers))
    return f"## {name}\n{answer.status_code} {answer.headers.get('content-type')}\n{headers}\n{as_json(body)}\n"


def metrics(client: Any) -> str:
    """Return the families of the metrics page, as they are for each format that is asked for."""
    parts = []
    for name, accepted in ACCEPTS.items():
        answer = client.get("/metrics", headers={"Accept": accepted})
        parts.append(f"# as {name}: {answer.headers['content-type']}\n\n{families(answer.text)}")
    return "\n".join(parts)


def families(page: str) -> str:
    """Return the lines about families of a metrics page, and the names and labels of its samples, without values."""
    about = sorted(line for line in page.splitlines() if line.startswith("# "))
    series: dict[str, dict[str, set[str]]] = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, labels = re.match(r"([\w:]+)(?:\{(.*)\})?", line).groups()  # type: ignore[union-attr]
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            known = series.setdefault(name, {})
            for label, value in pairs:
                known.setdefault(label, set()).add("..." if label in PASSING else value)
    text = [
        f"{name} {as_json({label: sorted(values) for label, values in series[name].items()})}"
        for name in sorted(series)
    ]
    return "\n".join([*about, "", *text]) + "\n"


def state_files(folder: Path) -> str:
    """Return the tables of the database in a state folder, and the files beside it."""
    lines = ["# files", *sorted(str(path.relative_to(folder)) for path in folder.rglob("*")), ""]
    for path in sorted(folder.glob("*.sqlite3")):
        with closing(sqlite3.connect(path)) as database:
            lines += [f"# {path.name}", f"user_version {database.execute('PRAGMA user_version').fetchone()[0]}"]
            lines += [
                row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")
            ]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines())


# Schemas


def protocol() -> str:
    """Return the messages of a live stream by side and type, and what a number of samples may be."""
    place = next(place for place in map(module_of, PLACES["ClientMessage"]) if place is not None)
    parts = [f"{name} {as_json(getattr(place, name))}" for name in ("PROTOCOL_VERSION", "SAMPLE_BYTES", "MAX_SAMPLE")]
    for side in ("ClientMessage", "ServerMessage"):
        for model in get_args(getattr(place, side)):
            parts.append(schema_text(f"{side} {model.model_fields['type'].default}", model))
    return "\n".join(parts)


def events() -> str:
    """Return the server-sent events by name, as the test of their documentation has them."""
    test = test_module("test_events_page")
    models: Mapping[str, Any] = {**test.EVENTS, **test.PARTS}
    return "\n".join([f"retry {test.RETRY_MS} ms", *(schema_text(name, models[name]) for name in sorted(models))])


def schema_text(name: str, model: Any) -> str:
    """Return the JSON Schema of a model under a heading."""
    return f"## {name}\n{as_json(nameless(model.model_json_schema()))}\n"


def nameless(schema: Mapping[str, Any]) -> Any:
    """Return a schema with its definitions put in their places, and without the names and docstrings of classes."""
    definitions = schema.get("$defs", {})

    def plain(value: Any, *, properties: bool = False) -> Any:
        if isinstance(value, list):
            return [plain(part) for part in value]
        if not isinstance(value, dict):
            return value
        if properties:
            return {key: plain(part) for key, part in value.items()}
        if "$ref" in value:
            target = dict(definitions[value["$ref"].rpartition("/")[2]])
            target.pop("description", None)
            value = {**target, **{key: part for key, part in value.items() if key != "$ref"}}
        kept = {key: part for key, part in value.items() if key not in ("title", "$defs", "discriminator")}
        return {key: plain(part, properties=key == "properties") for key, part in kept.items()}

    return plain({key: value for key, value in schema.items() if key != "description"})


def without_words(value: Any, *, names: bool = False) -> Any:
    """Return a description of an app without titles, summaries and descriptions.

    Args:
        value: description, or a part of it.
        names: whether the keys of the part are names that the app gave, such as those of fields.
    """
    if isinstance(value, list):
        return [without_words(part) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if names or key not in ("title", "summary", "description")}
    named = ("properties", "schemas", "paths", "responses")
    return {key: without_words(part, names=not names and key in named) for key, part in kept.items()}


def settings() -> str:
    """Return every setting as ``humwatch config show`` tells it, and its JSON Schema."""
    model = found("Settings")
    properties = nameless(model.model_json_schema())["properties"]
    shown = json.loads(output_of("humwatch", "config", "show", "--json"))["settings"]
    parts = []
    for row in shown:
        if isinstance(model.model_fields[row["name"]].get_default(call_default_factory=True), int):
            computed = model.model_fields[row["name"]].default_factory is not None
            row = {**row, "value": "(computed)" if computed else row["value"]}
        parts.append(f"## {row['name']}\n{as_json(row)}\n{as_json(properties[row['name']])}\n")
    return "\n".join(parts)


# Errors, log, commands


def problems() -> str:
    """Return the code of every error with the status and the title of its answer."""
    for package in ("humwatch", "humwatch_service"):
        import_all(package)
    problem_of = found("problem_of")
    rows = set()
    for error in subclasses(found("HumwatchError")):
        answer = problem_of(error.__new__(error), None)
        rows.add(f"{answer.code}  {answer.status}  {answer.title}")
    return "\n".join(sorted(rows))


def import_all(package: str) -> None:
    """Import every module of a package, those that run something when they are imported left out."""
    folder = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(folder, f"{package}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def subclasses(error: Any) -> Iterator[Any]:
    """Yield a class and all that derive from it and belong to the service or the core."""
    yield error
    for below in error.__subclasses__():
        if not below.__module__.startswith("humwatch_training"):
            yield from subclasses(below)


def log_events() -> str:
    """Return the events of each logger with levels and fields, as the test of their documentation collects them."""
    logged = test_module("test_logs_documentation").logged()
    rows = [
        f"{logger}  {event!r}  {', '.join(sorted(known.levels))}  {', '.join(sorted(known.fields))}"
        for (logger, event), known in logged.items()
    ]
    return "\n".join(sorted(rows))


def test_module(name: str) -> ModuleType:
    """Import a test of the checkout that the service comes from."""
    root = Path(importlib.import_module("humwatch_service").__path__[0]).parents[1]
    path = next(iter(sorted((root / "tests").rglob(f"{name}.py"))), None)
    if path is None:
        raise SystemExit(f"there is no {name}.py below {root / 'tests'}")
    sys.path.append(str(root))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cli_help() -> str:
    """Return the help of both programs and of all of their commands."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return "\n".join(part for program in COMMANDS for part in help_of(pool, [(program,)]))


def help_of(pool: ThreadPoolExecutor, commands: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the help of commands, each followed by that of its subcommands."""
    commands = list(commands)
    texts = pool.map(lambda command: output_of(*command, "--help"), commands)
    for command, text in zip(commands, texts, strict=True):
        yield f"$ {' '.join(command)} --help\n{text}"
        yield from help_of(pool, [(*command, name) for name in subcommands(text)])


def subcommands(text: str) -> list[str]:
    """Return the names in the box of commands of a help text."""
    box = re.search(r"^╭─ Commands .*?\n(.*?)^╰", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^│ ([a-z][\w-]*) ", box[1], re.MULTILINE) if box else []


def output_of(program: str, *arguments: str) -> str:
    """Run a command in a process of its own, and return its output without colours."""
    place = next(place for place in COMMANDS[program] if hasattr(module_of(place), "main"))
    code = f"import sys; sys.argv[0] = {program!r}; from {place} import main; main()"
    plain = {"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    path = os.pathsep.join(part for part in sys.path if part)
    environment = {**os.environ, **plain, "PYTHONPATH": path}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=COMMAND_S, check=False)
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


if __name__ == "__main__":
    main()
