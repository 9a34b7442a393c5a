"""Errors of the training package.

HumwatchError
└── TrainingError
    ├── TrainingDataError     recordings that cannot be trained on
    ├── FitConfigError        settings that contradict each other
    ├── DeviceError           a device or precision this machine does not offer
    ├── RunFolderError        a run folder that cannot be used as asked
    ├── CheckpointError       a checkpoint that cannot be written or read
    │   └── ResumeMismatch    a checkpoint of another configuration or of other data
    ├── TrainingDiverged      gradients that stay non-finite
    ├── StrategyError         a mask that a network cannot predict under
    ├── TrainingInterrupted   a run that was stopped by a signal and can be resumed
    ├── BenchError            the service could not be measured
    └── ExportParityError     an exported graph that differs from the model
"""

from __future__ import annotations

from humwatch.errors import HumwatchError


class TrainingError(HumwatchError):
    """Base of everything the training package raises."""

    code = "training"


class TrainingDataError(TrainingError):
    """Recordings are missing, too short, unreadable, or not known to be normal."""

    code = "training_data"


class FitConfigError(TrainingError):
    """The settings of a run contradict each other."""

    code = "fit_config"


class DeviceError(TrainingError):
    """The device or the precision asked for is not offered by this machine."""

    code = "device"


class RunFolderError(TrainingError):
    """The run folder is taken, missing or not writable."""

    code = "run_folder"


class CheckpointError(TrainingError):
    """A checkpoint cannot be written, is truncated, or is not one of ours."""

    code = "checkpoint"


class ResumeMismatch(CheckpointError):
    """The checkpoint belongs to another configuration or to other recordings."""

    code = "resume_mismatch"


class TrainingDiverged(TrainingError):
    """Too many steps in a row gave a gradient that is not finite."""

    code = "training_diverged"


class StrategyError(TrainingError):
    """The network, or its windows, cannot follow the strategy asked for."""

    code = "strategy"


class TrainingInterrupted(TrainingError):
    """The run was stopped by a signal after saving a checkpoint."""

    code = "training_interrupted"


class ExportParityError(TrainingError):
    """The exported graph does not say what the model says, or a stream not what a file says."""

    code = "export_parity"


class BenchError(TrainingError):
    """The service could not be measured."""

    code = "bench"
