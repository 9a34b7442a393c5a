from __future__ import annotations

import os
from pathlib import Path

import pytest

from humwatch_service.config.addresses import is_loopback
from humwatch_service.config.layers import CONFIG_VARIABLE, load_configuration
from humwatch_service.config.settings import ENV_PREFIX, Settings, check_exposure
from humwatch_service.errors import ApiKeyRequired, SettingsInvalid

KEY = "k" * 24


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


def test_every_setting_is_described() -> None:
    table = load_configuration().table()
    assert len(table) == len(Settings.model_fields)
    assert all(row.description and row.variable == f"HUMWATCH_{row.name.upper()}" for row in table)


def test_settings_with_a_unit_name_it() -> None:
    for name, field in Settings.model_fields.items():
        for suffix, unit in (("_s", "seconds"), ("_hz", "Hz"), ("_bytes", "bytes")):
            if name.endswith(suffix):
                assert unit in (field.description or ""), name


def test_command_line_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "humwatch.toml"
    file.write_text('port = 1001\nhost = "localhost"\nscore_queue = 3\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    monkeypatch.setenv("HUMWATCH_PORT", "1002")
    monkeypatch.setenv("HUMWATCH_SCORE_WORKERS", "5")
    configuration = load_configuration({"score_workers": 7, "models_dir": None})
    settings = configuration.settings
    assert (settings.score_queue, settings.port, settings.score_workers) == (3, 1002, 7)
    sources = configuration.sources
    assert (sources["score_queue"], sources["port"], sources["score_workers"]) == (
        "file",
        "environment",
        "command line",
    )
    assert sources["models_dir"] == sources["log_level"] == "default"


def test_the_class_itself_reads_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PORT", "1002")
    assert Settings().port == 8000


def test_an_unknown_environment_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_PROT", "1")
    with pytest.raises(SettingsInvalid, match="HUMWATCH_PROT is no setting; did you mean HUMWATCH_PORT"):
        load_configuration()


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "humwatch.toml"
    file.write_text("score_que = 3\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    with pytest.raises(SettingsInvalid, match="did you mean score_queue"):
        load_configuration()


@pytest.mark.parametrize("content", ["port = ", None])
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "humwatch.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    with pytest.raises(SettingsInvalid, match=r"humwatch\.toml"):
        load_configuration()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_HOST", "")
    assert load_configuration().settings.host == "127.0.0.1"


def test_a_bad_value_names_its_setting_and_source_but_not_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_API_KEYS", "short-secret")
    with pytest.raises(SettingsInvalid, match=r"api_keys \(environment\)") as caught:
        load_configuration()
    assert "short-secret" not in str(caught.value)


@pytest.mark.parametrize("text", [f"{KEY}, {KEY}2", f'["{KEY}", "{KEY}2"]'])
def test_api_keys_are_a_comma_list_or_a_json_list(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HUMWATCH_API_KEYS", text)
    assert load_configuration().settings.keys() == (KEY, f"{KEY}2")


def test_api_keys_come_from_a_file_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# for the plant\n{KEY}\n\n{KEY}2\n")
    assert Settings(api_keys_file=file).keys() == (KEY, f"{KEY}2")


@pytest.mark.parametrize("content", ["", "short\n", None])
def test_a_file_without_keys_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsInvalid, match="api_keys_file"):
        Settings(api_keys_file=file).keys()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_API_KEYS", KEY)
    configuration = load_configuration()
    assert KEY not in repr(configuration)
    assert KEY not in repr(configuration.table())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "plant.example"])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    with pytest.raises(ApiKeyRequired, match="HUMWATCH_API_KEYS"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, api_keys=(KEY,)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Settings(host=host))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (("fan-1", "a", ""), ("fan-1", "b", ""), "two watched folders are of fan-1"),
        (("fan-1", "a", "delete = true"), ("fan-2", "a", ""), "what the other has not heard"),
        (("fan-1", "a", "channel = 0"), ("fan-2", "a", "channel = 1"), None),  # a stereo recorder between two machines
        (("fan-1", "a", "delete = true"), ("fan-2", "a/b", "delete = true"), None),
    ],
)
def test_watched_folders_that_are_in_each_others_way_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: tuple[str, str, str],
    second: tuple[str, str, str],
    reason: str | None,
) -> None:
    tables = [
        f'[[sources]]\nkind = "folder"\nmachine = "{machine}"\nfolder = "{tmp_path / folder}"\n{more}\n'
        for machine, folder, more in (first, second)
    ]
    file = tmp_path / "humwatch.toml"
    file.write_text("".join(tables))
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    if reason is None:
        assert len(load_configuration().settings.sources) == 2
        return
    with pytest.raises(SettingsInvalid, match=reason):
        load_configuration()
