"""Runs inside a box: starts programs, asks their health checks, looks around, stops them, and writes what it saw.

Its only argument is a plan, JSON: ``programs`` by name, each with ``command``, ``environment``, ``folder``, ``health``
(a command, or null) and ``stop_s``; ``ask``: requests to make, each ``url`` and ``headers``; ``until``: requests that
are made again until the answer holds a text; ``write``: paths to write to; ``patience_s``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PAUSE_S = 0.25


def main(plan: dict[str, Any]) -> dict[str, Any]:
    programs: dict[str, subprocess.Popen[bytes]] = {}
    deadline = time.monotonic() + plan["patience_s"]
    seen: dict[str, Any] = {"user": os.getuid(), "rights": rights()}
    try:
        for name, program in plan["programs"].items():
            programs[name] = start(name, program)
            if program["health"]:
                wait_for(lambda program=program: healthy(program), programs, deadline)
        seen["healthy"] = {name: healthy(program) for name, program in plan["programs"].items() if program["health"]}
        seen["until"] = [wait_for(lambda wanted=wanted: holds(wanted), programs, deadline) for wanted in plan["until"]]
        seen["ask"] = [ask(wanted)[0] for wanted in plan["ask"]]
        seen["write"] = {path: can_write(path) for path in plan["write"]}
        seen["stopped"] = {name: stop(programs[name], plan["programs"][name]["stop_s"]) for name in reversed(programs)}
    finally:
        for running in programs.values():
            if running.poll() is None:
                running.kill()
                running.wait()
    seen["said"] = {name: log(name).read_text("utf-8", "replace")[-3_000:] for name in programs}
    return seen


def rights() -> list[str]:
    """Capabilities and privileges that are left, as the kernel says."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return [line.replace("\t", " ") for line in lines if line.startswith(("Cap", "NoNewPrivs"))]


def log(name: str) -> Path:
    return Path(f"/tmp/{name}.said")


def start(name: str, program: dict[str, Any]) -> subprocess.Popen[bytes]:
    with log(name).open("wb") as said:
        return subprocess.Popen(
            program["command"], env=program["environment"], cwd=program["folder"], stdout=said, stderr=said
        )


def healthy(program: dict[str, Any]) -> bool:
    done = subprocess.run(program["health"], env=program["environment"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def wait_for(condition: Any, programs: dict[str, subprocess.Popen[bytes]], deadline: float) -> bool:
    while not condition():
        ended = [name for name, running in programs.items() if running.poll() is not None]
        if ended or time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def ask(wanted: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(wanted["url"], headers=wanted.get("headers", {}))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def holds(wanted: dict[str, Any]) -> bool:
    return wanted["text"] in ask(wanted)[1]


def can_write(path: str) -> bool:
    try:
        Path(path).write_bytes(b"x")
    except OSError:
        return False
    Path(path).unlink()
    return True


def stop(running: subprocess.Popen[bytes], stop_s: float) -> int | None:
    """Exit status after SIGTERM; None when it did not end in time."""
    running.terminate()
    try:
        return running.wait(stop_s)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
