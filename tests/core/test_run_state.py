from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from humwatch.audio.levels import SecondLevels
from humwatch.run_state import RunGate, RunState
from humwatch.synthetic import SyntheticMachine

GATE = RunGate(on_dbfs=-40.0, off_dbfs=-44.0)


def heard(levels: list[float], gate: RunGate | None = GATE) -> list[bool | None]:
    state = RunState(gate)
    found = []
    for level in levels:
        state.push(level)
        found.append(state.running)
    return found


def test_a_gate_lies_below_the_quietest_second() -> None:
    assert RunGate.from_quietest(-30.0) == RunGate(on_dbfs=-36.0, off_dbfs=-40.0)


def test_a_gate_that_opens_below_where_it_closes_is_refused() -> None:
    with pytest.raises(ValidationError, match="off_dbfs is not below on_dbfs"):
        RunGate(on_dbfs=-40.0, off_dbfs=-40.0)


def test_a_loud_second_is_a_machine_that_runs_and_two_quiet_ones_one_that_stands() -> None:
    assert heard([-40.0, -50.0, -50.0, -50.0, -30.0]) == [True, True, False, False, True]


def test_one_quiet_second_is_a_pause() -> None:
    assert heard([-30.0, -50.0, -30.0, -50.0, -42.0, -50.0]) == [True] * 6


def test_between_the_levels_nothing_changes() -> None:
    assert heard([-30.0, -42.0, -42.0, -42.0]) == [True] * 4
    assert heard([-50.0, -50.0, -42.0, -42.0, -40.1, -40.0]) == [None, False, False, False, False, True]


def test_after_two_seconds_it_is_known_and_what_is_not_quiet_runs() -> None:
    assert RunState(GATE).running is None
    assert heard([-42.0, -42.0, -42.0]) == [None, True, True]
    assert heard([-50.0, -42.0]) == [None, True]
    assert heard([-42.0, -50.0, -50.0]) == [None, True, False]


def test_without_gate_and_signal_the_machine_always_runs() -> None:
    assert RunState(None).running is True
    assert heard([-200.0, -200.0, -200.0], None) == [True] * 3


@pytest.mark.parametrize("gate", [GATE, None])
def test_an_explicit_signal_goes_before_the_gate_until_it_is_taken_back(gate: RunGate | None) -> None:
    state = RunState(gate)
    state.signal(False)
    for _ in range(3):
        state.push(-20.0)
        assert state.running is False
    state.signal(None)
    assert state.running is True
    state.push(-60.0)
    state.push(-60.0)
    state.signal(True)
    assert state.running is True


def test_reset_forgets_what_was_heard_but_not_the_signal() -> None:
    state = RunState(GATE)
    state.push(-20.0)
    state.reset()
    assert state.running is None
    state.signal(False)
    state.reset()
    assert state.running is False


def test_another_gate_goes_on_from_what_is_known() -> None:
    state = RunState(GATE)
    state.push(-41.0)
    state.push(-41.0)
    state.change_gate(RunGate(on_dbfs=-20.0, off_dbfs=-42.0))
    assert state.running is True
    state.change_gate(RunGate(on_dbfs=-20.0, off_dbfs=-25.0))
    state.push(-41.0)
    state.push(-41.0)
    assert state.running is False


def test_a_machine_that_runs_down_stands_and_runs_up_is_heard_to(rng: np.random.Generator) -> None:
    machine = SyntheticMachine(seed=5, rate_hz=8_000)
    ramp = np.interp(np.arange(40 * 8_000) / 8_000, [0, 10, 14, 25, 28, 40], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    sound = machine.clip(1, 40.0) * ramp + rng.normal(0.0, 10 ** (-65 / 20), len(ramp))
    levels = SecondLevels(8_000).push(sound.astype(np.float32))
    states = heard(levels, RunGate.from_quietest(min(SecondLevels(8_000).push(machine.clip(2, 10.0)))))
    changes = [(second, state) for second, state in enumerate(states) if second and state != states[second - 1]]
    assert states[0] is True
    assert [state for _, state in changes] == [False, True]
    stopped, started = (second for second, _ in changes)
    assert 12 <= stopped <= 15
    assert 25 <= started <= 27


def test_it_may_stand_when_one_more_second_can_tell(rng: np.random.Generator) -> None:
    for _ in range(50):
        state = RunState(GATE)
        for level in rng.choice([-50.0, -42.0, -30.0], 30):
            may_be_off = state.may_be_off
            state.push(float(level))
            assert may_be_off or state.running is not False
    assert not RunState(GATE).may_be_off
    assert not RunState(None).may_be_off
    state = RunState(GATE)
    state.push(-50.0)
    assert state.may_be_off
    state.signal(True)
    assert not state.may_be_off
    state.signal(False)
    assert state.may_be_off
