"""The page under a path of a host, behind a real nginx: with TLS and the path taken off, and with the path left on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.nginx import NGINX, Ports, nginx
from tests.live_service import MACHINE

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not NGINX, reason="nginx is not installed (scripts/install-test-packages.sh)"),
]


@pytest.fixture(scope="module")
def behind(make_house: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Ports]]:
    """A machine that sounds to a service without a key, behind nginx."""
    ports = Ports.free()
    house = make_house(trusted_proxies="127.0.0.1", public_url=ports.left_on_url, allowed_hosts="localhost")
    with nginx(Path(tmp_path_factory.mktemp("nginx")), ports, house.service.port):
        house.begin()
        yield house, ports


def asked_elsewhere(page: Any, url: str) -> list[str]:
    """What a page asks for that is not below its own address."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_load_state()
    return [address for address in asked if not address.startswith((url, "blob:", "data:"))]


@pytest.mark.parametrize("where", ["url", "left_on_url"])
def test_everything_on_the_page_works_under_a_path(
    window: Any, behind: tuple[Any, Ports], expect: Any, where: str
) -> None:
    house, ports = behind
    url = getattr(ports, where)
    house.calm()
    alarm_id = house.raise_alarm()
    house.calm()
    house.until(lambda: house.http.get(f"/v1/alarms/{alarm_id}/picture.png").status_code == 200)  # it takes a moment
    page = window.open(url, insecure=True)
    expect(page).to_have_url(re.compile(re.escape(f"{url}/ui/")))
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator(".tile")).to_have_count(2)
    assert asked_elsewhere(page, url) == []

    page.goto(f"{url}/ui/#/machines/{MACHINE}")  # its sound, by events of its own
    expect(page.get_by_role("heading", name=MACHINE)).to_be_visible()
    expect(page.locator("#connection")).to_have_text("live")

    page.goto(f"{url}/ui/#/alarms/{alarm_id}")
    picture = page.locator("img.evidence")
    expect(picture).to_be_visible()
    page.wait_for_function("() => document.querySelector('img.evidence').naturalWidth > 0")
    expect(page.get_by_role("link", name="Save sound")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save sound").click()
    assert saved.value.url == f"{url}/v1/alarms/{alarm_id}/clip.flac"
