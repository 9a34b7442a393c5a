"""Many streams for a long time against a real `humwatch serve`: memory, latency, and what was dropped.

    python scripts/soak.py --streams 16 --minutes 30 --json soak.json

Each stream is a machine of its own that plays normal sound in real time through the reference client. Without
``--models`` a synthetic machine is recorded, a latent ANP is trained on it for two minutes and calibrated (this needs
torch); ``--keep FOLDER`` keeps it for the next time. With ``--models`` and ``--sound`` the bundle and the sound are
given. Linux alone: memory and processor time are read from /proc.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import numpy as np
import typer
from prometheus_client.parser import text_string_to_metric_families

from humwatch.audio import read_mono
from humwatch.bundle import pack_calibration, read_bundle, write_bundle
from humwatch.repository import ModelRepository
from humwatch.synthetic import SyntheticMachine
from humwatch_service.client import Backlog, LinkEvent, ServiceAddress, StreamClient, Waiting
from humwatch_service.live.messages import Hello
from humwatch_service.playlist import encoded

RATE_HZ: Final = 16_000
SEED: Final = 7
CHUNK_S: Final = 0.1
SOUND_S: Final = 300.0
"""Of normal sound that all streams play, each from another moment on."""
LATENCY: Final = "humwatch_end_to_end_latency_seconds"
COLUMNS: Final = "   at s   RSS MB  live  dropped  gaps s   p50 ms   p99 ms  CPU %  faults  alarms  breaks"


@dataclass(frozen=True)
class Reading:
    """What was measured at one moment; counts are since the start, quantiles and CPU since the last reading.

    Attributes:
        at_s: since the streams began.
        rss_mb: resident memory of the service, MB of 10^6 bytes.
        live: streams that are fed.
        dropped_windows: without a score because their samples never came.
        untold_scores: that a client did not read in time.
        gap_s: sound that never came.
        p50_s: median end-to-end latency, from the buckets of the histogram; None without a score.
        p99_s: the 99th percentile.
        cpu_share: of one core, 0 to the number of cores.
        faults: of sources, that began.
        alarms: that were raised.
        breaks: times that a client had to wait for its connection.
    """

    at_s: float
    rss_mb: float
    live: int
    dropped_windows: int
    untold_scores: int
    gap_s: float
    p50_s: float | None
    p99_s: float | None
    cpu_share: float
    faults: int
    alarms: int
    breaks: int


class Page:
    """One reading of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels."""
        wanted = labels.items()
        return sum(sample.value for sample in self._samples if sample.name == name and wanted <= sample.labels.items())

    def buckets(self, name: str) -> dict[float, float]:
        """Upper edges of a histogram without labels, and how many lay at or below them."""
        return {float(sample.labels["le"]): sample.value for sample in self._samples if sample.name == f"{name}_bucket"}


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """A quantile as Prometheus computes it: even within a bucket, and no higher than the last finite edge."""
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0.0
    below, low = 0.0, 0.0
    for edge in edges:
        if total and buckets[edge] >= share * total:
            inside = buckets[edge] - below
            return low if math.isinf(edge) else low + (edge - low) * (share * total - below) / max(inside, 1e-9)
        below, low = buckets[edge], edge
    return None


def since(now: Mapping[float, float], before: Mapping[float, float]) -> dict[float, float]:
    """What came into a histogram between two readings."""
    return {edge: count - before.get(edge, 0.0) for edge, count in now.items()}


class Gauge:
    """Measures one service process."""

    def __init__(self, http: httpx.Client, pid: int) -> None:
        self._http = http
        self._proc = Path("/proc") / str(pid)
        self._started_s = time.monotonic()
        self._cpu = (self._cpu_s(), self._started_s)
        self.latency: dict[float, float] = {}

    def read(self, breaks: int) -> Reading:
        """Measure (blocking)."""
        page = Page(self._http.get("/metrics").raise_for_status().text)
        before, self.latency = self.latency, page.buckets(LATENCY)
        recent = since(self.latency, before)
        return Reading(
            at_s=time.monotonic() - self._started_s,
            rss_mb=self._rss_mb(),
            live=int(page.total("humwatch_live_streams")),
            dropped_windows=int(page.total("humwatch_windows_dropped_total", reason="gap")),
            untold_scores=int(page.total("humwatch_windows_dropped_total", reason="client_slow")),
            gap_s=page.total("humwatch_audio_gap_seconds_total"),
            p50_s=quantile(recent, 0.5),
            p99_s=quantile(recent, 0.99),
            cpu_share=self._cpu_share(),
            faults=int(page.total("humwatch_source_faults_total")),
            alarms=int(page.total("humwatch_alarm_transitions_total", event="raised")),
            breaks=breaks,
        )

    def _rss_mb(self) -> float:
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _cpu_s(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _cpu_share(self) -> float:
        (before_s, then), now = self._cpu, (self._cpu_s(), time.monotonic())
        self._cpu = now
        return (now[0] - before_s) / (now[1] - then)


class Streams:
    """Plays sound to every machine, in real time."""

    def __init__(self, url: str, sounds: Mapping[str, bytes]) -> None:
        self.breaks = 0
        self._address = ServiceAddress(url)
        self._sounds = sounds

    async def play(self, seconds: float) -> None:
        """Play for so long, and say goodbye."""
        async with asyncio.TaskGroup() as group:
            for machine_id, sound in self._sounds.items():
                backlog = Backlog(Hello(rate_hz=RATE_HZ))
                client = StreamClient(self._address, machine_id, backlog, on_link=self._linked)
                group.create_task(client.run())
                group.create_task(_feed(backlog, sound, seconds))

    def _linked(self, event: LinkEvent) -> None:
        self.breaks += isinstance(event, Waiting)


async def _feed(backlog: Backlog, sound: bytes, seconds: float) -> None:
    """Give chunks to a backlog when a microphone would; ``sound`` is 16 bits, one channel, and starts over."""
    size = 2 * round(CHUNK_S * RATE_HZ)
    started_s = time.monotonic()
    for number in range(1, round(seconds / CHUNK_S) + 1):
        await asyncio.sleep(started_s + number * CHUNK_S - time.monotonic())
        at = (number - 1) * size % (len(sound) - size)
        backlog.append(sound[at : at + size], time_s=time.monotonic())
    backlog.finish()


@contextmanager
def service(models: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `humwatch serve` on a free port; its log goes to ``folder``/service.log."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUMWATCH_")}
    command = [sys.executable, "-c", "from humwatch_service.cli import main; main()", "serve", "--port", "0", "--json"]
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--models", str(models)],
            env={**clean, "HUMWATCH_STATE_DIR": str(folder / "state"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(30)


def fleet(models: Path, source: Path, count: int) -> list[str]:
    """Copy one bundle to so many machines in a new folder; return their ids."""
    bundle = read_bundle(source)
    machine_ids = [f"soak-{number:02d}" for number in range(count)]
    arrays = pack_calibration(bundle.calibration, bundle.golden)
    for machine_id in machine_ids:
        manifest = bundle.manifest.model_copy(update={"machine_id": machine_id, "version": "1"})
        write_bundle(models / machine_id / "1", manifest, bundle.graph, arrays)
    return machine_ids


def train(folder: Path) -> Path:
    """Record a synthetic machine, train a latent ANP on it for two minutes, calibrate it; return its models folder."""
    models = folder / "models"
    if models.is_dir():
        return models
    for name, count, first in (("train", 30, 0), ("normal", 100, 1_000)):
        numbers = f"--seconds 10.5 --count {count} --seed {SEED} --first {first}".split()
        _run("humwatch_service", "simulate", str(folder / name), *numbers)
    run, new = str(folder / "run"), folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    fitted = ("--system", "latent-anp", "--minutes", "2", "--threads", "1")
    _run("humwatch_training", "fit", str(folder / "train"), "--run", run, *fitted)
    _run("humwatch_training", "export", run, "--machine", "soak", "--models", str(new))
    _run("humwatch_service", "calibrate", "soak", str(folder / "normal"), "--from", "soak", "--models", str(new))
    new.rename(models)
    return models


def _run(package: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", f"from {package}.cli import main; main()", *arguments], check=True)


def normal_sound(path: Path | None) -> bytes:
    """16-bit sound of one channel at ``RATE_HZ``: a recording's first, or new sound of the synthetic machine."""
    mono = SyntheticMachine(SEED).clip(5_000, SOUND_S) if path is None else read_mono(path, rate_hz=RATE_HZ)
    return encoded(mono[:, None], "s16le")


