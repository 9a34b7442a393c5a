"""Lines that are kept say what the client library would write."""

from __future__ import annotations

import math
import random
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from humwatch_service.metrics.lines import LineFamily, LineSet, text_of
from humwatch_service.metrics.table import MetricSpec

LEVEL = MetricSpec("some_level", "gauge", ("a", "b"), 'Has a \\ and "quotes",\nand two lines.')
TIMES = MetricSpec("some_times_total", "counter", ("a", "b"), "How often.")
LABELS = [("x", "1"), ("x", 'of "two"\n'), ("back\\slash", "ü"), ("", "")]
VALUES = (0.0, 1.0, -1.5, 1e-9, 123456789.0, 1e22, 1764115200.123, math.inf, -math.inf, math.nan)


class Twin:
    """The same metrics, by the library and as lines."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.gauge = Gauge(LEVEL.name, LEVEL.help, LEVEL.labels, registry=self.registry)
        self.counter = Counter(TIMES.name, TIMES.help, TIMES.labels, registry=self.registry)
        self.families = [LineFamily(LEVEL), LineFamily(TIMES)]
        self.levels, self.times = ({labels: family.line(*labels) for labels in LABELS} for family in self.families)
        for labels in LABELS:
            self.gauge.labels(*labels)
            self.counter.labels(*labels)

    def check(self) -> None:
        assert text_of(self.families, "plain") == generate_latest(self.registry).decode()
        assert text_of(self.families, "openmetrics") + "# EOF\n" == generate_openmetrics(self.registry).decode()


def test_whatever_happens_the_text_is_the_librarys() -> None:
    twin, chance = Twin(), random.Random(1)
    for _ in range(300):
        labels, value = chance.choice(LABELS), chance.choice(VALUES)
        twin.levels[labels].set(value)
        twin.gauge.labels(*labels).set(value)
        labels, times = chance.choice(LABELS), chance.choice((0, 1, 2.5))
        twin.times[labels].inc(times)
        twin.counter.labels(*labels).inc(times)
        if chance.random() < 0.3:
            twin.check()
    twin.check()


def test_a_series_that_is_gone_does_not_come_back() -> None:
    family, lines = LineFamily(LEVEL), LineSet()
    late = lines.add(family, "fan-1", "x")
    stays = family.line("fan-2", "x")
    late.set(1.0)
    lines.remove()
    late.set(2.0)
    stays.set(3.0)
    assert family.text("plain").splitlines()[2:] == ['some_level{a="fan-2",b="x"} 3.0']
    late.set(4.0)
    late.inc()
    assert "fan-1" not in family.text("plain")
    assert 'a="fan-1",b="x"} 0.0' in (family.line("fan-1", "x"), family.text("plain"))[1]


def test_as_many_labels_as_the_table_says() -> None:
    with pytest.raises(ValueError, match="zip"):
        LineFamily(LEVEL).line("fan-1")


def test_nothing_that_is_counted_while_it_is_written_is_lost() -> None:
    family = LineFamily(TIMES)
    lines = [family.line("x", str(number)) for number in range(3)]
    begin = threading.Barrier(4)

    def count(line: Any) -> None:
        begin.wait()
        for _ in range(5_000):
            line.inc()

    threads = [threading.Thread(target=count, args=(line,)) for line in (lines[0], lines[0], lines[1])]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        family.text("plain")
    for thread in threads:
        thread.join()
    values = [line.rpartition(" ")[2] for line in family.text("plain").splitlines()[2:]]
    assert values == ["10000.0", "5000.0", "0.0"]
