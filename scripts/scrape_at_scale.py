"""What /metrics costs with many machines, and whether live streams feel it.

Starts the real service with so many machines that share one model, reads /metrics from another process, and plays
streams of which every other stretch is scraped once a second. Run it from a checkout:

    python scripts/scrape_at_scale.py --machines 1000 --streams 40
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from humwatch_capacity.bench import Session, played
from humwatch_capacity.fleet import Fleet, machine_ids
from humwatch_capacity.level import settle
from humwatch_capacity.played_sound import normal_sound
from humwatch_capacity.player import Player, microphones
from humwatch_capacity.process_stats import Usage
from humwatch_capacity.score_ledger import Latencies, StepGrid, Tally
from humwatch_capacity.service_under_test import ServiceUnderTest, serving

ROOT = Path(__file__).parents[1]
PROMETHEUS_ACCEPTS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
GRACE_S = 3.0
SCRAPER = """
import http.client, sys, time
port, every_s, times, accept = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
for _ in range(times):
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    text = answer.read()
    took = time.monotonic() - began
    assert answer.status == 200, answer.status
    print(took, len(text), sum(line[:1] != b"#" for line in text.splitlines()), flush=True)
    time.sleep(max(0.0, every_s - took))
"""


def main() -> None:
    """Measure, and print one line a figure."""
    arguments = options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet = Fleet(arguments.bundle, folder)
        models = fleet.models(arguments.machines)
        began_s = time.monotonic()
        settings = {"max_load": "1.0"}
        with serving(models, folder / "state", folder / "log", settings, arguments.machines) as service:
            took_s, usage = time.monotonic() - began_s, Usage.of(service.pid)
            say(
                "loading",
                f"{took_s:.1f} s, of which {usage.cpu_s:.1f} s are processor time: {arguments.machines} machines",
            )
            say("memory", f"{usage.rss_mb:.0f} MB")
            if arguments.niceness:
                prefer(os.getpid(), arguments.niceness)
                prefer(service.pid, arguments.niceness)
            quiet(service)
            rendering(service, arguments.scrapes)
            if arguments.streams:
                streaming(service, fleet, arguments)


def options() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=1000, help="that are registered")
    parser.add_argument("--streams", type=int, default=40, help="that are live; 0: none")
    parser.add_argument("--stretches", type=int, default=8, help="of streaming; every other one is scraped")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a stretch")
    parser.add_argument("--scrapes", type=int, default=20, help="that are timed without streams")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "fan-id_00" / "2", help="all machines' model")
    parser.add_argument("--niceness", type=int, default=0, help="-20 to 19, of the service and of this process (root)")
    sound = ROOT / "models" / "fan-id_00" / "examples" / "normal.wav"
    parser.add_argument("--sound", type=Path, default=sound, help="that is played")
    return parser.parse_args()


def say(what: str, figures: str) -> None:
    """Print a line of figures."""
    sys.stdout.write(f"{what:<13} {figures}\n")
    sys.stdout.flush()


def prefer(pid: int, niceness: int) -> None:
    """Let a process and its session go before (Linux, as root): else whatever else the host does is measured, too."""
    os.setpriority(os.PRIO_PROCESS, pid, niceness)
    Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def quiet(service: ServiceUnderTest) -> None:
    """Measure the processor time of an idle service."""
    before = Usage.of(service.pid)
    time.sleep(10.0)
    after = Usage.of(service.pid)
    say("idle", f"{100 * after.cores_since(before):.1f} % of one processor")


@contextmanager
def scraping(port: int, every_s: float, times: int, accept: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that scrapes, so that the player does not wait for it."""
    command = [sys.executable, "-c", SCRAPER, str(port), str(every_s), str(times), accept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def timed(process: subprocess.Popen[str]) -> list[tuple[float, int, int]]:
    """Seconds, bytes and series of each scrape."""
    assert process.stdout is not None  # it is a pipe
    rows = [line.split() for line in process.stdout]
    return [(float(took), int(size), int(series)) for took, size, series in rows]


def summary(scrapes: list[tuple[float, int, int]]) -> str:
    """Their figures."""
    times = sorted(took for took, _, _ in scrapes)
    return (
        f"{scrapes[-1][2]} series, {scrapes[-1][1] / 1e6:.2f} MB, median {1e3 * median(times):.0f} ms,"
        f" p95 {1e3 * times[int(0.95 * (len(times) - 1))]:.0f} ms, of {len(times)}"
    )


def rendering(service: ServiceUnderTest, times: int) -> None:
    """Time /metrics while nothing else is to be done."""
    for name, accept in (("plain text", ""), ("openmetrics", PROMETHEUS_ACCEPTS)):
        with scraping(service.port, 0.2, times, accept) as process:
            say(name, summary(timed(process)))


def streaming(service: ServiceUnderTest, fleet: Fleet, arguments: argparse.Namespace) -> None:
    """Play streams; scrape during every other stretch."""
    tally, player, grid = Tally(), Player(), StepGrid.of(fleet.manifest)
    sound = normal_sound(arguments.sound, fleet.manifest.features.rate_hz)
    ids = machine_ids(arguments.machines)[: arguments.streams]
    session = Session(service, player, tally, Usage.of(service.pid))
    player.add(microphones(service.port, ids, sound, grid, tally, seed=1))
    try:
        settle(session)
        player.play(15.0)
        found: dict[bool, list[Latencies]] = {False: [], True: []}
        for number in range(arguments.stretches):
            scraped = number % 2 == 1
            found[scraped].append(stretch(session, arguments.seconds, scraped))
    finally:
        player.close()
    for scraped, stretches in found.items():
        of_each = zip(*(milliseconds(latencies) for latencies in stretches), strict=True)
        p50, p99, most = (median(values) for values in of_each)
        say(
            "scraped" if scraped else "not scraped",
            f"medians of {len(stretches)} stretches: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {most:.0f} ms",
        )


def milliseconds(latencies: Latencies) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum; NaN for what cannot be said."""
    values = (latencies.p50_s, latencies.p99_s, latencies.max_s)
    p50, p99, most = (float("nan") if value is None else 1e3 * value for value in values)
    return p50, p99, most


def stretch(session: Session, seconds: float, scraped: bool) -> Latencies:
    """Play for a while, and say how late the scores came."""
    player, port = session.player, session.service.port
    scrapes = ""
    if scraped:
        with scraping(port, 1.0, int(seconds), PROMETHEUS_ACCEPTS) as process:
            effort = played(session, lambda: player.play(seconds))
            process.terminate()
            rows = timed(process)
            scrapes = f"; {summary(rows)}" if rows else "; no scrape came back"
    else:
        effort = played(session, lambda: player.play(seconds))
    player.play(GRACE_S, until=lambda: player.settled_until(effort.to_s))
    for microphone in player.microphones:
        microphone.ledger.give_up(effort.to_s)
    latencies = session.tally.between(effort.from_s, effort.to_s)
    p50, p99, most = milliseconds(latencies)
    live = sum(microphone.state == "live" for microphone in player.microphones)
    say(
        "  scraped" if scraped else "  not scraped",
        f"{live} streams, {latencies.scores} scores, {latencies.lost} lost: p50 {p50:.0f} ms, p99 {p99:.0f} ms,"
        f" max {most:.0f} ms; service {100 * effort.service_cores:.0f} %, others {100 * effort.other_cores:.0f} %,"
        f" player late {1e3 * effort.player_lag_s:.0f} ms{scrapes}",
    )
    return latencies


if __name__ == "__main__":
    main()
