import io
import os
import signal

import pytest
from rich.console import Console

from humwatch_training.fit.progress import (
    BarDisplay,
    PlainDisplay,
    StopSignal,
    display_for,
    duration_text,
    progress_text,
)
from humwatch_training.fit.trainer import Progress


def at(step: int, budget_s: float | None = None) -> Progress:
    return Progress(step, 100, loss=1.25, steps_per_s=2.0, elapsed_s=step / 2, budget_s=budget_s)


def test_time_left_is_that_of_the_budget_that_ends_first():
    assert at(20).left_s == 40.0
    assert at(20, budget_s=15.0).left_s == 5.0
    assert at(20, budget_s=60.0).left_s == 40.0
    assert at(20, budget_s=9.0).left_s == 0.0


def test_progress_is_loss_speed_and_time_left():
    assert progress_text(at(20)) == "loss 1.2500  2.00 steps/s  0:00:40 left"
    assert duration_text(3725.4) == "1:02:05"


def test_plain_lines_come_at_first_every_ten_seconds_and_at_the_end():
    lines: list[str] = []
    now = iter([0.0, 0.0, 4.0, 9.9, 10.0, 11.0, 12.0])
    display = PlainDisplay(lines.append, clock=lambda: next(now))
    for step in (1, 2, 3, 4, 5, 100):
        display.update(at(step))
    assert [line.split()[1] for line in lines] == ["1/100", "4/100", "100/100"]


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines():
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    with display_for(terminal, print) as display:
        assert isinstance(display, BarDisplay)
        display.update(at(20))
    assert "20/100" in screen.getvalue()
    assert isinstance(display_for(Console(file=io.StringIO()), screen.write), PlainDisplay)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_the_handlers_come_back(number: signal.Signals):
    before = signal.getsignal(number)
    stop = StopSignal()
    with stop.installed():
        assert stop.name is None
        os.kill(os.getpid(), number)
        assert stop.name == number.name
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before
