"""The unit for a box without Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from humwatch_service.config.settings import Settings
from tests.deployment.reading import ROOT

UNIT = ROOT / "docker" / "systemd" / "humwatch.service"
ANALYZE = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def lines() -> list[tuple[str, str, str]]:
    """Section, name and value of every line, in order."""
    section, found = "", []
    for line in UNIT.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append((section, name, value))
    return found


def service(name: str) -> list[str]:
    return [value for section, found, value in lines() if (section, found) == ("Service", name)]


def environment() -> dict[str, str]:
    pairs = (pair.partition("=") for value in service("Environment") for pair in value.split())
    return {name: value for name, _, value in pairs}


def test_it_has_no_more_rights_than_it_needs() -> None:
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "ProtectKernelModules", "RestrictNamespaces"):
        assert service(name) == ["yes"]
    assert service("CapabilityBoundingSet") == service("AmbientCapabilities") == [""]
    assert service("ProtectSystem") == ["strict"]
    assert service("User") == service("Group") == service("StateDirectory") == ["humwatch"]
    assert service("SupplementaryGroups") == ["audio"]
    assert service("SystemCallFilter") == ["@system-service", "~@privileged"]
    assert (service("DevicePolicy"), service("DeviceAllow")) == (["closed"], ["char-alsa rw"])
    assert service("WatchdogSec") == []


def test_it_is_bounded_and_gets_time_to_finish() -> None:
    assert service("MemoryMax") == ["2G"]
    assert service("Restart") == ["on-failure"]
    (stop_s,) = service("TimeoutStopSec")
    assert int(stop_s) >= Settings().shutdown_timeout_s + 15


def test_its_settings_exist_and_its_key_is_a_credential() -> None:
    names = {name for name in environment() if name.startswith("HUMWATCH_")}
    assert names - {"HUMWATCH_CONFIG"} <= {f"HUMWATCH_{name.upper()}" for name in Settings.model_fields}
    (credential,) = service("LoadCredential")
    name, _, path = credential.partition(":")
    assert environment()["HUMWATCH_API_KEYS_FILE"] == f"%d/{name}"
    assert path == "/etc/humwatch/api-key"
    assert environment()["HUMWATCH_STATE_DIR"] == f"%S/{service('StateDirectory')[0]}"
    assert environment()["MPLCONFIGDIR"] == f"%C/{service('CacheDirectory')[0]}"


def rendered(tmp_path: Path, text: str) -> Path:
    """The unit with a program that is here."""
    path = tmp_path / "humwatch.service"
    path.write_text(text.replace("/opt/humwatch/bin/humwatch", shutil.which("true") or "/bin/true"))
    return path


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(ANALYZE), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.process
@needs_systemd
def test_systemd_understands_it(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8")
    done = analyze("verify", "--man=no", rendered(tmp_path, text))
    assert (done.returncode, done.stderr) == (0, "")
    wrong = analyze("verify", "--man=no", rendered(tmp_path, text.replace("NoNewPrivileges", "NoNewPrivilegs")))
    assert "NoNewPrivilegs" in wrong.stderr


@pytest.mark.process
@needs_systemd
def test_systemd_calls_it_little_exposed(tmp_path: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", rendered(tmp_path, UNIT.read_text("utf-8")))
    if "--offline" in done.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    found = re.search(r"exposure level for humwatch\.service: ([0-9.]+)", done.stdout)
    assert found is not None, done
    assert float(found[1]) <= 2.0
