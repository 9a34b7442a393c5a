"""The commands of the images and of the compose file, run as they stand, but in a box in place of containers."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deployment import box
from tests.deployment.box import Mount
from tests.deployment.reading import ROOT, read_compose, read_dockerfile

KEY: Final = "0123456789abcdef" * 3
PROGRAMS: Final = {
    "humwatch": [sys.executable, "-m", "humwatch_service"],
    "prometheus": ["prometheus"],
    "alertmanager": ["prometheus-alertmanager"],
}
"""What an image's entry point is here: Debian's names of the two programs, and this environment's Python."""

CAPABILITIES: Final = ("Inh", "Prm", "Eff", "Bnd", "Amb")

COMPOSE: Final = read_compose()
IMAGE: Final = read_dockerfile(ROOT / "docker" / "service.Dockerfile").resolved("cpu")

pytestmark = [pytest.mark.process, pytest.mark.skipif(bool(box.why_not()), reason=box.why_not())]


def command(words: list[str]) -> list[str]:
    return [*PROGRAMS.get(words[0], words[:1]), *words[1:]]


def environment(given: dict[str, str]) -> dict[str, str]:
    return {**IMAGE.environment(), **given, "PATH": "/usr/local/bin:/usr/bin:/bin"}


def seconds(text: str) -> float:
    value = re.fullmatch(r"(\d+)([sm])", text)
    assert value is not None
    return float(value[1]) * (60 if value[2] == "m" else 1)


def of_compose(name: str) -> dict[str, Any]:
    """How a service of the compose file is started, asked and stopped."""
    service = COMPOSE["services"][name]
    ours = "build" in service
    entry = IMAGE.last_list("ENTRYPOINT") if ours else [name]
    words = service.get("command", IMAGE.last_list("CMD") if ours else [])
    return {
        "command": command([*entry, *words]),
        "environment": environment(service.get("environment", {})) if ours else {"PATH": "/usr/bin:/bin"},
        "folder": service.get("working_dir", IMAGE.all("WORKDIR")[-1] if ours else "/"),
        "health": command(service["healthcheck"]["test"][1:]),
        "stop_s": seconds(service.get("stop_grace_period", "10s")),
    }


def mounts_of(tmp_path: Path, *names: str) -> list[Mount]:
    """Volumes as folders, files of the repository as they are, the secrets, and one /tmp with the service's options."""
    found: dict[str, Mount] = {}
    for name in names:
        service = COMPOSE["services"][name]
        for volume in service.get("volumes", []):
            source, target, *options = volume.split(":")
            folder = ROOT / source if source.startswith("./") else tmp_path / source
            if source == "models" and not folder.exists():
                shutil.copytree(ROOT / "models", folder)  # as a new volume is filled from the image
            folder.mkdir(exist_ok=True) if not folder.exists() else None
            found[target] = Mount(target, folder, writable=options != ["ro"])
        for secret in service.get("secrets", []):
            file = tmp_path / f"{secret}.secret"
            file.write_text(f"{KEY}\n")
            found[f"/run/secrets/{secret}"] = Mount(f"/run/secrets/{secret}", file)
    target, _, options = COMPOSE["services"][names[0]]["tmpfs"][0].partition(":")
    return [*found.values(), Mount(target, options=options)]


def plan(names: list[str], **asked: Any) -> dict[str, Any]:
    return {
        "programs": {name: of_compose(name) for name in names},
        "ask": [],
        "until": [],
        "write": [],
        "patience_s": 150,
        **asked,
    }


def test_the_service_of_the_compose_file_and_its_demonstration(tmp_path: Path) -> None:
    metrics = "http://humwatch:8000/metrics"
    known = {"Authorization": f"Bearer {KEY}"}
    not_writable = ["/app/x", "/etc/humwatch/x", "/etc/humwatch/humwatch.toml", "/usr/x", "/var/x", str(ROOT / "x")]
    writable = ["/var/lib/humwatch/x", "/app/models/x", "/tmp/x"]
    seen = box.run(
        tmp_path,
        mounts_of(tmp_path, "humwatch", "demo"),
        ["humwatch"],
        plan(
            ["humwatch", "demo"],
            until=[
                {"url": "http://humwatch:8000/readyz", "text": '"ready":true'},
                {"url": metrics, "headers": known, "text": 'alarm_state{machine_id="fan-id_00",state="normal"} 1.0'},
            ],
            ask=[{"url": metrics}, {"url": metrics, "headers": known}, {"url": "http://humwatch:8000/livez"}],
            write=[*not_writable, *writable],
        ),
        timeout_s=300,
    )
    assert seen["healthy"] == {"humwatch": True, "demo": True}, seen["said"]
    assert seen["until"] == [True, True], seen["said"]
    assert seen["ask"] == [401, 200, 200]
    assert seen["user"] == int(COMPOSE["services"]["humwatch"]["user"].partition(":")[0])
    assert seen["rights"] == [
        *(f"Cap{kind}: {0:016x}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")),
        "NoNewPrivs: 1",
    ]
    assert seen["write"] == {**dict.fromkeys(not_writable, False), **dict.fromkeys(writable, True)}
    assert seen["stopped"] == {"demo": 0, "humwatch": 0}, seen["said"]
    assert (tmp_path / "state" / "humwatch.sqlite3").is_file()


