"""The real service, a real Prometheus and a real Alertmanager, with the files that ``docker/`` ships.

Three machines are played to the service: one runs well, with a promise, a drift and a candidate; one fails, and then
its microphone goes silent; the third's goes silent at once. Every expression of every rule, alert and panel is asked of
Prometheus, and has to find data.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import promql_parser
import pytest
import soundfile
import yaml

import humwatch_dashboards
from humwatch.alarm.sequential import Chart, SequentialLimits
from humwatch.bundle.bundle import write_bundle
from humwatch.bundle.manifest import CALIBRATION
from humwatch.bundle.repository import ModelRepository
from humwatch.false_alarms.decision import Decision, FalseAlarmRate
from humwatch_service.storage.normal_hours import HourSum
from humwatch_service.storage.store import StateStore
from tests.monitoring.observatory import (
    MISSING,
    ROOT,
    Observatory,
    eventually,
    free_port,
    mailbox,
    observatory,
    process,
)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(bool(MISSING), reason=f"Debian packages are not there: {', '.join(MISSING)}"),
]

KEY = "0123456789abcdef0123456789abcdef"
FAN, PRESS, PUMP = "fan-id_00", "press-1", "pump-1"
HUMWATCH = str(Path(sys.executable).with_name("humwatch"))
RATE_HZ = 16_000

CONFIG = """
[machines."{fan}".alarm]
on_delay_s = 2

[[sources]]
kind = "loop"
machine = "{fan}"
files = [{fan_files}]

[[sources]]
kind = "loop"
machine = "{press}"
files = [{press_files}]

[[sources]]
kind = "loop"
machine = "{pump}"
files = [{pump_files}]

[[sources]]
kind = "folder"
machine = "{pump}"
folder = "{spool}"

