"""Variables that Kubernetes and Docker's links put into an environment for a service whose name begins with humwatch.

They look like settings and are none. They are known by their names *and* their values, so that a misspelt setting stays
one. It imports little: ``humwatch health`` uses it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

_OWNER: Final = r"(?P<owner>HUMWATCH(?:_[A-Z0-9_]+?)?)"
_PUBLISHED: Final = rf"{_OWNER}_PORT_(?P<port>[0-9]{{1,5}})_(?P<protocol>TCP|UDP|SCTP)"
_ADDRESS: Final = re.compile(
    r"(?P<protocol>tcp|udp|sctp)://(?P<host>\[[0-9a-f:.]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})"
)


def service_links(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the variables that tell of a service, sorted; ``HUMWATCH_PORT=18219`` is none of them."""
    known = {name.upper(): value for name, value in environment.items()}
    return tuple(sorted(name for name, value in environment.items() if _is_link(name.upper(), value, known)))


def without_service_links(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without them."""
    left_out = set(service_links(environment))
    return {name: value for name, value in environment.items() if name not in left_out}


def links_text(names: Iterable[str]) -> str:
    """Say which variables are left out, and how to keep them away."""
    return (
        f"left out: {', '.join(names)}: Kubernetes or Docker set them for a service of that name;"
        " `enableServiceLinks: false` keeps them out of a pod"
    )


def _is_link(name: str, value: str, known: Mapping[str, str]) -> bool:
    return any(
        (found := pattern.fullmatch(name)) is not None and holds(found, value, known) for pattern, holds in _KINDS
    )


def _is_address(found: re.Match[str], value: str, _: Mapping[str, str]) -> bool:
    address = _ADDRESS.fullmatch(value)
    if address is None:
        return False
    named = found.groupdict()
    return named.get("port") in (None, address["port"]) and named.get("protocol") in (None, address["protocol"].upper())


def _is_address_of_end(_: re.Match[str], value: str, __: Mapping[str, str]) -> bool:
    """Return whether it is the address of a range's last port: the name has the number of the first."""
    return _ADDRESS.fullmatch(value) is not None


def _is_ip(_: re.Match[str], value: str, __: Mapping[str, str]) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_port_of_service(found: re.Match[str], value: str, known: Mapping[str, str]) -> bool:
    # By itself this could be a setting that somebody made up: a service has an address as well.
    return value.isascii() and value.isdigit() and _is_ip(found, known.get(f"{found['owner']}_SERVICE_HOST", ""), known)


def _is_port(_: re.Match[str], value: str, __: Mapping[str, str]) -> bool:
    return value.isascii() and value.isdigit()


def _is_protocol(found: re.Match[str], value: str, _: Mapping[str, str]) -> bool:
    return value.upper() == found["protocol"]


def _is_of_docker(found: re.Match[str], value: str, known: Mapping[str, str]) -> bool:
    # The container's name, and its own environment, come with an address of it.
    linked = _ADDRESS.fullmatch(known.get(f"{found['owner']}_PORT", "")) is not None
    return linked and (found["what"] != "NAME" or value.startswith("/"))


_Holds = Callable[[re.Match[str], str, Mapping[str, str]], bool]

_KINDS: Final[tuple[tuple[re.Pattern[str], _Holds], ...]] = tuple(
    (re.compile(pattern), holds)
    for pattern, holds in (
        (rf"{_OWNER}_PORT", _is_address),
        (rf"{_OWNER}_SERVICE_HOST", _is_ip),
        (rf"{_OWNER}_SERVICE_PORT(?:_[A-Z0-9_]+)?", _is_port_of_service),
        (_PUBLISHED, _is_address),
        (rf"{_PUBLISHED}_START", _is_address),
        (rf"{_PUBLISHED}_END", _is_address_of_end),
        (rf"{_PUBLISHED}_PROTO", _is_protocol),
        (rf"{_PUBLISHED}_PORT(?:_START|_END)?", _is_port),
        (rf"{_PUBLISHED}_ADDR", _is_ip),
        (rf"{_OWNER}_(?P<what>NAME|ENV)(?:_\w+)?", _is_of_docker),
    )
)
