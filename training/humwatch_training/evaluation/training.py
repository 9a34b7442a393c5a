"""Networks on disk: trained where they are missing, resumed where they were left, never mixed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from humwatch_training.console import say
from humwatch_training.datasets import DataClip
from humwatch_training.datasets.recordings import RecordingEntry, Split
from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.errors import CheckpointError, ResumeMismatch, TrainingInterrupted
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.fit.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, trained_network
from humwatch_training.fit.config import TrainingSpec
from humwatch_training.fit.progress import ProgressDisplay, StopSignal, display_for
from humwatch_training.fit.trainer import Progress, Trainer, resolve_device
from humwatch_training.networks.network import Network


@dataclass(frozen=True)
class TrainedNetwork:
    """A network whose budget is used up; ``reused`` is true where an earlier run had trained it."""

    folder: Path
    checkpoint: Checkpoint
    reused: bool

    def network(self) -> Network:
        """Build the network, on the CPU and ready to predict."""
        return trained_network(self.checkpoint)


def training_entries(clips: Sequence[DataClip], reader: ClipReader) -> tuple[RecordingEntry, ...]:
    """Return name and digest of each clip, by which a network knows what it was trained on."""
    return tuple(RecordingEntry(path=clip.name, sha256=reader.digest(clip)) for clip in clips)


def training_clips(clips: Sequence[DataClip], reader: ClipReader) -> list[Clip]:
    """Return log-mel frames of clips, for training."""
    return [Clip(clip.name, 0, reader.frames_db(clip)) for clip in clips]


@dataclass(frozen=True)
class NetworkJob:
    """A network to train: its folder, specification, and clips (name and digest)."""

    folder: Path
    spec: TrainingSpec
    clips: tuple[RecordingEntry, ...]

    @property
    def checkpoint_path(self) -> Path:
        """File of the network."""
        return self.folder / "checkpoint.pt"

    def stored(self, *, retrain: bool) -> Checkpoint | None:
        """Return the checkpoint on disk; None where there is none, or another one and ``retrain``.

        Raises ResumeMismatch where there is one of other settings or clips.
        """
        if not self.checkpoint_path.is_file():
            return None
        try:
            checkpoint = load_checkpoint(self.checkpoint_path)
            if difference := self._difference(checkpoint):
                raise ResumeMismatch(
                    f"{self.folder}: holds a network of {difference}; choose another --out, or replace it (--retrain)"
                )
        except CheckpointError:
            if not retrain:
                raise
            return None
        return checkpoint

    def _difference(self, checkpoint: Checkpoint) -> str | None:
        try:
            settings = TrainingSpec.model_validate_json(checkpoint.config).differences(self.spec)
        except ValueError as error:
            raise CheckpointError(f"{self.folder}: the checkpoint's settings are not valid: {error}") from error
        if settings:
            return f"other settings ({', '.join(settings)})"
        return None if Split.from_json(checkpoint.split).train == self.clips else "other train clips"

    def finished(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint's budget is used up."""
        minutes = self.spec.minutes
        out_of_time = minutes is not None and checkpoint.elapsed_s >= minutes * 60.0
        return checkpoint.step >= checkpoint.planned_steps or out_of_time


def train_network(
    job: NetworkJob, read_clips: Callable[[], list[Clip]], stop: StopSignal, *, retrain: bool = False
) -> TrainedNetwork:
    """Return the network of a job: from disk, trained further, or trained from the beginning.

    ``read_clips`` is called where there is something to train. Raises ResumeMismatch for a checkpoint of something
    else, and TrainingInterrupted, with the state saved, where a signal came.
    """
    stored = job.stored(retrain=retrain)
    if stored is not None and job.finished(stored):
        say(f"{job.folder}: trained already ({stored.step} steps)")
        return TrainedNetwork(job.folder, stored, reused=True)
    clips = read_clips()
    windows = WindowSet(clips, job.spec.network.n_frames, resolve_device(job.spec))
    if stored is None:
        job.folder.mkdir(parents=True, exist_ok=True)
        say(f"{job.folder}: training on {len(clips)} clips")
        split = Split(train=job.clips, calibration=(), test=()).model_dump_json()
        trainer = Trainer.start(job.spec, windows, Normalisation.of(clips), split=split)
    else:
        say(f"{job.folder}: going on from step {stored.step}")
        trainer = Trainer.resume(stored, job.spec, windows)
    with display_for(Console(stderr=True), say) as display:
        trainer.run(_NetworkObserver(job, display, stop))
    if not trainer.finished:
        raise TrainingInterrupted(
            f"{stop.name} after step {trainer.step_number} of {trainer.planned_steps} of {job.folder};"
            " the same command goes on from there"
        )
    return TrainedNetwork(job.folder, trainer.state(), reused=False)


class _NetworkObserver:
    """Observer that shows a training, keeps its checkpoints, and ends it when a signal came."""

    def __init__(self, job: NetworkJob, display: ProgressDisplay, stop: StopSignal) -> None:
        self._job = job
        self._display = display
        self._stop = stop

    def on_step(self, progress: Progress) -> None:
        self._display.update(progress)

    def on_checkpoint(self, trainer: Trainer) -> None:
        save_checkpoint(trainer.state(), self._job.checkpoint_path)

    def stop_requested(self) -> bool:
        return self._stop.name is not None
