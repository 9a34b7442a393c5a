"""The compose file: what it may do, what it needs, and that its parts fit each other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from humwatch_service.config.layers import load_configuration
from humwatch_service.config.settings import Settings
from tests.deployment.reading import ROOT, read_compose, read_dockerfile

COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FOLLOWED = ("humwatch", "humwatch-gpu")
MIB = 1 << 20

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


@pytest.fixture(autouse=True)
def environment_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HUMWATCH_"):
            monkeypatch.delenv(name)


def of_file(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """Source and options by target."""
    split = (volume.split(":") for volume in SERVICES[name].get("volumes", []))
    return {target: (source, ",".join(options)) for source, target, *options in split}


def networks(name: str) -> dict[str, Any]:
    given = SERVICES[name].get("networks", [])
    return given if isinstance(given, dict) else {network: {} for network in given}


def called(name: str, network: str) -> set[str]:
    """What a service is called by others on a network."""
    if network not in networks(name):
        return set()
    return {name, *networks(name)[network].get("aliases", [])}


@pytest.mark.process
def test_it_follows_the_compose_specification() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_the_profiles_are_those_of_the_documentation() -> None:
    assert {name: service.get("profiles", []) for name, service in SERVICES.items()} == {
        "humwatch": [],
        "humwatch-gpu": ["gpu"],
        "demo": ["demo"],
        "training": ["training"],
        "prometheus": [],
        "alertmanager": [],
        "grafana": [],
    }


@each_service
def test_nobody_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert int(service["user"].partition(":")[0]) > 0
    assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & set(service)
    assert service.get("network_mode") in (None, "none")
    for option in service["tmpfs"]:
        assert {"nosuid", "nodev", "noexec"} < set(option.partition(":")[2].split(",")), option


@each_service
def test_nobody_can_take_the_whole_machine(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] > 0
    # The service follows sound: a quota would make it wait within each period, a set of processors does not.
    assert ("cpuset" in service) is (name in FOLLOWED)
    assert ("cpus" in service) is (name not in FOLLOWED)
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


@each_service
def test_everybody_is_started_again_and_asked_how_it_is(name: str) -> None:
    service = SERVICES[name]
    once = name == "training"
    assert service["restart"] == ("no" if once else "unless-stopped")
    if once:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {"interval", "timeout", "retries", "start_period"} < set(service["healthcheck"])


@each_service
def test_images_are_pinned(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-[a-z0-9-]+)?(@sha256:[0-9a-f]{64})?", service["image"])
    if "build" in service:
        stages = read_dockerfile(ROOT / service["build"]["dockerfile"]).stages
        assert service["build"].get("target", stages[-1].name) in {stage.name for stage in stages}
        assert service["build"]["context"] == "."


def test_our_images_have_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    ours = [service["image"] for service in SERVICES.values() if service["image"].startswith("humwatch:")]
    assert len(ours) == 4
    assert all(image.startswith(f"humwatch:{version[1]}-") for image in ours)


@each_service
def test_what_is_mounted_is_there(name: str) -> None:
    for target, (source, options) in mounts(name).items():
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert options == "ro", target
        else:
            assert source in COMPOSE["volumes"], source
    for secret in SERVICES[name].get("secrets", []):
        assert secret in COMPOSE["secrets"]


def test_everything_that_is_declared_is_used() -> None:
    sources = {source for name in SERVICES for source, _ in mounts(name).values()}
    assert set(COMPOSE["volumes"]) <= sources
    assert set(COMPOSE["secrets"]) == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert set(COMPOSE["networks"]) == {network for name in SERVICES for network in networks(name)}


def test_ports_are_open_to_this_machine_alone_until_somebody_says_otherwise() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {
        "humwatch": ["127.0.0.1:8000:8000"],
        "humwatch-gpu": ["127.0.0.1:8000:8000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "alertmanager": ["127.0.0.1:9093:9093"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    opened = read_compose(PUBLISH_HUMWATCH="0.0.0.0:80")["services"]
    assert opened["humwatch"]["ports"] == ["0.0.0.0:80:8000"]
    assert opened["grafana"]["ports"] == ports["grafana"]


def test_the_network_of_the_monitoring_leads_nowhere() -> None:
    assert COMPOSE["networks"]["monitoring"] == {"internal": True}
    assert [name for name in SERVICES if "monitoring" not in networks(name)] == ["training"]
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert {name for name in SERVICES if "edge" in networks(name)} == published


def test_secrets_are_files_that_are_not_in_the_repository() -> None:
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    assert files == ["./secrets/humwatch_api_key", "./secrets/grafana_admin_password"]
    assert "/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert "HUMWATCH_API_KEYS:" not in text
    assert "GF_SECURITY_ADMIN_PASSWORD:" not in text


def test_no_variable_of_the_file_is_taken_for_a_setting() -> None:
    lines = (ROOT / "docker-compose.yml").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    variables = re.findall(r"\$\{(\w+):-[^}]*\}", text)
    assert len(variables) == text.count("$")
    assert [name for name in variables if name.startswith("HUMWATCH_")] == []


def test_every_variable_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| ([^|]+) \|", page, re.MULTILINE)
    told = {name: default.strip("`") for names, default in rows for name in re.findall(r"[A-Z_]+", names)}
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert told == {
        name: default or {"SERVICE_CPUSET": "all"}.get(name, "pip's own")
        for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text)
    }


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_service_gets_settings_that_hold(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0" * 48 + "\n")
    image = read_dockerfile(ROOT / "docker" / "service.Dockerfile").resolved(SERVICES[name]["build"]["target"])
    given = {**image.environment(), **SERVICES[name]["environment"]}
    ours = {variable: value for variable, value in given.items() if variable.startswith("HUMWATCH_")}
    (config, _) = mounts(name)[ours["HUMWATCH_CONFIG"]]
    for variable, value in {**ours, "HUMWATCH_CONFIG": str(ROOT / config), "HUMWATCH_API_KEYS_FILE": str(key)}.items():
        monkeypatch.setenv(variable, value)
    settings = load_configuration().settings
    assert settings.keys() == ("0" * 48,)
    assert settings.host == "0.0.0.0"
    assert settings.providers == ("cuda" if name == "humwatch-gpu" else "cpu")
    assert {str(settings.state_dir), str(settings.models_dir)} < set(mounts(name))
    assert ours["HUMWATCH_API_KEYS_FILE"] == f"/run/secrets/{SERVICES[name]['secrets'][0]}"


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_the_service_may_receive_at_a_time_fits_into_tmp(name: str) -> None:
    (tmp,) = SERVICES[name]["tmpfs"]
    size = re.search(r"size=(\d+)m", tmp)
    assert size is not None
    bodies = int(SERVICES[name]["environment"]["HUMWATCH_MAX_UPLOADS"]) * Settings().max_body_bytes
    assert bodies < int(size[1]) * MIB < 2048 * MIB
    assert SERVICES[name]["mem_limit"] == "2g"


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_service_gets_time_to_finish(name: str) -> None:
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= Settings().shutdown_timeout_s + 15


def test_the_gpu_has_the_place_of_the_cpu() -> None:
    cpu, gpu = SERVICES["humwatch"], SERVICES["humwatch-gpu"]
    assert "humwatch" in called("humwatch-gpu", "monitoring")
    differ = {key for key in cpu.keys() | gpu.keys() if cpu.get(key) != gpu.get(key)}
    assert differ == {"build", "image", "environment", "networks", "profiles", "deploy"}
    assert all("humwatch" not in str(service.get("depends_on", "")) for service in SERVICES.values())


def test_prometheus_finds_whom_it_asks() -> None:
    config = of_file("docker/prometheus/prometheus.yml")
    names = {alias for name in SERVICES for alias in called(name, "monitoring")} | {"localhost"}
    targets = [target for job in config["scrape_configs"] for target in job["static_configs"][0]["targets"]]
    targets += config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert {"humwatch:8000", "alertmanager:9093"} <= set(targets)
    assert {target.partition(":")[0] for target in targets} <= names
    key = next(job["authorization"]["credentials_file"] for job in config["scrape_configs"] if "authorization" in job)
    assert Path(key).name in SERVICES["prometheus"]["secrets"]
    assert mounts("prometheus")["/etc/prometheus"] == ("./docker/prometheus", "ro")
    assert all((ROOT / "docker" / "prometheus" / rules).is_file() for rules in config["rule_files"])


def test_grafana_finds_its_dashboards_and_data() -> None:
    places = mounts("grafana")
    provisioning = places["/etc/grafana/provisioning"][0]
    provider = of_file(f"{provisioning}/dashboards/humwatch.yml")["providers"][0]
    dashboards = ROOT / places[provider["options"]["path"]][0]
    environment = SERVICES["grafana"]["environment"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert json.loads((dashboards / home.name).read_text("utf-8"))["title"]
    for source in of_file(f"{provisioning}/datasources/humwatch.yml")["datasources"]:
        host = source["url"].removeprefix("http://").partition(":")[0]
        assert "monitoring" in networks(host)
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    password = environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert Path(password).name in SERVICES["grafana"]["secrets"]


def test_an_example_of_the_configuration_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (ROOT / "docker" / "humwatch.toml").read_text("utf-8")
    shown = tmp_path / "humwatch.toml"
    shown.write_text(re.sub(r"^#\+ ?", "", text, flags=re.MULTILINE))
    monkeypatch.setenv("HUMWATCH_CONFIG", str(shown))
    settings = load_configuration().settings
    assert settings.machine("fan-id_00").alarm.latch
    assert [source.kind for source in settings.sources] == ["sound_card", "folder"]
    monkeypatch.setenv("HUMWATCH_CONFIG", str(ROOT / "docker" / "humwatch.toml"))
    assert load_configuration().settings == Settings()
