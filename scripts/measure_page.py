"""Measure the page with many machines: what it costs the browser, and whether scoring feels who looks on.

    .venv-dev/bin/python scripts/measure_page.py --machines 64 --minutes 10

Starts the real service with so many machines that share one model, and plays a live stream to each. A stretch is played
without anybody who looks on, one with the page of all machines open in Chromium, which says how busy its main thread
was and how much memory its scripts hold after a collection, and one with a connection to each machine's sound that
reads nothing. The latency of the scores of each is told beside it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from humwatch_capacity.bench import Session, played
from humwatch_capacity.fleet import Fleet, machine_ids
from humwatch_capacity.level import settle
from humwatch_capacity.played_sound import normal_sound
from humwatch_capacity.player import Player, microphones
from humwatch_capacity.process_stats import Usage
from humwatch_capacity.score_ledger import StepGrid, Tally
from humwatch_capacity.service_under_test import serving

FAN = Path(__file__).parents[1] / "models" / "fan-id_00"
GRACE_S = 3.0
OPENING_S = 20.0
"""Until the page shows all machines and has settled."""
COUNTED = re.compile(r"^(humwatch_page_events_dropped_total|humwatch_page_viewers) (\S+)$", re.MULTILINE)


def main() -> None:
    """Measure, and print a line a figure."""
    given = options()
    if given.look_at:
        look(given.look_at, given.machines, given.minutes)
        return
    with tempfile.TemporaryDirectory() as name:
        fleet = Fleet(FAN / "1", Path(name))
        models, settings = fleet.models(given.machines), {"max_load": "1.0", "max_viewers": "1000"}
        with serving(models, Path(name) / "state", Path(name) / "log", settings, given.machines) as service:
            if given.niceness:
                for pid in (os.getpid(), service.pid):
                    os.setpriority(os.PRIO_PROCESS, pid, given.niceness)
                    Path(f"/proc/{pid}/autogroup").write_text(str(given.niceness))
            tally, player, grid = Tally(), Player(), StepGrid.of(fleet.manifest)
            sound = normal_sound(FAN / "examples" / "normal.wav", fleet.manifest.features.rate_hz)
            ids = machine_ids(given.machines)
            session = Session(service, player, tally, Usage.of(service.pid))
            player.add(microphones(service.port, ids, sound, grid, tally, seed=1))
            try:
                settle(session)
                player.play(15.0)
                stretches(session, ids, given)
            finally:
                player.close()


def options() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10.0, help="that the page is open")
    parser.add_argument("--niceness", type=int, default=0, help="-20 to 19, of the service and of the player (root)")
    parser.add_argument("--look-at", metavar="URL", help="only open the page of a service that runs, and measure it")
    return parser.parse_args()


def stretches(session: Session, ids: list[str], given: argparse.Namespace) -> None:
    """Nobody, the page, and who reads nothing."""
    port = session.service.port
    stretch(session, "nobody looks on", 60.0)
    command = [sys.executable, __file__, "--look-at", f"http://127.0.0.1:{port}"]
    command += ["--machines", str(given.machines), "--minutes", str(given.minutes + OPENING_S / 60.0)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
        session.player.play(OPENING_S)
        stretch(session, "the page is open", 60.0 * given.minutes)
        session.player.play(OPENING_S)
        told = page.communicate()[0].strip()
    sys.stdout.write(f"{'page':<20} {told}\n")
    with deaf(port, ids):
        session.player.play(OPENING_S)
        stretch(session, "none of all reads", 60.0)
    stretch(session, "nobody looks on", 60.0)


def stretch(session: Session, what: str, seconds: float) -> None:
    """Play for a while, and say how late the scores came."""
    player = session.player
    effort = played(session, lambda: player.play(seconds))
    player.play(GRACE_S, until=lambda: player.settled_until(effort.to_s))
    for microphone in player.microphones:
        microphone.ledger.give_up(effort.to_s)
    late = session.tally.between(effort.from_s, effort.to_s)
    p50, p99 = (float("nan") if value is None else 1e3 * value for value in (late.p50_s, late.p99_s))
    live = sum(microphone.state == "live" for microphone in player.microphones)
    counted = ", ".join(f"{name} {value}" for name, value in COUNTED.findall(metrics(session.service.port)))
    sys.stdout.write(
        f"{what:<20} {seconds:.0f} s, {live} streams, {late.scores} scores, {late.lost} lost: p50 {p50:.0f} ms,"
        f" p99 {p99:.0f} ms; service {100 * effort.service_cores:.0f} % of a processor, {counted}\n"
    )
    sys.stdout.flush()


def metrics(port: int) -> str:
    """Return the metrics page of the service."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


@contextmanager
def deaf(port: int, ids: list[str]) -> Iterator[None]:
    """Hold a connection to each machine's sound that requests it and does not read."""
    with ExitStack() as stack:
        for machine_id in ids:
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", port))
            line.sendall(f"GET /v1/machines/{machine_id}/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        yield


def look(url: str, machines: int, minutes: float) -> None:
    """Open the page of all machines, and write what it cost as one line of JSON."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    came = [0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        client.send("Network.enable")
        client.on("Network.dataReceived", lambda part: came.append(part["dataLength"]))
        page.goto(f"{url}/ui/")
        page.locator(".tile").nth(machines - 1).wait_for()
        page.wait_for_timeout(10_000)
        first, before, started_s = figures(client), sum(came), time.monotonic()
        page.wait_for_timeout(minutes * 60_000)
        last, passed_s = figures(client), time.monotonic() - started_s
        told = {
            "machines": machines,
            "seconds": round(passed_s, 1),
            "main_thread_busy": round((last["TaskDuration"] - first["TaskDuration"]) / passed_s, 4),
            "of_it_script": round((last["ScriptDuration"] - first["ScriptDuration"]) / passed_s, 4),
            "heap_mb_first": round(first["JSHeapUsedSize"] / 1e6, 2),
            "heap_mb_last": round(last["JSHeapUsedSize"] / 1e6, 2),
            "nodes_first": first["Nodes"],
            "nodes_last": last["Nodes"],
            "bytes_a_second": round((sum(came) - before) / passed_s),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        browser.close()


def figures(client: Any) -> dict[str, float]:
    """Return the figures that Chromium counts of the page, after a collection."""
    client.send("HeapProfiler.collectGarbage")
    return {metric["name"]: metric["value"] for metric in client.send("Performance.getMetrics")["metrics"]}


if __name__ == "__main__":
    main()