[[webhooks]]
name = "maintenance"
url = "{hook}/hook"
secret = "not-a-secret-of-any-plant"
"""


@contextmanager
def _service(folder: Path, port: int, hook: str) -> Iterator[subprocess.Popen[bytes]]:
    models, sounds = folder / "models", folder / "sounds"
    shutil.copytree(ROOT / "models" / FAN, models / FAN)
    calibrate = ["--from", FAN, "--models", models]
    for arguments in (
        ["simulate", sounds, "--count", "8"],
        ["calibrate", PRESS, sounds, *calibrate],
        ["calibrate", PUMP, sounds, *calibrate],
    ):
        subprocess.run([HUMWATCH, *map(str, arguments)], check=True, capture_output=True)
    promise_and_drift(models, folder / "state")
    broken = models / "broken-1"
    shutil.copytree(models / PRESS, broken)  # a bundle of another machine: it is refused
    silence = folder / "silence.wav"
    soundfile.write(silence, np.zeros(60 * RATE_HZ, np.int16), RATE_HZ)
    examples = models / FAN / "examples"
    fan_files = [examples / "normal.wav"] * 2 + [examples / "anomalous.wav"] * 2 + [silence] * 5
    pump_files = sorted(sounds.glob("*.wav"))
    files = {"fan_files": fan_files, "press_files": [*pump_files[:2], *[silence] * 5], "pump_files": pump_files[:1]}
    # one recording: from one to the next the machine runs at another speed, which is heard as a drift
    spool = folder / "spool"  # nothing comes into it: its series are there all the same
    spool.mkdir()
    listed = {name: ", ".join(f'"{path}"' for path in paths) for name, paths in files.items()}
    (folder / "humwatch.toml").write_text(
        CONFIG.format(fan=FAN, press=PRESS, pump=PUMP, hook=hook, spool=spool, **listed)
    )
    settings = {"config": folder / "humwatch.toml", "models_dir": models, "state_dir": folder / "state", "port": port}
    settings |= {"api_keys": KEY, "webhook_hosts": hook.removeprefix("http://")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUMWATCH_")}
    given = {f"HUMWATCH_{name.upper()}": str(value) for name, value in settings.items()}
    with process([HUMWATCH, "serve"], folder / "service.log", env=clean | given) as service:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, trust_env=False) as http:
            eventually(lambda: http.get("/v1/machines").status_code == 200)
            order = {"version": "1", "who": "Ada", "why": "beside the version with limits"}
            # refused until the machine has its model
            eventually(lambda: http.post(f"/v1/machines/{PUMP}/shadow", json=order).status_code == 201)
        yield service


def promise_and_drift(models: Path, state: Path) -> None:
    """Give the pump a version with limits that promises one false alarm a week, and 20 days, the last nine louder."""
    repository = ModelRepository(models)
    bundle = repository.read(PUMP)
    arrays = (repository.folder(PUMP) / CALIBRATION).read_bytes()
    rate = FalseAlarmRate(
        wanted_a_week=1.0,
        expected_a_week=0.8,
        low_a_week=0.3,
        high_a_week=2.0,
        heard_s=604_800.0,
        blocks=100,
        promised=True,
        reason=None,
    )
    limits = SequentialLimits(charts=(Chart(time_constant_s=60.0, limit=2.0),))
    changed = {"version": "2", "decision": Decision(limits=limits, rate=rate)}
    write_bundle(models / PUMP / "2", bundle.manifest.model_copy(update=changed), bundle.graph, arrays)
    repository.activate(PUMP, "2")
    rng = np.random.default_rng(15)
    bands, now_hour = len(bundle.manifest.pipeline.band_edges_hz), int(time.time() // 3_600)
    store = StateStore(state)
    store.add_normal(
        [
            HourSum(
                PUMP,
                bundle.manifest.files[CALIBRATION],
                hour,
                3_600.0,
                0.0,
                360.0,
                3_600.0 * (rng.normal(0.0, 0.2, bands) + 3.0 * (hour >= now_hour - 9 * 24)),
            )
            for hour in range(now_hour - 20 * 24, now_hour)
        ],
        [],
    )
    store.close()


def test_a_plant_is_watched(tmp_path: Path) -> None:
    """In one go, as it takes a while to fail: what follows needs what came before."""
    with ExitStack() as stack:
        hook, _ = stack.enter_context(mailbox())
        port = free_port()
        service = stack.enter_context(_service(tmp_path, port, hook))
        seen = stack.enter_context(observatory(tmp_path, f"127.0.0.1:{port}", api_key=KEY))
        check_a_failing_machine_reaches_people(seen)
        check_a_silent_source_reaches_people(seen)
        check_an_alarm_without_sound_is_inhibited(seen)
        check_every_expression_finds_data(seen)
        check_rules_are_healthy(seen)
        service.send_signal(signal.SIGKILL)
        check_a_dead_service_inhibits_the_rest(seen)


def check_a_failing_machine_reaches_people(seen: Observatory) -> None:
    alert = eventually(lambda: seen.alert("HumwatchMachineAlarm", machine_id=FAN))
    assert alert["labels"]["severity"] == "critical"
    assert alert["status"]["state"] == "active"
    assert alert["annotations"]["runbook_url"].endswith("/runbooks/machine-alarm")
    letter = eventually(lambda: told(seen, "HumwatchMachineAlarm"))
    assert letter["groupLabels"]["machine_id"] == FAN
    assert {alert["labels"]["machine_id"] for alert in letter["alerts"]} == {FAN}
    eventually(lambda: seen.alert("HumwatchModelRefused"))


def check_a_silent_source_reaches_people(seen: Observatory) -> None:
    alert = eventually(lambda: seen.alert("HumwatchSourceFaulty", machine_id=PRESS, fault="silent"))
    assert alert["labels"]["category"] == "source"
    assert eventually(lambda: told(seen, "HumwatchSourceFaulty"))["groupLabels"]["machine_id"] == PRESS
    assert seen.alert("HumwatchMachineAlarm", machine_id=PRESS) is None


def check_an_alarm_without_sound_is_inhibited(seen: Observatory) -> None:
    """The fan's microphone fails in its alarm: what is said of its sound is not to be believed any more."""
    eventually(lambda: seen.alert("HumwatchSourceFaulty", machine_id=FAN, fault="silent"))
    alarm = eventually(lambda: inhibited(seen, "HumwatchMachineAlarm", machine_id=FAN))
    alerts = {alert["fingerprint"]: alert["labels"] for alert in seen.firing()}
    by = alerts[alarm["status"]["inhibitedBy"][0]]  # one of those that could
    assert (by["machine_id"], by["category"]) == (FAN, "source")
    assert seen.alert("HumwatchSourceFaulty", machine_id=FAN)["status"]["state"] == "active"  # type: ignore[index]


