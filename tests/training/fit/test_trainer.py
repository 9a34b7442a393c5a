import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.errors import CheckpointError, DeviceError, TrainingDiverged
from humwatch_training.fit.checkpoint import load_checkpoint, save_checkpoint
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.schedule import learning_rate
from humwatch_training.fit.trainer import MAX_SKIPPED_IN_A_ROW, Progress, Trainer, resolve_device

Configure = Callable[..., FitConfig]
Hum = Callable[..., Clip]


class Watching:
    """Counts what a run tells it, and stops it after some steps."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen: list[Progress] = []
        self.checkpoints: list[int] = []
        self._stop_after = stop_after

    def on_step(self, progress: Progress) -> None:
        self.seen.append(progress)

    def on_checkpoint(self, trainer: Trainer) -> None:
        self.checkpoints.append(trainer.step_number)

    def stop_requested(self) -> bool:
        return bool(self.seen) and self.seen[-1].step >= self._stop_after


def ticking(seconds: float) -> Callable[[], float]:
    """Return a clock that moves by `seconds` whenever it is read."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds
        return now

    return clock


def start(config: FitConfig, clips: list[Clip]) -> Trainer:
    return Trainer.start(config, WindowSet(clips, 5), Normalisation.of(clips))


def assert_same_to_the_bit(one: Trainer, other: Trainer) -> None:
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
    mine, theirs = one.optimiser.state_dict()["state"], other.optimiser.state_dict()["state"]
    assert all(torch.equal(mine[i][key], theirs[i][key]) for i in mine for key in mine[i])
    assert torch.equal(one.generator.get_state(), other.generator.get_state())
    assert torch.equal(one.autoclip.state_dict()["norms"], other.autoclip.state_dict()["norms"])


@pytest.mark.parametrize("context_points", [None, 12])
def test_a_resumed_run_is_the_same_to_the_bit(
    small_config: Configure, humming_clip: Hum, tmp_path: Path, context_points: int | None
):
    config, clips = small_config(context_points=context_points, batch_windows=20), [humming_clip()]
    straight = start(config, clips)
    straight.run(Watching())
    interrupted = start(config, clips)
    interrupted.run(Watching(stop_after=10))
    save_checkpoint(interrupted.state(), tmp_path / "checkpoint.pt")
    torch.manual_seed(999)
    resumed = Trainer.resume(load_checkpoint(tmp_path / "checkpoint.pt"), config, WindowSet(clips, 5))
    assert resumed.step_number == 10
    resumed.run(Watching())
    assert resumed.step_number == straight.step_number == 20
    assert_same_to_the_bit(straight, resumed)
    assert [(row["step"], row["loss"]) for row in straight.log] == [(row["step"], row["loss"]) for row in resumed.log]


def test_runs_of_different_seeds_differ(small_config: Configure, humming_clip: Hum):
    one, other = (start(small_config(seed=seed), [humming_clip()]) for seed in (0, 1))
    assert one.step().loss != other.step().loss


def test_training_lowers_the_nll_clearly(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(steps=150, batch_windows=16), [humming_clip(seed) for seed in range(3)])
    losses = [trainer.step().loss for _ in range(150)]
    first, last = sum(losses[:20]) / 20, sum(losses[-20:]) / 20
    assert first == pytest.approx(math.log(trainer.network.config.std_db) + 0.5, abs=0.5)
    assert last < first - 0.5


def test_the_rate_follows_the_schedule_of_the_budget(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(steps=75), [humming_clip()])
    rates = [trainer.step().learning_rate for _ in range(12)]
    assert rates == [learning_rate(step, peak=1e-3, warmup=10) for step in range(1, 13)]


def test_a_step_budget_ends_the_run_with_log_and_checkpoint(small_config: Configure, humming_clip: Hum):
    trainer, watching = start(small_config(), [humming_clip()]), Watching()
    trainer.run(watching)
    assert trainer.finished
    assert len(watching.seen) == 20
    assert watching.checkpoints == [20]
    assert [row["step"] for row in trainer.log] == [3, 6, 9, 12, 15, 18, 20]


def test_a_time_budget_ends_the_run_before_its_steps(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(steps=1000, minutes=0.1), [humming_clip()])
    watching = Watching()
    trainer.run(watching, clock=ticking(1.0))
    assert trainer.finished
    assert 1 <= trainer.step_number <= 6
    assert trainer.log[-1]["step"] == trainer.step_number
    assert watching.seen[0].left_s <= 5.0


def test_checkpoints_are_written_from_time_to_time(small_config: Configure, humming_clip: Hum):
    trainer, watching = start(small_config(checkpoint_every_s=5.0), [humming_clip()]), Watching()
    trainer.run(watching, clock=ticking(1.0))
    assert watching.checkpoints == [5, 10, 15, 20, 20]


def test_minutes_alone_choose_the_steps_by_timing_and_resume_keeps_them(small_config: Configure, humming_clip: Hum):
    config, clips = small_config(steps=None, minutes=0.05), [humming_clip()]
    trainer = start(config, clips)
    assert trainer.seconds_per_step is not None
    assert trainer.planned_steps == max(1, int(0.85 * 3.0 / trainer.seconds_per_step))
    assert trainer.step_number == 0
    assert trainer.step().loss == start(small_config(), clips).step().loss
    resumed = Trainer.resume(trainer.state(), config, WindowSet(clips, 5))
    assert resumed.planned_steps == trainer.planned_steps


def test_a_gradient_that_is_not_finite_changes_no_parameter(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(), [humming_clip()])
    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    trainer.network.mean_db.fill_(math.nan)
    result = trainer.step()
    assert result.clip_norm is None
    assert trainer.skipped_steps == 1
    assert len(trainer.autoclip) == 0
    assert all(map(torch.equal, before, trainer.network.parameters()))


def test_a_run_that_diverged_ends_by_name(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(steps=1000), [humming_clip()])
    trainer.network.mean_db.fill_(math.nan)
    with pytest.raises(TrainingDiverged, match="50 steps in a row, up to step 50"):
        trainer.run(Watching())
    assert trainer.skipped_steps == MAX_SKIPPED_IN_A_ROW


def test_a_checkpoint_of_another_network_is_refused(small_config: Configure, humming_clip: Hum):
    clips = [humming_clip()]
    state = start(small_config(), clips).state()
    state.network.pop("decoder.0.weight")
    with pytest.raises(CheckpointError, match="do not fit together"):
        Trainer.resume(state, small_config(), WindowSet(clips, 5))


def test_bf16_is_refused_on_the_cpu(small_config: Configure):
    with pytest.raises(DeviceError, match="bf16 is for a GPU"):
        resolve_device(small_config(precision="bf16"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(small_config: Configure):
    with pytest.raises(DeviceError, match="no CUDA device"):
        resolve_device(small_config(device="cuda"))
    assert resolve_device(small_config(device="auto")).type == "cpu"
