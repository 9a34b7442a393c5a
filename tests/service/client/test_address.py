from __future__ import annotations

import pytest

from humwatch_service.client import ServiceAddress
from humwatch_service.errors import RequestInvalid


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "http://", "http://h:99999", "http://u:p@h", "http://h?x=1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid, match="no address"):
        ServiceAddress(url)


def test_an_address_knows_both_of_its_ways_and_hides_its_key() -> None:
    address = ServiceAddress("https://plant.example/hum/", "k-1")
    assert address.stream_url("a b") == "wss://plant.example/hum/v1/machines/a%20b/stream"
    assert address.post_url("m") == "https://plant.example/hum/v1/machines/m/stream"
    assert address.headers == {"Authorization": "Bearer k-1"}
    assert "k-1" not in repr(address)
    assert not address.shows_its_key
    assert ServiceAddress("http://plant.example", "k").shows_its_key
    assert not ServiceAddress("http://127.0.0.1:1", "k").shows_its_key
