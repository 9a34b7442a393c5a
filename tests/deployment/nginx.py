"""A real nginx with the example of the repository, between a test and a service."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

from tests.deployment.reading import ROOT
from tests.live_service import free_port
from tests.processes import started

EXAMPLE: Final = ROOT / "docker" / "nginx" / "humwatch.conf"
NGINX: Final = shutil.which("nginx") or (shutil.which("nginx", path="/usr/sbin:/sbin") or "")
PATIENCE_S: Final = 30.0

AROUND: Final = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/humwatch.conf;
    {more}
}}
"""

OTHERS: Final = """
    server {{  # as people have it before they read the documentation
        listen 127.0.0.1:{port};
        location /dropped/ {{ proxy_pass http://humwatch/; }}
        location /left-on/ {{
            proxy_pass http://humwatch;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $humwatch_connection;
        }}
    }}
"""


@dataclass(frozen=True)
class Ports:
    """Ports that are chosen before anything is started: a public URL names one."""

    tls: int
    plain: int

    @classmethod
    def free(cls) -> Ports:
        return cls(free_port(), free_port())

    @property
    def url(self) -> str:
        """Where the example shows the service, with TLS."""
        return f"https://localhost:{self.tls}/humwatch"

    @property
    def dropped_url(self) -> str:
        """Where a proxy drops `Upgrade`, and all headers that say who asked."""
        return f"http://localhost:{self.plain}/dropped"

    @property
    def left_on_url(self) -> str:
        """Where a proxy leaves the path on requests."""
        return f"http://localhost:{self.plain}/left-on"


def adapted(ports: Ports, service_port: int, folder: Path) -> str:
    """The example with what is marked as the reader's own, and with nothing else changed."""
    text = EXAMPLE.read_text("utf-8")
    for theirs, ours in {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{service_port};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports.tls} ssl;",
        "server_name plant.example;": "server_name localhost;",
        "/etc/nginx/tls/plant.example.crt": f"{folder}/localhost.crt",
        "/etc/nginx/tls/plant.example.key": f"{folder}/localhost.key",
    }.items():
        (line,) = [line for line in text.splitlines() if theirs in line]
        assert "# yours" in line
        text = text.replace(theirs, ours)
    return text


@contextmanager
def nginx(folder: Path, ports: Ports, service_port: int) -> Iterator[Path]:
    """Run it; gives the file of the authority that the certificate is of."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "localhost.key")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "localhost.crt").write_bytes(chain)
    (folder / "humwatch.conf").write_text(adapted(ports, service_port, folder))
    config = folder / "nginx.conf"
    user = "user root;" if folder.owner() == "root" else ""
    config.write_text(AROUND.format(folder=folder, user=user, more=OTHERS.format(port=ports.plain)))
    with started([NGINX, "-e", folder / "error.log", "-p", folder, "-c", config]) as program:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (_listens(ports.tls) and _listens(ports.plain)):
            assert program.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        yield folder / "authority.pem"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
