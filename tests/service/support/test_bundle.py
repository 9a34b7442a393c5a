from __future__ import annotations

import base64
import json
import os
import socket
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner, Result

from humwatch_service.cli.main import app
from humwatch_service.config.secrets import secrets_of_text
from humwatch_service.storage.store import FILE, StateStore
from humwatch_service.support import bundle as support_bundle
from humwatch_service.support import facts as support_facts
from humwatch_service.telemetry.redaction import Redactor

KEY = 'k3y+/with"quote-and-24-characters'
FILED_KEY = "filed-key-0123456789-abcdef"
WHSEC = "whsec_" + base64.b64encode(bytes(range(200, 232))).decode()
PLAIN_SECRET = "a plain secret of 24 characters"
FILED_SECRET = "the-secret-of-a-file-0123456789"
URL_SECRET = "T0000SECRET/B0000SECRET/XyZsecretXyZ"
QUERY_SECRET = "QuErYsEcReT0123456789"
OTLP_SECRET = "otlp-header-secret-42"
SECRETS = (KEY, FILED_KEY, WHSEC, PLAIN_SECRET, FILED_SECRET, URL_SECRET, QUERY_SECRET, OTLP_SECRET)
PEOPLE = ("Alice Operator", "the bearing was noisy since Bob forgot the oil")


@pytest.fixture(autouse=True)
def a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder that everything is under, and no setting from outside."""
    for name in list(os.environ):
        if name.startswith(("HUMWATCH_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HUMWATCH_PORT", "1")
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HUMWATCH_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def contents(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def bundled(path: Path, *arguments: object) -> dict[str, str]:
    done = doctor("--bundle", path, *arguments)
    assert done.exit_code == 0, done.output
    return contents(path)


BEFORE = ("", "a", "ab", "user:")


def forms(secret: str) -> Iterator[str]:
    """How a secret may be written in a log."""
    data = secret.encode()
    yield from (secret, quote(secret, safe=""), quote(secret), data.hex(), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (encode(before.encode() + data).decode() for before in BEFORE)


def traces(secret: str) -> Iterator[str]:
    """What must not be left of it; of base64 the part that does not depend on its neighbours."""
    yield from (form for form in forms(secret) if len(secret) <= len(form))
    for before in BEFORE:
        encoded = base64.b64encode(f"{before}{secret}".encode()).decode().rstrip("=")[:-2]
        yield encoded[8:] if len(encoded) >= 24 else encoded


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and webhooks with secrets in every place that takes one."""
    (folder / "keys").write_text(f"# of the line\n{FILED_KEY}\n")
    (folder / "webhook-secret").write_text(FILED_SECRET)
    (folder / "humwatch.toml").write_text(
        f"""
api_keys_file = "{folder}/keys"
webhook_hosts = ["hooks.example.com"]
[[webhooks]]
name = "chat"
url = "https://hooks.example.com/services/{URL_SECRET}"
secret = "{WHSEC}"
[[webhooks]]
name = "plain"
url = "https://hooks.example.com/in?token={QUERY_SECRET}"
secret = "{PLAIN_SECRET}"
[[webhooks]]
name = "filed"
url = "https://hooks.example.com/in"
secret_file = "{folder}/webhook-secret"
"""
    )
    monkeypatch.setenv("HUMWATCH_CONFIG", str(folder / "humwatch.toml"))
    monkeypatch.setenv("HUMWATCH_API_KEYS", json.dumps([KEY]))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={OTLP_SECRET}")


def state_with(folder: Path, *machine_ids: str) -> None:
    """A database in which people and strangers wrote secrets wherever they could."""
    store = StateStore(folder)
    for machine_id in machine_ids:
        store.note(machine_id, "shelved", 1.0, PEOPLE[0], f"{PEOPLE[1]} {KEY}", details={"note": f"{KEY} {PEOPLE[0]}"})
    store.close()


