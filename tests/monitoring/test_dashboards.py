from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt
import promql_parser
import pytest
import yaml

from humwatch.alarm.events import EVENT_KINDS, MACHINE_STATES
from humwatch.source.faults import HARD_FAULTS, SOURCE_FAULTS
from humwatch_dashboards import DASHBOARDS, expressions, palette, render
from humwatch_dashboards.expressions import fill, queries
from humwatch_dashboards.panels import laid_out
from humwatch_dashboards.service import service
from humwatch_service.app import create_app
from humwatch_service.config.settings import Settings
from humwatch_service.metrics.live import VERDICTS
from humwatch_service.metrics.registry import METRICS, PROCESS_METRICS
from humwatch_service.metrics.shadow import BY

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "docker/grafana"
DOCUMENTS: dict[str, dict[str, Any]] = {name: json.loads(render(build())) for name, build in DASHBOARDS.items()}
VALUES = {"machine_id": "fan-1", "instance": "box:8000", "__rate_interval": "1m"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SCRAPED_LABELS = {"job", "instance"}
BUILT_IN = {"__rate_interval", "__url_time_range", "__field", "__value", "__data"}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in DOCUMENTS.values():
        for panel in document["panels"]:
            yield f"{document['title']}: {panel['title']}", panel


def links(value: Any) -> Iterator[str]:
    """Every address in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "url":
                yield inner
            else:
                yield from links(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links(inner)


def rules() -> set[str]:
    text = (ROOT / "docker/prometheus/rules/recording.yml").read_text()
    return {rule["record"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}


def selectors(expression: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def test_what_is_on_the_disk_is_what_the_code_builds() -> None:
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == set(DASHBOARDS)
    for name, build in DASHBOARDS.items():
        assert (GRAFANA / "dashboards" / name).read_bytes() == render(build()).encode(), f"{name}: make dashboards"


@pytest.mark.process
def test_the_command_writes_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "humwatch_dashboards", str(tmp_path / "new")]
    told = subprocess.run(command, cwd=GRAFANA, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [str(tmp_path / "new" / name) for name in DASHBOARDS]
    for name in DASHBOARDS:
        assert (tmp_path / "new" / name).read_bytes() == (GRAFANA / "dashboards" / name).read_bytes()


def test_names_and_numbers_are_given_once() -> None:
    for key in ("uid", "title"):
        assert len({document[key] for document in DOCUMENTS.values()}) == len(DOCUMENTS)
    for document in DOCUMENTS.values():
        for key in ("id", "title"):
            assert len({panel[key] for panel in document["panels"]}) == len(document["panels"])


def test_panels_fill_the_grid_without_overlap() -> None:
    for document in DOCUMENTS.values():
        taken: set[tuple[int, int]] = set()
        for panel in document["panels"]:
            place = panel["gridPos"]
            xs = range(place["x"], place["x"] + place["w"])
            ys = range(place["y"], place["y"] + place["h"])
            cells = set(itertools.product(xs, ys))
            assert not cells & taken, panel["title"]
            taken |= cells
        height = max(y for _, y in taken) + 1
        assert taken == set(itertools.product(range(24), range(height)))


def test_a_shelf_that_is_not_full_is_refused() -> None:
    with pytest.raises(ValueError, match="0 columns wide"):
        laid_out(service(), [(4, [])])


def test_every_panel_explains_itself_and_says_when_there_is_no_data() -> None:
    for name, panel in panels():
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"].endswith("."), name
        assert defaults["unit"], name
        assert defaults["noValue"], name


def test_missing_data_is_not_bridged_and_no_old_value_is_the_present() -> None:
    for name, panel in panels():
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if panel["type"] == "timeseries":
            assert custom["spanNulls"] is False, name
        if panel["type"] == "stat":
            assert panel["options"]["reduceOptions"] == {"calcs": ["last"], "fields": "", "values": False}, name
        ranged = panel["type"] in {"timeseries", "state-timeline"}
        for target in panel["targets"]:
            assert "vector(" not in target["expr"], name
            assert target["range"] is not target["instant"], name
            assert target["range"] is ranged or "@ end()" in target["expr"], name


def test_every_question_is_asked_of_the_chosen_data_source_and_parses() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for name, panel in panels():
        assert panel["datasource"] == chosen, name
        references = [target["refId"] for target in panel["targets"]]
        assert references == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(references)]), name
        assert references, name
        assert all(target["datasource"] == chosen for target in panel["targets"]), name
    for document in DOCUMENTS.values():
        assert all(one["datasource"] == chosen for one in document["annotations"]["list"])
        for _, expression in queries(document):
            promql_parser.parse(fill(expression, VALUES))


def test_every_series_exists_with_its_labels() -> None:
    specs = {f"{one.name}{suffix}": one for one in (*METRICS, *PROCESS_METRICS) for suffix in SUFFIXES[one.kind]}
    recorded = rules()
    asked = set()
    for document in DOCUMENTS.values():
        for place, expression in queries(document):
            for selector in selectors(fill(expression, VALUES)):
                asked.add(selector.name)
                labels = {matcher.name for matcher in selector.matchers.matchers}
                assert "job" in labels, place
                if selector.name in specs:
                    known = SCRAPED_LABELS | set(specs[selector.name].labels) | {"le"}
                    assert labels <= known, f"{place}: {selector.name}"
                else:
                    assert selector.name in recorded | {"up"}, f"{place}: {selector.name}"
                    assert labels <= SCRAPED_LABELS | {"machine_id"}, f"{place}: {selector.name}"
    shown = {spec for name, spec in specs.items() if name in asked}
    not_shown = {one.name for one in METRICS if one not in shown}
    assert not_shown <= NOT_SHOWN, "a metric that no panel shows"


NOT_SHOWN = {
    "humwatch_page_events_dropped_total",  # of the page, which says so itself
    "humwatch_page_viewers",
    "humwatch_alarms_raised_total",  # by detector, which each alarm names
    "humwatch_anomaly_score_raw",  # on the scale of the model
    "humwatch_audio_last_sample_timestamp_seconds",  # as age, by a recording rule
    "humwatch_source_faults_total",  # as faults over time
}


def test_label_values_in_questions_exist() -> None:
    known = {
        "state": set(MACHINE_STATES),
        "fault": set(SOURCE_FAULTS),
        "level": {"warn", "alarm"},
        "event": set(EVENT_KINDS),
        "verdict": set(VERDICTS),
        "by": set(BY),
    }
    for document in DOCUMENTS.values():
        for place, expression in queries(document):
            for selector in selectors(fill(expression, VALUES)):
                for matcher in selector.matchers.matchers:
                    if matcher.name in known:
                        assert matcher.value in known[matcher.name], place


def test_variables_that_are_used_are_there_and_the_other_way_round() -> None:
    for name, document in DOCUMENTS.items():
        defined = {variable["name"] for variable in document["templating"]["list"]}
        text = json.dumps({key: value for key, value in document.items() if key != "templating"})
        queries = json.dumps([v.get("query") for v in document["templating"]["list"]])
        used = set(re.findall(r"\$\{?(\w+)", text + queries)) - BUILT_IN
        assert used == defined, name
        assert all(v["label"] and v["description"] for v in document["templating"]["list"]), name


def test_links_between_dashboards_keep_choices_and_time() -> None:
    uids = {document["uid"] for document in DOCUMENTS.values()}
    seen = set()
    for document in DOCUMENTS.values():
        assert (
            document["links"][0] | {"type": "dashboards", "includeVars": True, "keepTime": True} == document["links"][0]
        )
        assert set(document["links"][0]["tags"]) <= set(document["tags"])
        for url in links(document):
            if url.startswith("/d/"):
                parts = urlsplit(url)
                assert parts.path.removeprefix("/d/") in uids
                chosen = {key for key, _ in parse_qsl(parts.query)}
                assert chosen == {"var-machine_id", "var-instance"}
                kept = ("${datasource:queryparam}", "${humwatch_url:queryparam}", "${__url_time_range}")
                assert all(one in url.split("&") for one in kept)
                seen.add(parts.path)
    assert seen == {"/d/humwatch-machine"}


def test_links_to_the_service_lead_to_paths_that_it_has(tmp_path: Path) -> None:
    paths = set(create_app(Settings(models_dir=tmp_path, state_dir=tmp_path)).openapi()["paths"])
    seen = set()
    for document in DOCUMENTS.values():
        for url in links(document):
            if url and not url.startswith("/d/"):
                path = re.sub(r"\$\{(machine_id|__value\.text)\}", "{machine_id}", url)
                assert path.startswith("${humwatch_url:raw}/"), url
                seen.add(path.removeprefix("${humwatch_url:raw}"))
    latest = "/v1/machines/{machine_id}/alarms/latest"
    assert {latest, f"{latest}/clip.flac", f"{latest}/picture.png"} <= seen
    assert seen <= paths, seen - paths


def test_every_state_fault_and_judgement_has_a_text_a_colour_and_a_number_of_its_own() -> None:
    assert {state.name for state in palette.STATES} == set(MACHINE_STATES)
    assert {fault.name for fault in palette.FAULTS} == set(SOURCE_FAULTS)
    assert {verdict.name for verdict in palette.VERDICTS} == set(VERDICTS)
    assert {by.name for by in palette.RAISED_BY} == set(BY)
    for shown in (palette.STATES, (*palette.FAULTS, palette.NO_FAULT), palette.VERDICTS, palette.RAISED_BY):
        for key in ("value", "text"):
            assert len({getattr(one, key) for one in shown}) == len(shown)
    assert len({state.colour for state in palette.STATES}) == len(palette.STATES)
    assert [one.value for one in palette.STATES] == sorted((one.value for one in palette.STATES), reverse=True)
    hard = {fault.name for fault in palette.FAULTS if fault.colour == palette.RED}
    assert hard == HARD_FAULTS


def test_panels_of_states_show_all_of_them_in_words() -> None:
    words = {str(state.value): state.text for state in palette.STATES}
    shown = []
    for name, panel in panels():
        for mappings in all_mappings(panel):
            texts = {
                key: value["text"]
                for one in mappings
                if one["type"] == "value"
                for key, value in one["options"].items()
            }
            if "ALARM" in texts.values():
                assert texts == words, name
                shown.append(name)
    assert shown == ["Humwatch Fleet: All machines", "Humwatch Machine: State", "Humwatch Machine: State over time"]


def all_mappings(panel: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    yield panel["fieldConfig"]["defaults"].get("mappings", [])
    for override in panel["fieldConfig"]["overrides"]:
        yield from (one["value"] for one in override["properties"] if one["id"] == "mappings")


def test_a_tile_has_the_colour_of_its_state() -> None:
    tiles = next(panel for _, panel in panels() if panel["title"].startswith("Machines, the one"))
    overrides = {one["matcher"]["options"]: one["properties"] for one in tiles["fieldConfig"]["overrides"]}
    for state in palette.STATES:
        matching = [
            properties
            for pattern, properties in overrides.items()
            if re.search(pattern.strip("/"), f"fan-1 · {state.name}")
        ]
        assert matching == [[{"id": "color", "value": {"mode": "fixed", "fixedColor": state.colour}}]]


SIGHT: dict[str, npt.NDArray[np.float64]] = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What is left of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""


def cielab(colour: str, sight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(sight @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_states_can_be_told_apart_by_who_sees_few_colours(sight: str) -> None:
    seen = {state.name: cielab(state.colour, SIGHT[sight]) for state in palette.STATES}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 30, (one, other)


def test_expressions_for_a_test_are_all_of_them_without_variables() -> None:
    given = expressions(machine_id="fan-1", instance="box:8000", interval="15s")
    assert len(given) == sum(len(list(queries(document))) for document in DOCUMENTS.values())
    assert not [expression for _, _, expression in given if "$" in expression]
    text = "\n".join(expression for _, _, expression in given)
    assert all(value in text for value in ("fan-1", "box:8000", "[15s]"))
    places = {place for _, place, _ in given}
    assert {"annotation Alarms raised", "variable machine_id", "Score and levels"} <= places
    with pytest.raises(KeyError, match="forgotten"):
        fill("up{job=~'${forgotten:regex}'}", VALUES)


def test_annotations_overlap_so_that_no_event_falls_between_two_steps() -> None:
    for annotation in DOCUMENTS["machine.json"]["annotations"]["list"]:
        window = re.search(r"\[(\d+)s\]", annotation["expr"])
        assert window is not None
        assert int(window[1]) >= int(annotation["step"].removesuffix("s")) + 2 * 5


def test_fleet_and_machine_refresh_by_themselves_and_share_a_cross_hair() -> None:
    hours = {"fleet.json": 1, "machine.json": 6, "service.json": 1}
    for name, document in DOCUMENTS.items():
        assert document["refresh"] == "5s"
        assert document["graphTooltip"] == 1
        assert document["time"] == {"from": f"now-{hours[name]}h", "to": "now"}
        assert document["editable"] is False


def test_provisioning_brings_the_data_source_that_the_dashboards_choose_first() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/humwatch.yml").read_text())["datasources"]
    default = next(one for one in sources if one.get("isDefault"))
    assert default["type"] == "prometheus"
    assert default["jsonData"]["timeInterval"] == "5s"
    for document in DOCUMENTS.values():
        variable = next(one for one in document["templating"]["list"] if one["type"] == "datasource")
        assert variable["current"]["value"] == default["uid"] == "humwatch-prometheus"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/humwatch.yml").read_text())["providers"]
    assert provider["folder"] == "Humwatch"
    assert provider["allowUiUpdates"] is False


def test_the_page_about_dashboards_names_each_and_each_variable() -> None:
    page = (ROOT / "docs/dashboards.md").read_text()
    for document in DOCUMENTS.values():
        assert document["uid"] in page
        assert document["title"].removeprefix("Humwatch ") in page
        assert all(f"`{variable['name']}`" in page for variable in document["templating"]["list"])
