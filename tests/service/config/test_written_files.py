"""Every text file that a person gives, as Windows' editors and shells write it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

import pytest
from pydantic import HttpUrl

from humwatch_service.cli import health
from humwatch_service.client import ServiceAddress
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.secrets import secrets_of
from humwatch_service.config.settings import ENV_PREFIX, Settings
from humwatch_service.config.webhooks import WebhookSettings, check_webhooks
from humwatch_service.errors import FileUnreadable, SettingsInvalid

KEY: Final = "0123456789abcdef" * 2
WRITTEN: Final = {"Notepad": "utf-8-sig", "PowerShell 5": "utf-16", "with nothing": "utf-8"}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(params=WRITTEN.values(), ids=WRITTEN)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def written(path: Path, text: str, encoding: str) -> Path:
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return path


def hook(**fields: object) -> WebhookSettings:
    return WebhookSettings.model_validate({"name": "desk", "url": HttpUrl("https://hooks.example/x"), **fields})


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    file = written(
        tmp_path / "c.toml", 'port = 18217\n[machines."pumpe"]\n# größer\nalarm = { k = 2, n = 4 }\n', encoding
    )
    monkeypatch.setenv("HUMWATCH_CONFIG", str(file))
    settings = load_configuration().settings
    assert (settings.port, settings.machine("pumpe").alarm.n) == (18217, 4)
    assert health.own_url() == "http://127.0.0.1:18217"


def test_keys(tmp_path: Path, encoding: str) -> None:
    file = written(tmp_path / "keys", f"{KEY}\n  # Schlüssel\n{KEY}2\n", encoding)
    settings = Settings(api_keys_file=file)
    assert settings.keys() == (KEY, f"{KEY}2")
    assert {KEY, f"{KEY}2"} <= set(secrets_of(settings))
    assert ServiceAddress.with_key_file("http://127.0.0.1:9", file).key == KEY


def test_secrets_of_webhooks(tmp_path: Path, encoding: str) -> None:
    assert hook(secret_file=written(tmp_path / "secret", f"{KEY}\n", encoding)).key() == KEY.encode()


def test_authorities_of_webhooks(tmp_path: Path, encoding: str) -> None:
    (authority,) = ssl.create_default_context().get_ca_certs(binary_form=True)[:1]
    file = written(tmp_path / "ca.pem", ssl.DER_cert_to_PEM_cert(authority), encoding)
    trusted = hook(ca_file=file, secret="a secret of 24 characters").trust()
    assert isinstance(trusted, ssl.SSLContext)
    assert trusted.get_ca_certs(binary_form=True) == [authority]


def test_what_is_no_text_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(f"# Schlüssel\n{KEY}\n".encode("cp1252"))
    monkeypatch.setenv("HUMWATCH_CONFIG", str(file))
    with pytest.raises(SettingsInvalid, match=r"file cannot be read: it is not UTF-8 \(line 1.*save it as UTF-8"):
        load_configuration()
    with pytest.raises(SettingsInvalid, match="save it as UTF-8"):
        Settings(api_keys_file=file).keys()
    with pytest.raises(FileUnreadable, match="save it as UTF-8"):
        ServiceAddress.with_key_file("http://127.0.0.1:9", file)
    with pytest.raises(SettingsInvalid, match=r"desk: secret_file: .*save it as UTF-8"):
        check_webhooks([hook(secret_file=file)], ["hooks.example"])


def test_line_ends_of_a_file_of_variables_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PORT", "18217\r")
    monkeypatch.setenv("HUMWATCH_STATE_DIR", "/srv/state\r")
    monkeypatch.setenv("HUMWATCH_API_KEYS", f"\ufeff{KEY},{KEY}2\r")
    monkeypatch.setenv("HUMWATCH_HOST", "\r")
    settings = load_configuration().settings
    assert (settings.port, settings.state_dir, settings.host) == (18217, Path("/srv/state"), "127.0.0.1")
    assert settings.keys() == (KEY, f"{KEY}2")
    assert health.own_url() == "http://127.0.0.1:18217"


def test_a_mark_before_the_name_of_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("\ufeffHUMWATCH_PORT", "18217")
    with pytest.raises(SettingsInvalid, match="byte order mark stands before HUMWATCH_PORT"):
        load_configuration()
