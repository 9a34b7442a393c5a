from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from humwatch.alarm.events import AlarmEvent
from humwatch_service.config.webhooks import WebhookSettings, check_webhooks, recipients
from humwatch_service.errors import SettingsInvalid

SECRET = "s3cret-" * 4
PATH = "/services/T0/B0/very-private"
PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"


def webhook(**changes: Any) -> WebhookSettings:
    return WebhookSettings(**{"name": "desk", "url": f"https://hooks.example{PATH}", "secret": SECRET} | changes)


def test_the_table_of_the_documentation_is_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(?: [^|]*)\| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {name: field.description for name, field in WebhookSettings.model_fields.items()}


def test_the_example_of_the_documentation_is_accepted(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert example is not None
    secret = tmp_path / "control-room"
    secret.write_text(f"{SECRET}\n")
    table = tomllib.loads(example[1].replace("/run/secrets/control-room", secret.as_posix()))
    webhooks = TypeAdapter(tuple[WebhookSettings, ...]).validate_python(table["webhooks"])
    check_webhooks(webhooks, table["webhook_hosts"])
    assert webhooks[0].key() == SECRET.encode()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "Desk"}, "pattern"),
        ({"name": "d" * 33}, "pattern"),
        ({"url": "ftp://hooks.example/"}, "scheme"),
        ({"url": "http://hooks.example/"}, "https is needed"),
        ({"url": "http://192.168.0.9/"}, "https is needed"),
        ({"url": "https://me:hidden@hooks.example/"}, "user name or password"),
        ({"url": "https://me@hooks.example/"}, "user name or password"),
        ({"secret": None}, "either secret or secret_file"),
        ({"secret_file": "x"}, "either secret or secret_file"),
        ({"secret": "c" * 23}, "24 characters"),
        ({"secret": "whsec_****"}, "no base64"),
        ({"secret": "whsec_" + base64.b64encode(b"k" * 23).decode()}, "24 to 64 bytes"),
        ({"secret": "whsec_" + base64.b64encode(b"k" * 65).decode()}, "24 to 64 bytes"),
        ({"machines": ("../fan",)}, "pattern"),
        ({"events": ()}, "at least 1"),
        ({"events": ("exploded",)}, "raised"),
        ({"timeout_s": 0}, "greater than 0"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_what_cannot_be_is_refused_without_repeating_it(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match) as caught:
        webhook(**changes)
    for value in ("hidden", "very-private", SECRET, changes.get("secret") or SECRET):
        assert value not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:9000/x", "http://127.0.0.1/x", "http://[::1]:80/x"])
def test_loopback_needs_no_encryption(url: str) -> None:
    assert webhook(url=url).url.scheme == "http"


def test_plain_http_can_be_allowed() -> None:
    assert webhook(url="http://192.168.0.9/", allow_http=True).host == "192.168.0.9"


def test_neither_secret_nor_url_is_shown() -> None:
    shown = repr(webhook()) + str(webhook())
    assert "desk" in shown
    assert SECRET not in shown
    assert "very-private" not in shown


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://Hooks.Example./x", "hooks.example", 443),
        ("https://hooks.example:8443/x", "hooks.example", 8443),
        ("https://[FD00::0:1]/x", "fd00::1", 443),
        ("https://0x7f.1/", "127.0.0.1", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
    ],
)
def test_host_and_port_have_one_spelling(url: str, host: str, port: int) -> None:
    assert (webhook(url=url).host, webhook(url=url).port) == (host, port)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example/", ["hooks.example"]),
        ("https://hooks.example:99/", ["other.example", "HOOKS.example."]),
        ("https://hooks.example:99/", ["hooks.example:99"]),
        ("https://hooks.example/", ["hooks.example:443"]),
        ("https://[fd00::1]:8443/", ["[fd00:0::1]:8443"]),
        ("https://bücher.example/", ["bücher.example"]),
    ],
)
def test_hosts_of_the_list_are_allowed(url: str, allowed: list[str]) -> None:
    check_webhooks([webhook(url=url)], allowed)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example/", []),
        ("https://hooks.example/", ["example"]),
        ("https://hooks.example.evil.example/", ["hooks.example"]),
        ("https://hooks.example:99/", ["hooks.example:98"]),
        ("https://evil.example\\@hooks.example/", ["hooks.example"]),
        ("https://evil.example/?hooks.example", ["hooks.example"]),
    ],
)
def test_other_hosts_are_refused_by_name(url: str, allowed: list[str]) -> None:
    with pytest.raises(SettingsInvalid, match=r"desk: \S+ is not in webhook_hosts"):
        check_webhooks([webhook(url=url)], allowed)


@pytest.mark.parametrize(
    "entry", ["*", "*.example", "https://hooks.example", "hooks.example/x", "::1", "a@b", "a%b", ""]
)
def test_entries_that_are_no_hosts_are_refused(entry: str) -> None:
    with pytest.raises(SettingsInvalid, match="webhook_hosts"):
        check_webhooks([webhook()], ["hooks.example", entry])


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsInvalid, match="two are called desk"):
        check_webhooks([webhook(), webhook()], ["hooks.example"])


@pytest.mark.parametrize("content", [b"short", b"", b"\xff" * 30, None])
def test_a_file_without_a_secret_is_refused_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match="desk: secret_file"):
        check_webhooks([webhook(secret=None, secret_file=path)], ["hooks.example"])


def test_authorities_that_cannot_be_read_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="desk: ca_file"):
        check_webhooks([webhook(ca_file=tmp_path / "none.pem")], ["hooks.example"])


def test_a_webhook_hears_of_its_machines_and_kinds() -> None:
    some = webhook(machines=("fan-1",), events=("raised", "acknowledged"))
    assert some.wants("fan-1", "raised")
    assert not some.wants("fan-2", "raised")
    assert not some.wants("fan-1", "cleared")
    every = webhook()
    assert [
        kind for kind in ("raised", "cleared", "realarmed", "unshelved", "shelved") if every.wants("any", kind)
    ] == [
        "raised",
        "cleared",
        "realarmed",
        "unshelved",
    ]


def test_nobody_hears_of_what_is_not_announced() -> None:
    webhooks = [webhook(), webhook(name="audit", events=("raised", "acknowledged"))]

    def heard(kind: Any, announced: bool) -> tuple[str, ...]:
        event = AlarmEvent(kind, 0.0, "normal", "alarm", alarm=1, announced=announced)
        return recipients(webhooks, "fan-1", event)

    assert heard("raised", True) == ("desk", "audit")
    assert heard("raised", False) == ()
    assert heard("acknowledged", False) == ("audit",)


def test_a_webhook_may_leave_out_what_is_about_old_sound() -> None:
    webhooks = [webhook(), webhook(name="now", max_sound_age_s=3_600.0)]
    event = AlarmEvent("raised", 0.0, "normal", "alarm", alarm=1, announced=True)
    assert recipients(webhooks, "fan-1", event) == ("desk", "now")
    assert recipients(webhooks, "fan-1", event, late_s=3_600.0) == ("desk", "now")
    assert recipients(webhooks, "fan-1", event, late_s=3_601.0) == ("desk",)
    with pytest.raises(ValidationError):
        webhook(max_sound_age_s=0.0)