def everywhere(secrets: tuple[str, ...], home: Path) -> str:
    """A log that leaks each secret in each form, in JSON and in text."""
    lines = []
    for secret in secrets:
        for form in forms(secret):
            lines += [json.dumps({"event": "request", "path": f"/x?k={form}", form: [form]}), f"a text of {form} here"]
    lines += [
        json.dumps({"event": "acknowledged", "who": PEOPLE[0], "client": "192.0.2.77"}),
        f"acknowledged who='{PEOPLE[0]}' client=192.0.2.77",
        "GET / Authorization: Bearer unknown-token-0123456789 X-API-Key: unknown-token-0123456789",
        "see https://bob:unknown-token-0123456789@example.com/ and password=unknown-token-0123456789",
        f'File "{home}/humwatch/x.py" and /home/carol/y and {home}',
        "-----BEGIN PRIVATE KEY-----\nunknown-token-0123456789\n-----END PRIVATE KEY-----",
    ]
    return "\n".join(lines) + "\n"


def assert_clean(files: dict[str, str], home: Path, secrets: tuple[str, ...] = SECRETS) -> None:
    for name, text in files.items():
        for secret in secrets:
            for form in traces(secret):
                assert form.lower() not in text.lower(), (name, form)
        for private in (str(home), "carol", "192.0.2.77", *PEOPLE, "unknown-token-0123456789"):
            assert private not in text, (name, private)


def test_nothing_secret_or_personal_is_in_any_file(
    a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch, make_server: Any
) -> None:
    configure(a_home, monkeypatch)
    state_with(a_home / "state", "fan-1", f"pump-{KEY}")
    (models / f"machine-{FILED_KEY}").mkdir()
    server = make_server(api_keys=(KEY,), models_dir=models)
    monkeypatch.setenv("HUMWATCH_PORT", str(server.port))
    log = a_home / "service.log"
    log.write_text(everywhere(SECRETS, a_home))
    files = bundled(a_home / "b.zip", "--log", log)
    assert set(files) == {
        "README.txt",
        "settings.json",
        "system.json",
        "findings.json",
        "models.json",
        "state.json",
        "service.json",
        "metrics.txt",
        "log.txt",
    }
    assert_clean(files, a_home)
    # and yet it says what it is for
    assert files["log.txt"].count("client-1") == 2
    assert "~/humwatch/x.py" in files["log.txt"]
    assert "humwatch_build_info" in files["metrics.txt"]
    assert json.loads(files["service.json"])["/readyz"]["status"] in (200, 503)
    values = {row["name"]: row for row in json.loads(files["settings.json"])["settings"]}
    assert values["api_keys"] == {"name": "api_keys", "value": ["(redacted)"], "source": "environment"}
    assert [webhook["name"] for webhook in values["webhooks"]["value"]] == ["chat", "plain", "filed"]
    events = json.loads(files["state.json"])["database"]["last_events"]
    assert {event["kind"] for event in events} == {"shelved"}
    assert json.loads(files["models.json"])["machines"]["fan-1"]["manifest"]["files"]["predictor.onnx"]


