"""Exceptions of Humwatch.

::

    HumwatchError
    ├── AudioError                      the sound cannot be used
    │   ├── AudioFormatUnsupported          no recording, or a form of one that is not read
    │   ├── AudioEmpty                      no bytes, or no samples
    │   ├── AudioTruncated                  fewer samples than the header says
    │   ├── AudioHeaderInvalid              a header that contradicts itself
    │   ├── AudioRateUnsupported            a sample rate outside the limits (0 Hz too)
    │   ├── AudioTooManyChannels            more channels than the limit
    │   ├── AudioChannelMissing             the chosen channel is not in the recording
    │   ├── AudioNotFinite                  NaN or infinite samples
    │   ├── AudioTooShort                   shorter than the shortest sound that can be scored
    │   ├── AudioTooLong                    longer than the limit
    │   └── AudioTooLarge                   decodes to more samples than the limit
    ├── CalibrationError                thresholds cannot be fitted from these recordings
    ├── BundleError                     a model that cannot be trusted
    │   ├── BundleInvalid                   a file is missing, unreadable or contradicts another
    │   ├── BundleDigestMismatch            a file is not the one that the manifest names
    │   └── BundleParityFailed              the predictor does not reproduce its golden outputs
    ├── PredictorError                  the inference engine cannot run the graph as asked
    ├── OperationRefused                an operator's command does not fit the machine's state
    │   └── ShelfTooLong                    shelved for longer than the rule allows
    └── RepositoryError                 the folder of models
        ├── MachineNotFound                 no machine of that id
        └── VersionNotFound                 no such version of the machine's model

``code`` is stable: it is what HTTP answers, logs and ``--json`` output carry.
"""

from __future__ import annotations

from typing import ClassVar


class HumwatchError(Exception):
    """Base of every error that Humwatch raises on purpose; its text is written for the user."""

    code: ClassVar[str] = "humwatch_error"


class AudioError(HumwatchError):
    """The sound cannot be used."""

    code = "audio_error"


class AudioFormatUnsupported(AudioError):
    """No recording, or a form of one that is not read."""

    code = "audio_format_unsupported"


class AudioEmpty(AudioError):
    """No bytes, or no samples."""

    code = "audio_empty"


class AudioTruncated(AudioError):
    """Fewer samples than the header says."""

    code = "audio_truncated"


class AudioHeaderInvalid(AudioError):
    """A header that contradicts itself."""

    code = "audio_header_invalid"


class AudioRateUnsupported(AudioError):
    """A sample rate outside the limits, 0 Hz included."""

    code = "audio_rate_unsupported"


class AudioTooManyChannels(AudioError):
    """More channels than the limit."""

    code = "audio_too_many_channels"


class AudioChannelMissing(AudioError):
    """The chosen channel is not in the recording."""

    code = "audio_channel_missing"


class AudioNotFinite(AudioError):
    """NaN or infinite samples."""

    code = "audio_not_finite"


class AudioTooShort(AudioError):
    """Shorter than the shortest sound that can be scored."""

    code = "audio_too_short"


class AudioTooLong(AudioError):
    """Longer than the limit."""

    code = "audio_too_long"


class AudioTooLarge(AudioError):
    """Decodes to more samples than the limit."""

    code = "audio_too_large"


class CalibrationError(HumwatchError):
    """Thresholds cannot be fitted from these recordings."""

    code = "calibration_failed"


class BundleError(HumwatchError):
    """A model that cannot be trusted."""

    code = "bundle_error"


class BundleInvalid(BundleError):
    """A file of the bundle is missing, unreadable or contradicts another."""

    code = "bundle_invalid"


class BundleDigestMismatch(BundleError):
    """A file of the bundle is not the one that the manifest names."""

    code = "bundle_digest_mismatch"


class BundleParityFailed(BundleError):
    """The predictor does not reproduce the golden outputs stored with it."""

    code = "bundle_parity_failed"


class PredictorError(HumwatchError):
    """The inference engine cannot run the graph as asked."""

    code = "predictor_error"


class OperationRefused(HumwatchError):
    """The command does not fit the machine's state."""

    code = "operation_refused"


class ShelfTooLong(OperationRefused):
    """The alarm may not be shelved for so long."""

    code = "shelf_too_long"


class RepositoryError(HumwatchError):
    """The folder of models cannot be used."""

    code = "repository_error"


class MachineNotFound(RepositoryError):
    """No machine of that id."""

    code = "machine_not_found"


class VersionNotFound(RepositoryError):
    """No such version of the machine's model."""

    code = "version_not_found"
