"""Addresses as they are set: networks, URLs, and which hosts are this machine alone."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, HttpUrl


def _network(value: object) -> object:
    """Take an address of a network for the network."""
    return ipaddress.ip_network(value, strict=False) if isinstance(value, str) else value


Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]


def public_url(given: str) -> str:
    """Return the URL that people know the service under, without a slash at its end.

    Raises:
        ValueError: it is none, or has more than a scheme, a host, a port and a path.
    """
    url = _http_url(given)
    if any(part is not None for part in (url.username, url.password, url.query, url.fragment)):
        raise ValueError("a scheme, a host, a port and a path alone, such as https://plant.example/humwatch")
    return str(url).rstrip("/")


def tracing_endpoint(given: str) -> str:
    """Return the URL that traces are sent to: OTLP's own path where only a host is given.

    Raises:
        ValueError: it is none, or has credentials or a query.
    """
    url = _http_url(given)
    if url.username is not None or url.password is not None or url.query is not None:
        raise ValueError("no user name, password or query in the URL: OTEL_EXPORTER_OTLP_HEADERS takes credentials")
    return str(url) if (url.path or "/") != "/" else f"{str(url).rstrip('/')}/v1/traces"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address stands for this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _http_url(given: str) -> HttpUrl:
    try:
        return HttpUrl(given)
    except ValueError:
        raise ValueError("not an http or https URL") from None