def test_it_is_whole_private_and_new(a_home: Path, models: Path) -> None:
    path = a_home / "b.zip"
    done = doctor("--bundle", path, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["bundle"] == str(path)
    assert {file["name"]: file["bytes"] for file in said["files"]} == {
        name: len(text.encode()) for name, text in contents(path).items()
    }
    assert said["bytes"] == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "before you send it" in done.stderr
    before = path.read_bytes()
    again = doctor("--bundle", path, "--json")
    assert (again.exit_code, json.loads(again.stdout)["error"]["code"]) == (1, "file_unreadable")
    assert path.read_bytes() == before


def test_what_is_inside_is_told(a_home: Path, models: Path) -> None:
    done = doctor("--bundle", a_home / "b.zip")
    assert done.exit_code == 0
    for name, text in contents(a_home / "b.zip").items():
        assert name in done.stdout
        assert text
    readme = contents(a_home / "b.zip")["README.txt"]
    assert "no sound" in readme
    assert "READ IT BEFORE YOU SEND IT" in readme


def test_a_failed_write_leaves_nothing(a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(support_bundle.os, "fsync", full)
    (a_home / "out").mkdir()
    done = doctor("--bundle", a_home / "out" / "b.zip", "--json")
    assert done.exit_code == 1
    assert "No space left" in json.loads(done.stdout)["error"]["message"]
    assert list((a_home / "out").iterdir()) == []


def test_a_disk_without_links_is_written_as_well(a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(support_bundle.os, "link", no_links)
    (a_home / "out").mkdir()
    assert "README.txt" in bundled(a_home / "out" / "b.zip")
    assert [path.name for path in (a_home / "out").iterdir()] == ["b.zip"]


def test_a_file_that_came_meanwhile_is_not_overwritten(
    a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support_bundle.os.path, "lexists", lambda path: False)
    (a_home / "b.zip").write_text("of somebody else")
    assert doctor("--bundle", a_home / "b.zip").exit_code == 1
    assert (a_home / "b.zip").read_text() == "of somebody else"
    assert [path for path in a_home.iterdir() if path.name.endswith(".part")] == []


def test_a_link_of_somebody_else_is_not_followed(a_home: Path, models: Path) -> None:
    (a_home / "b.zip").symlink_to(a_home / "elsewhere")
    assert doctor("--bundle", a_home / "b.zip").exit_code == 1
    assert not (a_home / "elsewhere").exists()


@pytest.mark.parametrize("arguments", [("--log", "x.log"), ("--bundle", "b.tar")])
def test_bad_usage_is_named(a_home: Path, arguments: tuple[str, ...]) -> None:
    done = doctor(*arguments)
    assert done.exit_code in (1, 2)
    assert not Path("b.tar").exists()


def test_a_log_that_is_not_there_is_named(a_home: Path) -> None:
    done = doctor("--bundle", a_home / "b.zip", "--log", a_home / "nowhere", "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, "file_unreadable")
    assert not (a_home / "b.zip").exists()


@pytest.mark.parametrize("toml", ['api_keys = ["sh0rt-s"]\nport = "x"', 'api_keys = ["sh0rt-s"\nport ='])
def test_an_invalid_configuration_is_in_it_without_its_secrets(
    a_home: Path, monkeypatch: pytest.MonkeyPatch, toml: str
) -> None:
    (a_home / "humwatch.toml").write_text(toml)
    monkeypatch.setenv("HUMWATCH_CONFIG", str(a_home / "humwatch.toml"))
    monkeypatch.delenv("HUMWATCH_PORT")
    log = a_home / "log"
    log.write_text("it was sh0rt-s\n")
    files = bundled(a_home / "b.zip", "--log", log)
    assert set(files) == {"README.txt", "settings.json", "system.json", "log.txt"}
    assert json.loads(files["settings.json"])["error"]["code"] == "settings_invalid"
    assert_clean(files, a_home, ("sh0rt-s",))


def test_a_damaged_database_is_in_it(a_home: Path, models: Path) -> None:
    (a_home / "state").mkdir()
    (a_home / "state" / FILE).write_bytes(b"this is no database" * 1000)
    state = json.loads(bundled(a_home / "b.zip")["state.json"])
    assert state["files_bytes"][FILE] == 19_000
    assert "not a database" in state["database"]["damage"]["error"]["message"]


@pytest.mark.slow
def test_a_database_in_use_is_read_and_left_as_it_is(
    a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support_facts, "LOCKED_S", 0.01)
    state_with(a_home / "state", "fan-1")
    other = sqlite3.connect(a_home / "state" / FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("UPDATE machines SET running = 1")
    state = json.loads(bundled(a_home / "b.zip")["state.json"])
    other.execute("ROLLBACK")
    other.close()
    assert "locked" in json.dumps(state["database"])
    assert state["files_bytes"][FILE] > 0


def test_a_running_service_is_not_disturbed(a_home: Path, models: Path, make_server: Any) -> None:
    make_server(models_dir=models, state_dir=a_home / "state")
    state = json.loads(bundled(a_home / "b.zip")["state.json"])
    assert state["in_use_by_a_service"] is True
    assert state["database"]["schema_version"] >= 1


def test_nothing_is_made_in_a_state_folder_that_rests(a_home: Path, models: Path) -> None:
    state_with(a_home / "state", "fan-1")
    before = {path.name: path.stat().st_size for path in (a_home / "state").iterdir()}
    state = json.loads(bundled(a_home / "b.zip")["state.json"])
    assert state["database"]["rows"]["events"] == 1
    assert {path.name: path.stat().st_size for path in (a_home / "state").iterdir()} == before


def test_hostile_machine_ids_stay_text(a_home: Path, models: Path) -> None:
    hostile = ["../../etc/passwd", "a\nb", "\x1b[31mred", "n" * 10_000, "\u202eevil"]
    state_with(a_home / "state", *hostile)
    (models / "..evil\n").mkdir()
    path = a_home / "b.zip"
    files = bundled(path)
    assert all(name.replace(".", "").isalnum() for name in files)
    events = json.loads(files["state.json"])["database"]["last_events"]
    assert {event["machine_id"] for event in events} == set(hostile)
    assert files["state.json"].isascii()
    assert "\x1b" not in files["state.json"]


def test_a_huge_log_is_its_end(a_home: Path) -> None:
    log = a_home / "log"
    with log.open("wb") as file:
        for number in range(40):
            file.write((f"line {number} ".encode() + b"\xff" * 100_000 + b"\n") * 2)
        file.write(b"x" * 300_000 + b"\nthe last line\n")
    text = bundled(a_home / "b.zip", "--log", log)["log.txt"]
    assert text.endswith("the last line\n")
    assert text.startswith("line ")
    assert len(text) <= support_bundle.MAX_FILE_CHARACTERS + 100
    assert (a_home / "b.zip").stat().st_size < 1 << 20


def test_what_is_too_long_is_cut_and_stays_json(a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support_bundle, "MAX_FILE_CHARACTERS", 500)
    files = bundled(a_home / "b.zip")
    cut = json.loads(files["settings.json"])
    assert (cut["cut"], len(cut["beginning"])) == (True, 500)
    assert cut["characters"] > 500


def test_a_stranger_on_the_port_that_never_ends_is_cut_off(
    a_home: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support_facts, "MAX_ANSWER_BYTES", 100_000)
    stranger = socket.create_server(("127.0.0.1", 0))

    def flood() -> None:
        while True:
            try:
                connection, _ = stranger.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                    while True:
                        connection.sendall(b"x" * 65_536)
                except OSError:
                    pass

    thread = threading.Thread(target=flood)
    thread.start()
    monkeypatch.setenv("HUMWATCH_PORT", str(stranger.getsockname()[1]))
    files = bundled(a_home / "b.zip")
    stranger.shutdown(socket.SHUT_RDWR)
    stranger.close()
    thread.join(20)
    assert files["metrics.txt"] == "x" * 100_000


@pytest.mark.parametrize(
    "said",
    [
        "api_key_required: 0.0.0.0 can be reached from other machines",
        "api_keys (environment): an API key has 16 characters at least",
        "the basic idea, and the bearer of news; cookies are fine",
        'humwatch_anomaly_score_ratio{machine_id="fan-1"} 0.25',
        "https://example.com/v1/machines?limit=3",
    ],
)
def test_what_is_not_secret_stays(said: str) -> None:
    assert Redactor(["another-secret"]).text(said) == said


def test_a_private_key_that_begins_before_the_text_is_taken_out() -> None:
    end = "-----END RSA PRIVATE KEY-----"
    text = (
        f"aaaa\nbbbb\n{end}\nkept\n-----BEGIN PRIVATE KEY-----\ncccc\n{end}\nkept too\n-----BEGIN PRIVATE KEY-----\ndd"
    )
    assert Redactor().text(text) == "(redacted)\nkept\n(redacted)\nkept too\n(redacted)"


@pytest.mark.parametrize("home", ["/", "/root"])
def test_a_short_home_takes_nothing_else_away(home: str) -> None:
    text = "/data/root/x /rooted /etc"
    assert Redactor(home=Path(home)).text(text) == text


def test_quoted_texts_of_a_broken_file_are_found_over_lines() -> None:
    text = 'api_keys = [\n  "first-secret",\n  \'second-secret\'\nhost = "127.0.0.1"\n'
    assert set(secrets_of_text(text)) == {"first-secret", "second-secret"}


def test_a_log_in_utf_16_keeps_no_secret(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMWATCH_API_KEYS", f'["{FILED_KEY}"]')
    log = a_home / "log"
    log.write_text(f"a line\nsomebody sent {FILED_KEY} and left\n", encoding="utf-16")  # as PowerShell's `>` writes it
    text = bundled(a_home / "b.zip", "--log", log)["log.txt"]
    assert text.startswith("a line\nsomebody sent ")
    assert FILED_KEY not in text.replace("\0", "")
