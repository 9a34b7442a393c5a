"""The shipped Alertmanager configuration: who is told, what is inhibited, and what people read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "alertmanager"
TEXT = (FOLDER / "alertmanager.yml").read_text()
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
RULES = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules" / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
RECEIVERS = {"critical": "now", "warning": "today", "info": "when-there-is-time"}

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        shutil.which("amtool") is None, reason="amtool (Debian package prometheus-alertmanager) is not there"
    ),
]


def amtool(*arguments: str | Path) -> str:
    done = subprocess.run(["amtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def uncommented(folder: Path) -> Path:
    """A copy of the configuration with its examples, and files in place of their secrets."""
    shutil.copytree(FOLDER / "templates", folder / "templates")
    text = re.sub(r"^( *)#\+ ", r"\1", TEXT, flags=re.MULTILINE)
    for name in re.findall(r"/run/secrets/(\w+)", text):
        (folder / name).write_text("secret")
    path = folder / "alertmanager.yml"
    path.write_text(text.replace("/run/secrets", str(folder)))
    return path


def test_amtool_finds_nothing() -> None:
    assert " - 1 templates" in amtool("check-config", FOLDER / "alertmanager.yml")


def test_as_it_ships_nobody_is_told_and_nothing_can_fail() -> None:
    assert CONFIG["receivers"] == [{"name": name} for name in RECEIVERS.values()]


def test_amtool_finds_nothing_in_the_examples(tmp_path: Path) -> None:
    path = uncommented(tmp_path)
    amtool("check-config", path)
    config = yaml.safe_load(path.read_text())
    told = {kind for receiver in config["receivers"] for kind in receiver if kind != "name"}
    assert told == {"webhook_configs", "email_configs"}
    assert {"global", "time_intervals"} <= set(config)
    mails = [mail for receiver in config["receivers"] for mail in receiver.get("email_configs", [])]
    texts = [text for mail in mails for text in (mail["text"], mail["headers"]["Subject"])]
    assert texts == ['{{ template "humwatch.text" . }}', '{{ template "humwatch.subject" . }}']


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_goes_where_its_severity_says(name: str, tmp_path: Path) -> None:
    severity = ALERTS[name]["labels"]["severity"]
    labels = [f"alertname={name}", f"severity={severity}", "job=humwatch", "machine_id=fan-1"]
    for path in (FOLDER / "alertmanager.yml", uncommented(tmp_path)):
        found = amtool("config", "routes", "test", f"--config.file={path}", *labels)
        assert found.split() == [RECEIVERS[severity]]


def test_what_has_no_severity_is_not_lost() -> None:
    found = amtool("config", "routes", "test", f"--config.file={FOLDER / 'alertmanager.yml'}", "alertname=Other")
    assert found.split() == [RECEIVERS["info"]]


def test_a_machine_is_one_notification_and_the_worse_is_told_sooner() -> None:
    route = CONFIG["route"]
    assert set(route["group_by"]) == {"job", "instance", "machine_id"}
    assert not any("group_by" in child for child in route["routes"])
    waits = [{**route, **child} for child in (*route["routes"], {})]
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    for key in ("group_wait", "group_interval", "repeat_interval"):
        times = [int(wait[key][:-1]) * seconds[wait[key][-1]] for wait in waits]
        assert times == sorted(set(times))


def matches(matcher: str, labels: dict[str, str]) -> bool:
    found = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher)
    assert found is not None
    value = labels.get(found[1], "")
    if "~" in found[2]:
        return (re.fullmatch(found[3], value) is not None) == (found[2] == "=~")
    return (value == found[3]) == (found[2] == "=")


def labels_of(name: str, **more: str) -> dict[str, str]:
    expression = ALERTS[name]["expr"]
    own = ALERTS[name]["labels"]["category"] != "service"
    job = "alertmanager" if "alertmanager" in expression else "prometheus" if "prometheus" in expression else "humwatch"
    machine = {"machine_id": "fan-1"} if own else {}
    return {"alertname": name, "job": job, "instance": "box:8000", **machine, **ALERTS[name]["labels"], **more}


def inhibits(source: dict[str, str], target: dict[str, str]) -> bool:
    """By the rules, as Alertmanager takes them: labels that are missing are empty."""
    return source != target and any(
        all(matches(matcher, source) for matcher in rule["source_matchers"])
        and all(matches(matcher, target) for matcher in rule["target_matchers"])
        and all(source.get(label, "") == target.get(label, "") for label in rule["equal"])
        for rule in CONFIG["inhibit_rules"]
    )


def inhibited_by(name: str, **elsewhere: str) -> set[str]:
    return {other for other in ALERTS if inhibits(labels_of(name), labels_of(other, **elsewhere))}


def of_category(category: str) -> set[str]:
    return {name for name, rule in ALERTS.items() if rule["labels"]["category"] == category}


WATCHERS = {"HumwatchAlertmanagerDown", "HumwatchNotificationsFail", "HumwatchRulesFail"}
ANOMALIES, SOURCES = of_category("anomaly"), of_category("source")
EXPLAINED = {
    "HumwatchServiceDown": set(ALERTS) - WATCHERS - {"HumwatchServiceDown", "HumwatchServiceMissing"},
    "HumwatchNoAudio": (ANOMALIES | SOURCES) - {"HumwatchNoAudio"},
    "HumwatchSourceFaulty": ANOMALIES
    | {"HumwatchSourceUnsteady", "HumwatchSourceDoubtful", "HumwatchMachineNotJudged", "HumwatchOffLong"},
    "HumwatchMachineAlarm": ANOMALIES - {"HumwatchMachineAlarm"},
    "HumwatchDiskNearlyFull": {"HumwatchDiskFilling"},
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_inhibits_what_it_explains_and_nothing_else(name: str) -> None:
    found = inhibited_by(name)
    if name == "HumwatchServiceDown":
        found -= {"HumwatchServiceMissing"}  # has no instance, and cannot be there beside it
    assert found == EXPLAINED.get(name, set())


@pytest.mark.parametrize("name", EXPLAINED)
def test_nothing_is_inhibited_on_another_box(name: str) -> None:
    assert inhibited_by(name, instance="other:8000") == set()


@pytest.mark.parametrize("name", [name for name in EXPLAINED if "machine_id" in labels_of(name)])
def test_nothing_is_inhibited_of_another_machine(name: str) -> None:
    assert inhibited_by(name, machine_id="fan-2") == set()


def rendered(folder: Path, template: str, *alerts: dict[str, Any], **common: str) -> str:
    firing = any(alert["status"] == "firing" for alert in alerts)
    data = {
        "receiver": "today",
        "status": "firing" if firing else "resolved",
        "alerts": alerts,
        "groupLabels": {},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
    }
    (folder / "data.json").write_text(json.dumps(data))
    return amtool(
        "template",
        "render",
        f"--template.glob={FOLDER / 'templates' / '*.tmpl'}",
        f'--template.text={{{{ template "humwatch.{template}" . }}}}',
        f"--template.data={folder / 'data.json'}",
    )


def alert(status: str = "firing", **annotations: str) -> dict[str, Any]:
    return {"status": status, "labels": {}, "annotations": annotations, "startsAt": "2026-01-31T12:00:00+01:00"}


ALARM = {
    "summary": "fan-1 sounds unlike itself: alarm",
    "description": "The score is 1.42.",
    "runbook_url": "http://h.example/runbooks/machine-alarm",
    "clip_url": "http://h.example/clip.flac",
    "picture_url": "http://h.example/picture.png",
    "machine_url": "http://h.example/ui/#/machines/fan-1",
}


def test_a_message_says_what_it_is_and_what_to_do(tmp_path: Path) -> None:
    down = {"summary": "fan-1 is warm", "description": "Look.", "runbook_url": "http://h.example/runbooks/warm"}
    text = rendered(tmp_path, "text", alert(**ALARM), alert(**down), alert("resolved", summary="fan-1 was cold"))
    assert text.strip().splitlines() == [
        "fan-1 sounds unlike itself: alarm, since 2026-01-31 11:00:00 UTC.",
        "  The score is 1.42.",
        "  Sound: http://h.example/clip.flac",
        "  Picture: http://h.example/picture.png",
        "  Machine: http://h.example/ui/#/machines/fan-1",
        "  What to do: http://h.example/runbooks/machine-alarm",
        "",
        "fan-1 is warm, since 2026-01-31 11:00:00 UTC.",
        "  Look.",
        "  What to do: http://h.example/runbooks/warm",
        "",
        "Over, or acknowledged or shelved: fan-1 was cold.",
    ]


@pytest.mark.parametrize(
    ("status", "common", "subject"),
    [
        ("firing", {"machine_id": "fan-1", "severity": "critical"}, "[CRITICAL] fan-1: 1 alert(s)"),
        ("firing", {"instance": "box:8000", "severity": "warning"}, "[WARNING] Humwatch at box:8000: 1 alert(s)"),
        ("firing", {"severity": "info"}, "[INFO] Humwatch: 1 alert(s)"),
        ("resolved", {"machine_id": "fan-1", "severity": "critical"}, "[over] fan-1"),
    ],
)
def test_a_subject_says_how_bad_and_which(status: str, common: dict[str, str], subject: str, tmp_path: Path) -> None:
    assert rendered(tmp_path, "subject", alert(status, **ALARM), **common).strip() == subject


def test_the_texts_use_what_every_alert_has() -> None:
    template = (FOLDER / "templates" / "humwatch.tmpl").read_text()
    needed = set(re.findall(r"\.Annotations\.(\w+)", re.sub(r"{{ with .*?}}", "", template)))
    assert needed == {"summary", "description", "runbook_url"}
    optional = set(re.findall(r"{{ with \.Annotations\.(\w+)", template))
    assert {key for rule in ALERTS.values() for key in rule["annotations"]} == needed | optional


def test_the_page_says_when_people_are_told() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    route = CONFIG["route"]
    for child in (*route["routes"], {}):
        wait = {**route, **child}
        first, more = (re.sub(r"(?<=\d)(?=[a-z])", " ", wait[key]) for key in ("group_wait", "group_interval"))
        again = {"1h": "every hour", "12h": "every 12 h", "3d": "every 3 days"}[wait["repeat_interval"]]
        assert f"| `{wait['receiver']}` | after {first} | after {more} | {again} |\n" in page
