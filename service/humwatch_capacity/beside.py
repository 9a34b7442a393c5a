"""What else is asked of a service while streams are played to it: by a process of its own, as others would ask."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Final

import httpx
import numpy as np

from humwatch.synthetic import SyntheticMachine
from humwatch_service.protocol.pcm import encoded


class Beside(StrEnum):
    """What a service can be asked beside its streams."""

    SCRAPE = "scrape"
    PAGE = "page"
    COMMISSIONING = "commissioning"


SCRAPE_S: Final = 1.0
COMMISSIONED: Final = "beside-commissioned"
WHO: Final = "humwatch capacity"
MINUTES: Final = 5
CALIBRATION_S: Final = 330.0
RAW_TYPE: Final = "audio/x-raw;format=S16LE;rate={rate_hz};channels=1"
STOPS_S: Final = 10.0


@contextmanager
def asked_beside(kind: Beside, url: str) -> Iterator[None]:
    """Have a service asked until the end; a load that ends by itself is begun anew."""
    with subprocess.Popen([sys.executable, "-m", "humwatch_capacity.beside", kind.value, url]) as process:
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOPS_S)
            process.kill()


def scrape(http: httpx.Client) -> None:
    """Read the metrics as Prometheus does, once a second for a minute."""
    for _ in range(60):
        http.get("/metrics").raise_for_status()
        time.sleep(SCRAPE_S)


def look_on(http: httpx.Client) -> None:
    """Follow all machines as an open page does: what there is, the last hour, then what is new."""
    http.get("/v1/machines").raise_for_status()
    http.get("/v1/fleet/history").raise_for_status()
    with http.stream("GET", "/v1/live", timeout=None) as events:
        for _ in events.iter_raw():
            pass


def commission(http: httpx.Client) -> None:
    """Calibrate a new machine from sound that is sent as fast as it is taken, and fit it."""
    [first, *_] = http.get("/v1/machines").raise_for_status().json()
    order = {"from_machine": first["machine_id"], "minutes": MINUTES, "plan": "in_a_row", "who": WHO}
    path = f"/v1/machines/{COMMISSIONED}"
    http.post(f"{path}/calibration", json=order).raise_for_status()
    machine = SyntheticMachine(7)
    clip = encoded(machine.clip(1, CALIBRATION_S).astype(np.float32)[:, None], "s16le")
    headers = {"Content-Type": RAW_TYPE.format(rate_hz=machine.rate_hz)}
    http.post(f"{path}/stream", params={"realtime": "false"}, content=clip, headers=headers).raise_for_status()
    http.post(f"{path}/calibration:finish", json={"who": WHO}).raise_for_status()
    time.sleep(1.0)


LOADS: Final = {Beside.SCRAPE: scrape, Beside.PAGE: look_on, Beside.COMMISSIONING: commission}


def main(kind: str, url: str) -> None:
    """Ask until the process is ended; a service that refuses is asked again a second later."""
    with httpx.Client(base_url=url, timeout=120.0, trust_env=False) as http:
        while True:
            try:
                LOADS[Beside(kind)](http)
            except httpx.HTTPError as error:
                sys.stderr.write(f"{kind}: {error}\n")
                time.sleep(SCRAPE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