def sounds_of(machine_ids: list[str], sound: bytes) -> dict[str, bytes]:
    """The same sound for all machines, each from another moment on."""
    frames = len(sound) // 2
    starts = {machine_id: 2 * (frames * i // len(machine_ids)) for i, machine_id in enumerate(machine_ids)}
    return {machine_id: sound[start:] + sound[:start] for machine_id, start in starts.items()}


async def soak(streams: Streams, gauge: Gauge, *, seconds: float, every_s: float) -> list[Reading]:
    """Play, measure every so often, and print a line each time."""
    playing = asyncio.create_task(streams.play(seconds))
    readings: list[Reading] = []
    while not playing.done():
        await asyncio.wait({playing}, timeout=every_s)
        readings.append(await asyncio.to_thread(gauge.read, streams.breaks))
        _say(line(readings[-1]))
    playing.result()
    return readings


def line(reading: Reading) -> str:
    """A row under ``COLUMNS``."""
    p50, p99 = ("     -" if value is None else f"{1e3 * value:6.0f}" for value in (reading.p50_s, reading.p99_s))
    return (
        f"{reading.at_s:7.0f} {reading.rss_mb:8.1f} {reading.live:5d} {reading.dropped_windows:8d}"
        f" {reading.gap_s:7.2f}   {p50}   {p99} {100 * reading.cpu_share:6.0f} {reading.faults:7d}"
        f" {reading.alarms:7d} {reading.breaks:7d}"
    )


def slope_mb_h(readings: list[Reading]) -> float | None:
    """Growth of memory by least squares, MB an hour; None of fewer than three readings."""
    if len(readings) < 3:
        return None
    hours = np.array([reading.at_s / 3_600 for reading in readings])
    return float(np.polyfit(hours, [reading.rss_mb for reading in readings], 1)[0])


def summary(readings: list[Reading], latency: Mapping[float, float], warm_up_s: float) -> dict[str, Any]:
    """The end of it; the last reading is of streams that have said goodbye."""
    last = readings[-1]
    warm = [reading for reading in readings[:-1] if reading.at_s >= warm_up_s]
    return {
        "seconds": last.at_s,
        "memory_slope_mb_h": slope_mb_h(warm),
        "rss_mb_first": warm[0].rss_mb if warm else None,
        "rss_mb_last": warm[-1].rss_mb if warm else None,
        "rss_mb_max": max(reading.rss_mb for reading in readings),
        "streams_live_min": min((reading.live for reading in warm), default=None),
        "dropped_windows": last.dropped_windows,
        "untold_scores": last.untold_scores,
        "gap_s": last.gap_s,
        "latency_p50_s": quantile(latency, 0.5),
        "latency_p99_s": quantile(latency, 0.99),
        "scores": int(max(latency.values(), default=0.0)),
        "cpu_share_mean": float(np.mean([reading.cpu_share for reading in warm])) if warm else None,
        "faults": last.faults,
        "alarms": last.alarms,
        "breaks": last.breaks,
    }


def main(
    streams: Annotated[int, typer.Option(min=1, max=256, help="How many.")] = 16,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30.0,
    every_s: Annotated[float, typer.Option(min=1.0, help="Between measurements, s.")] = 10.0,
    warm_up_s: Annotated[float, typer.Option(min=0.0, help="What memory is not judged by, s.")] = 300.0,
    models: Annotated[Path | None, typer.Option(help="Models folder with one machine, whose bundle is copied.")] = None,
    sound: Annotated[Path | None, typer.Option(help="Normal recording for it; else the synthetic machine's.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for the model that is trained without --models.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="File for readings and summary.")] = None,
) -> None:
    """Play so many streams for so long, and print what the service made of it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = ModelRepository(models or train(keep or folder / "trained"))
        bundle = source.folder(source.machine_ids()[0])
        machine_ids = fleet(folder / "models", bundle, streams)
        played = sounds_of(machine_ids, normal_sound(sound))
        with service(folder / "models", folder) as (process, url), httpx.Client(base_url=url, timeout=20) as http:
            _wait_until_ready(http)
            _say(COLUMNS)
            gauge = Gauge(http, process.pid)
            readings = asyncio.run(soak(Streams(url, played), gauge, seconds=60 * minutes, every_s=every_s))
        result = summary(readings, gauge.latency, warm_up_s)
    manifest = read_bundle(bundle).manifest if models or keep else None
    model = f"{manifest.predictor.strategy}, score {manifest.scoring.kind}" if manifest else "latent-anp"
    found = {"streams": streams, "model": model, **result}
    _say("\n".join(f"{name}: {value}" for name, value in found.items()))
    if out is not None:
        out.write_text(json.dumps({**found, "readings": [asdict(reading) for reading in readings]}, indent=1) + "\n")


def _wait_until_ready(http: httpx.Client) -> None:
    deadline_s = time.monotonic() + 60
    while http.get("/readyz").status_code != 200:
        if time.monotonic() > deadline_s:
            raise SystemExit("the service did not become ready")
        time.sleep(0.1)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