def test_the_image_alone_with_a_key_and_models_that_cannot_be_written(tmp_path: Path) -> None:
    """``docker run --read-only --tmpfs /tmp``: nothing of the compose file, the models of the image."""
    state, key = tmp_path / "state", tmp_path / "key"
    state.mkdir()
    key.write_text(f"# the plant's\n{KEY}\n")
    program = {
        "command": command([*IMAGE.last_list("ENTRYPOINT"), *IMAGE.last_list("CMD")]),
        "environment": environment({"HUMWATCH_API_KEYS_FILE": "/run/key"}),
        "folder": IMAGE.all("WORKDIR")[-1],
        "health": command(IMAGE.last_list("HEALTHCHECK")),
        "stop_s": 25,
    }
    mounts = [
        Mount("/var/lib/humwatch", state, writable=True),
        Mount("/app/models", ROOT / "models"),
        Mount("/run/key", key),
        Mount("/tmp", options="mode=1777"),
    ]
    asked = plan([], until=[{"url": "http://127.0.0.1:8000/readyz", "text": '"ready":true'}], write=["/app/models/x"])
    seen = box.run(tmp_path, mounts, [], {**asked, "programs": {"humwatch": program}}, timeout_s=300)
    assert seen["healthy"] == {"humwatch": True}, seen["said"]
    assert seen["until"] == [True], seen["said"]
    assert seen["write"] == {"/app/models/x": False}
    assert seen["stopped"] == {"humwatch": 0}


@pytest.mark.skipif(
    not all(shutil.which(program) for program in ("prometheus", "prometheus-alertmanager", "wget")),
    reason="Prometheus, Alertmanager or wget is not installed",
)
def test_prometheus_and_alertmanager_of_the_compose_file_find_the_service(tmp_path: Path) -> None:
    names = ["humwatch", "alertmanager", "prometheus"]
    mounts = mounts_of(tmp_path, *names)
    targets = "http://prometheus:9090/api/v1/query?query="
    seen = box.run(
        tmp_path,
        mounts,
        names,
        plan(
            names,
            until=[
                {"url": f"{targets}sum(up)", "text": '"3"'},
                {
                    "url": "http://prometheus:9090/api/v1/alertmanagers",
                    "text": "http://alertmanager:9093/api/v2/alerts",
                },
                {"url": "http://prometheus:9090/api/v1/rules", "text": '"health":"ok"'},
                {"url": f"{targets}humwatch_build_info", "text": '"job":"humwatch"'},
            ],
            write=["/etc/prometheus/x", "/etc/alertmanager/x", "/prometheus/x", "/alertmanager/x"],
        ),
        timeout_s=300,
    )
    assert seen["healthy"] == dict.fromkeys(names, True), seen["said"]
    assert seen["until"] == [True] * 4, seen["said"]
    assert list(seen["write"].values()) == [False, False, True, True]
    assert seen["stopped"] == dict.fromkeys(reversed(names), 0), seen["said"]


def test_a_box_holds_what_it_promises(tmp_path: Path) -> None:
    """A program that does not end, and one whose health check fails, are seen as such."""
    stubborn = {
        "command": [sys.executable, "-c", "import signal, time; signal.signal(15, lambda *_: None); time.sleep(300)"],
        "environment": {},
        "folder": "/",
        "health": ["false"],
        "stop_s": 1,
    }
    asked = replace(Mount("/tmp"), options="mode=1777")
    given = {**plan([], ask=[{"url": "http://192.0.2.1/"}], patience_s=1), "programs": {"stubborn": stubborn}}
    seen = box.run(tmp_path, [asked], [], given, timeout_s=120)
    assert seen["healthy"] == {"stubborn": False}
    assert seen["ask"] == [0]
    assert seen["stopped"] == {"stubborn": None}
