"""The shipped Prometheus configuration and rules: complete, tested by promtool, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from humwatch.source.faults import HARD_FAULTS, SOURCE_FAULTS
from humwatch_service.metrics.registry import METRICS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
RULES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((PROMETHEUS / "rules").glob("*.yml"))}
GROUPS = [group for file in RULES.values() for group in file["groups"]]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDED = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}
UNIT_TESTS = {path: yaml.safe_load(path.read_text()) for path in sorted((PROMETHEUS / "tests").glob("*.yml"))}
OTHERS = {"up", "alertmanager_notifications_failed_total", "prometheus_rule_evaluation_failures_total"}
"""Metrics that Prometheus and Alertmanager make."""
ABOUT = {"job", "instance"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not there"
)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def page_of(alert: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert.removeprefix("Humwatch")).lower()


def nodes(expression: Any) -> Iterator[Any]:
    """An expression and all of its parts."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        part = getattr(expression, name, None)
        if part is not None:
            yield from nodes(part)
    for part in getattr(expression, "args", None) or []:
        yield from nodes(part)


def parts(rule: dict[str, Any]) -> list[Any]:
    return list(nodes(promql_parser.parse(rule["expr"])))


def selectors(rule: dict[str, Any]) -> list[Any]:
    return [part for part in parts(rule) if isinstance(part, promql_parser.VectorSelector)]


def sample_of(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


KNOWN = {spec.name: spec for spec in METRICS}
EVERY = {**ALERTS, **RECORDED}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_all_that_people_need(name: str) -> None:
    alert = ALERTS[name]
    assert name.startswith("Humwatch")
    assert {"expr", "for", "keep_firing_for", "labels", "annotations"} <= set(alert)
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["labels"]["category"] in {"anomaly", "source", "service"}
    annotations = alert["annotations"]
    assert len(annotations["summary"]) <= 120
    assert "{{" in annotations["summary"] or name in {"HumwatchServiceMissing", "HumwatchRulesFail"}
    assert annotations["description"].strip().endswith((".", "{{ end }}"))
    link = "{{ or $labels.humwatch_url $externalLabels.humwatch_url }}"
    assert annotations["runbook_url"] == f"{link}/runbooks/{page_of(name)}"
    for text in (value for key, value in annotations.items() if key.endswith("_url")):
        assert text.startswith(f"{link}/")


def test_names_are_used_once() -> None:
    rules = [rule for group in GROUPS for rule in group["rules"]]
    assert len(rules) == len(EVERY)
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_names_say_level_metric_and_operation(name: str) -> None:
    level, metric, operation = name.split(":")
    assert level in {"machine", "job"}
    assert metric.startswith("humwatch_")
    assert re.fullmatch(r"[a-z0-9_]+", operation)


@pytest.mark.parametrize("name", EVERY)
def test_rules_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    found = selectors(EVERY[name])
    assert found
    for selector in found:
        metric = selector.name
        if metric in RECORDED or metric in OTHERS or metric.startswith("process_"):
            continue
        spec = KNOWN[sample_of(metric) if sample_of(metric) in KNOWN else metric]
        assert (metric != spec.name) == (spec.kind == "histogram")
        assert {matcher.name for matcher in selector.matchers.matchers} <= {*spec.labels, *ABOUT}


def test_each_part_of_a_rule_is_looked_at() -> None:
    left = "histogram_quantile(0.9, sum by (le) (rate(a[5m]))) > -b"
    rule = {"expr": f"{left} unless on (x) (quantile_over_time(0.5, c[1d:5m]) == (1 + absent(d)))"}
    assert [selector.name for selector in selectors(rule)] == ["a", "b", "c", "d"]


def test_hard_and_soft_faults_are_those_of_the_service() -> None:
    hard = "|".join(sorted(HARD_FAULTS))
    found = {
        (matcher.value if matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe) else "")
        for rule in ALERTS.values()
        for selector in selectors(rule)
        for matcher in selector.matchers.matchers
        if matcher.name == "fault"
    }
    assert {"|".join(sorted(value.split("|"))) for value in found if value} == {hard}
    for name, faults in (
        ("HumwatchSourceFaulty", HARD_FAULTS),
        ("HumwatchSourceDoubtful", set(SOURCE_FAULTS) - HARD_FAULTS),
    ):
        tested = {
            expected["exp_labels"]["fault"]
            for alert, expected in expectations()
            if alert["alertname"] == name and expected is not None
        }
        assert tested == faults  # each has advice of its own