def check_rules_are_healthy(seen: Observatory) -> None:
    answer = httpx.get(f"{seen.prometheus}/api/v1/rules", trust_env=False).json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert len(rules) == len(_rules("record")) + len(_rules("alert"))
    assert {rule["name"]: rule["health"] for rule in rules if rule["health"] != "ok"} == {}


def check_a_dead_service_inhibits_the_rest(seen: Observatory) -> None:
    down = eventually(lambda: seen.alert("HumwatchServiceDown", instance=seen.target))
    assert down["labels"]["severity"] == "critical"
    refused = eventually(lambda: inhibited(seen, "HumwatchModelRefused"))
    assert down["fingerprint"] in refused["status"]["inhibitedBy"]
    assert eventually(lambda: told(seen, "HumwatchServiceDown"))


def check_every_expression_finds_data(seen: Observatory) -> None:
    """Of recording rules, alerts (each side of each comparison), and panels."""
    asked = {rule["record"]: [rule["record"]] for rule in _rules("record")}
    asked |= {rule["alert"]: [*_parts(promql_parser.parse(rule["expr"]))] for rule in _rules("alert")}
    for dashboard, panel, expression in humwatch_dashboards.expressions(
        machine_id=PUMP, instance=seen.target, interval="15s"
    ):
        asked.setdefault(f"{dashboard}: {panel}", []).append(expression)
    assert len(asked) > 40
    missing = {(place, expression) for place, expressions in asked.items() for expression in expressions}
    deadline_s = time.monotonic() + 60
    while missing and time.monotonic() < deadline_s:
        upload(seen)
        count_false_alarms(seen)
        missing = {(place, expression) for place, expression in missing if not has_data(seen, expression)}
        time.sleep(1)
    assert not missing, "\n".join(f"{place}: {expression}" for place, expression in sorted(missing))


COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


def _parts(node: Any) -> Iterator[str]:
    """What has to find data for an alert to be able to fire: selectors, and both sides of comparisons."""
    if isinstance(node, promql_parser.BinaryExpr):
        if str(node.op) in COMPARISONS:
            yield from (str(side) for side in (node.lhs, node.rhs))
        yield from [*_parts(node.lhs), *_parts(node.rhs)]
    elif isinstance(node, promql_parser.VectorSelector):
        yield str(node)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield str(node.vector_selector)
    else:
        inner = [getattr(node, "expr", None), *(getattr(node, "args", None) or [])]
        yield from (part for child in inner if child is not None for part in _parts(child))


def upload(seen: Observatory) -> None:
    """A recording that is scored and painted, and one that is none."""
    url = f"http://{seen.target}/score?machine_id={FAN}&plot=png"
    headers = {"X-API-Key": KEY, "Content-Type": "audio/wav"}
    recording = (ROOT / "models" / FAN / "examples" / "normal.wav").read_bytes()
    statuses = [
        httpx.post(url, content=body, headers=headers, trust_env=False).status_code
        for body in (recording, b"not a recording")
    ]
    assert statuses == [200, 415]


def count_false_alarms(seen: Observatory) -> None:
    """Ask for them, which the service else counts every five minutes."""
    url = f"http://{seen.target}/v1/machines/{PUMP}/false-alarms"
    report = httpx.get(url, headers={"X-API-Key": KEY}, trust_env=False).json()
    assert report["promised"]["wanted_a_week"] == 1.0


def has_data(seen: Observatory, expression: str) -> bool:
    return any(math.isfinite(float(series["value"][1])) for series in seen.query(expression))


def told(seen: Observatory, name: str) -> dict[str, Any] | None:
    """A notification with this alert."""
    return next(
        (letter for letter in seen.letters if any(a["labels"]["alertname"] == name for a in letter["alerts"])), None
    )


def inhibited(seen: Observatory, name: str, **labels: str) -> dict[str, Any] | None:
    alert = seen.alert(name, **labels)
    return alert if alert is not None and alert["status"]["inhibitedBy"] else None


def _rules(kind: str) -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted((ROOT / "docker" / "prometheus" / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]
