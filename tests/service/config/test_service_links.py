"""Variables that a Kubernetes Service or a docker link called humwatch puts into every container."""

from __future__ import annotations

import os

import pytest

from humwatch_service.cli import health
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.service_links import service_links, without_service_links
from humwatch_service.config.settings import ENV_PREFIX, Settings
from humwatch_service.errors import SettingsInvalid


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


def kubernetes(service: str, host: str, *ports: tuple[int, str, str]) -> dict[str, str]:
    """As the kubelet makes them: of each port number, protocol and name, which may be empty."""
    name = service.upper().replace("-", "_")
    authority = f"[{host}]" if ":" in host else host
    first, protocol, _ = ports[0]
    made = {f"{name}_SERVICE_HOST": host, f"{name}_SERVICE_PORT": str(first)}
    made[f"{name}_PORT"] = f"{protocol}://{authority}:{first}"
    for port, protocol, called in ports:
        if called:
            made[f"{name}_SERVICE_PORT_{called.upper().replace('-', '_')}"] = str(port)
        prefix = f"{name}_PORT_{port}_{protocol.upper()}"
        made |= {prefix: f"{protocol}://{authority}:{port}", f"{prefix}_PROTO": protocol}
        made |= {f"{prefix}_PORT": str(port), f"{prefix}_ADDR": host}
    return made


SETS = {
    "one port": kubernetes("humwatch", "10.96.12.7", (8000, "tcp", "")),
    "several": kubernetes(
        "humwatch", "10.0.0.1", (80, "tcp", "http"), (9090, "tcp", "web-metrics"), (5004, "udp", "rtp")
    ),
    "sctp and IPv6": kubernetes("humwatch", "fd00:10:96::7", (443, "tcp", "https"), (9999, "sctp", "s")),
    "another service": kubernetes("humwatch-metrics", "10.1.2.3", (9100, "tcp", "metrics")),
    "a long name": kubernetes("humwatch-plant-2-port", "10.1.2.3", (8443, "tcp", "")),
    "docker": {
        "HUMWATCH_NAME": "/prometheus/humwatch",
        "HUMWATCH_PORT": "tcp://172.17.0.5:8000",
        "HUMWATCH_PORT_8000_TCP": "tcp://172.17.0.5:8000",
        "HUMWATCH_PORT_8000_TCP_PROTO": "tcp",
        "HUMWATCH_PORT_8000_TCP_PORT": "8000",
        "HUMWATCH_PORT_8000_TCP_ADDR": "172.17.0.5",
        "HUMWATCH_PORT_8000_TCP_START": "tcp://172.17.0.5:8000",
        "HUMWATCH_PORT_8000_TCP_END": "tcp://172.17.0.5:8002",
        "HUMWATCH_PORT_8000_TCP_PORT_START": "8000",
        "HUMWATCH_PORT_8000_TCP_PORT_END": "8002",
        "HUMWATCH_ENV_PYTHON_VERSION": "3.11.16",
        "HUMWATCH_ENV_HUMWATCH_HOST": "0.0.0.0",
    },
}


@pytest.mark.parametrize("links", SETS.values(), ids=SETS)
def test_links_are_left_out_whole_and_named(links: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**links, "HUMWATCH_SCORE_QUEUE": "3"}.items():
        monkeypatch.setenv(name, value)
    configuration = load_configuration()
    assert configuration.service_links == tuple(sorted(links))
    assert (configuration.settings.port, configuration.sources["port"]) == (8000, "default")
    assert configuration.settings.score_queue == 3
    assert health.own_url() == "http://127.0.0.1:8000"


@pytest.mark.parametrize("links", SETS.values(), ids=SETS)
def test_a_port_that_somebody_set_counts(links: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**links, "HUMWATCH_PORT": "18219"}.items():
        if "ENV" not in name and not name.endswith("_NAME"):  # docker's come with an address alone
            monkeypatch.setenv(name, value)
    configuration = load_configuration()
    assert (configuration.settings.port, configuration.sources["port"]) == (18219, "environment")
    assert health.own_url() == "http://127.0.0.1:18219"


@pytest.mark.parametrize("links", [{}, *SETS.values()])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUMWATCH_PORTT", "8000"),
        ("HUMWATCH_PROT", "tcp://10.0.0.1:8000"),
        ("HUMWATCH_PORT_8000", "8000"),
        ("HUMWATCH_PORT_8000_TCPP", "tcp://10.0.0.1:8000"),
        ("HUMWATCH_PORT_8000_TCP_X", "1"),
        ("HUMWATCH_HOSTT", "10.0.0.1"),
        ("HUMWATCH_WEB_PORT", "8000"),
        ("HUMWATCH_PUMP_SERVICE_PORT", "8000"),
        ("HUMWATCH_PUMP_SERVICE_HOST", "pump.example"),
        ("HUMWATCH_API_KEY", "/a/b"),
        ("HUMWATCH_PUMP_NAME", "pump"),
        ("HUMWATCH_PUMP_ENV_X", "1"),
    ],
)
def test_a_misspelt_setting_stays_one(
    links: dict[str, str], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for link, told in {**links, name: value}.items():
        monkeypatch.setenv(link, told)
    with pytest.raises(SettingsInvalid, match=f"{name} is no setting"):
        load_configuration()


@pytest.mark.parametrize(
    "value", ["80x", "tcp://", "http://10.0.0.1:80", "tcp://10.0.0.1:80/x", "-1", "tcp://10.0.0.1:99999999"]
)
def test_a_port_that_is_neither_stays_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PORT", value)
    with pytest.raises(SettingsInvalid, match=r"port \(environment\)"):
        load_configuration()


def test_no_setting_but_the_port_can_be_taken_for_a_link() -> None:
    for value in ("tcp://10.0.0.1:80", "10.0.0.1", "80", "tcp", "/a/b"):
        given = {f"{ENV_PREFIX}{name.upper()}": value for name in Settings.model_fields}
        assert set(service_links(given)) <= {"HUMWATCH_PORT"}
        assert without_service_links({"HUMWATCH_HOST": value, "PATH": "/bin"}) == {
            "HUMWATCH_HOST": value,
            "PATH": "/bin",
        }