def expectations() -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each alert test with each alert that it expects, None where it expects none."""
    for file in UNIT_TESTS.values():
        for case in file["tests"]:
            for alert in case.get("alert_rule_test", []):
                yield from ((alert, expected) for expected in alert["exp_alerts"] or [None])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    fires = {expected is not None for alert, expected in expectations() if alert["alertname"] == name}
    assert fires == {True, False}


def test_unit_tests_are_of_alerts_that_exist() -> None:
    assert {alert["alertname"] for alert, _ in expectations()} == set(ALERTS)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_is_compared_with_numbers(name: str) -> None:
    cases = [case for file in UNIT_TESTS.values() for case in file["tests"]]
    asked = [question for case in cases for question in case.get("promql_expr_test", []) if name in question["expr"]]
    assert any(question["exp_samples"] for question in asked)


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_unit_tests_evaluate_all_groups_in_order(path: Path) -> None:
    assert UNIT_TESTS[path]["group_eval_order"] == [group["name"] for group in ordered_groups()]


def ordered_groups() -> list[dict[str, Any]]:
    return [*RULES["recording"]["groups"], *RULES["alerts"]["groups"]]


@pytest.mark.process
@needs_promtool
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_promtool_agrees(path: Path) -> None:
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.process
@needs_promtool
@pytest.mark.parametrize("name", RULES)
def test_promtool_finds_nothing_in_the_rules(name: str) -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", PROMETHEUS / "rules" / f"{name}.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def configuration() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    return loaded


@pytest.mark.process
@needs_promtool
def test_promtool_finds_nothing_in_the_configuration(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    text = (PROMETHEUS / "prometheus.yml").read_text()
    assert text.count("/run/secrets/humwatch_api_key") == 1
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/humwatch_api_key", str(key)))
    checked = promtool("check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rule files found" in checked.stdout


@pytest.mark.process
@needs_promtool
def test_the_way_for_several_boxes_is_valid(tmp_path: Path) -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text()
    one, begin, rest = text.partition("    static_configs:\n      - targets: [humwatch:8000]\n")
    assert begin
    shown = re.search(r"    # file_sd_configs:\n    #   - files: \[boxes/\*\.yml\]\n", rest)
    boxes = re.search(r"    # boxes/hall-1\.yml:\n((?:    #   .*\n)+)", rest)
    assert shown is not None and boxes is not None
    uncommented = shown[0].replace("# ", "", 2)
    (tmp_path / "prometheus.yml").write_text(one + uncommented + rest)
    checked = promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "file_sd_configs" in next(
        job for job in yaml.safe_load(one + uncommented + rest)["scrape_configs"] if job["job_name"] == "humwatch"
    )
    listed = yaml.safe_load(boxes[1].replace("    #   ", ""))
    assert listed == [
        {"targets": ["box-1.plant.example:8000"], "labels": {"humwatch_url": "http://box-1.plant.example:8000"}}
    ]


def test_all_rules_are_loaded_and_all_jobs_are_there() -> None:
    config = configuration()
    assert set(config["rule_files"]) == {f"rules/{name}.yml" for name in RULES}
    assert {job["job_name"] for job in config["scrape_configs"]} == {"humwatch", "prometheus", "alertmanager"}
    named = {
        matcher.value
        for rule in EVERY.values()
        for selector in selectors(rule)
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert named <= {job["job_name"] for job in config["scrape_configs"]}


def table(name: str) -> list[list[str]]:
    """The rows of a table of ``docs/monitoring.md``."""
    page = (ROOT / "docs" / "monitoring.md").read_text()
    found = re.search(rf"<!-- begin {name} -->\n(.*?)\n<!-- end {name} -->", page, re.DOTALL)
    assert found is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()[2:]]


def test_the_page_has_every_alert_as_it_is() -> None:
    rows = [[name, severity, category, time, keeps] for name, severity, category, _, time, keeps in table("alerts")]
    assert rows == [
        [
            f"[`{name}`](runbooks/{page_of(name)}.md)",
            *(rule["labels"][key] for key in ("severity", "category")),
            *(rule[key] for key in ("for", "keep_firing_for")),
        ]
        for name, rule in ALERTS.items()
    ]


def test_the_page_has_every_recorded_series() -> None:
    assert [row[0] for row in table("recorded")] == [f"`{name}`" for name in RECORDED]
