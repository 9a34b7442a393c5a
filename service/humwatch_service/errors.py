"""What can go wrong around the core: the service's branch of the one exception tree.

::

    HumwatchError
    └── ServiceError
        ├── SettingsInvalid             a setting is unknown or has a value that it cannot have
        ├── ApiKeyRequired              the service would be open to the network without a key
        ├── TracingUnavailable          traces are asked for, and OpenTelemetry is not installed
        ├── AddressUnusable             the address cannot be listened on
        │   └── PortInUse                   another program listens there
        ├── FileUnreadable              a file named on the command line cannot be read
        ├── RecordingNotNormal          a recording for calibration that says it is abnormal
        ├── ModelsRefused               bundles that failed their checks
        ├── SoundDeviceUnavailable      no such microphone, or it cannot be opened
        ├── ServiceUnreachable          the service that should be sent to does not answer
        ├── ServiceRefused              the service that was sent to says no, and why
        ├── RequestError                the caller's doing
        │   ├── RequestMalformed            the body cannot be parsed
        │   ├── RequestInvalid              a parameter is missing or has a value that it cannot have
        │   ├── MachineIdInvalid            not a machine id at all
        │   ├── Unauthorised                no API key, or a wrong one
        │   ├── TooManyAttempts             too many wrong keys came from this address
        │   ├── OriginRefused               the browser's page, or the host name, is a stranger's
        │   ├── NotFound                    no such path
        │   ├── MethodNotAllowed            the path does not take this method
        │   ├── UpgradeRequired             a WebSocket was meant, and Upgrade did not come
        │   ├── BodyTimedOut                the body came too slowly
        │   ├── BodyTooLarge                the body is over the limit
        │   ├── MediaTypeUnsupported        the content type cannot be read
        │   ├── ClientGone                  the caller hung up before the answer
        │   ├── StreamInvalid               a stream's message breaks the protocol
        │   ├── StreamIdle                  a stream sent nothing for too long
        │   ├── StreamOwned                 another stream is live for the machine
        │   ├── AlarmNotFound               there is no such alarm
        │   ├── RunbookNotFound             there is no such runbook
        │   ├── EvidenceGone                the alarm's sound is not kept any more
        │   ├── NormalSoundNotFound         no normal sound of the machine was kept yet
        │   ├── CalibrationRunning          the machine is being calibrated already
        │   ├── CalibrationNotFound         the machine is not being calibrated
        │   ├── MinuteNotFound              the commissioning has no such minute
        │   ├── ShadowRunning               a version runs beside the one in use already
        │   ├── ShadowNotFound              no version runs beside the one in use
        │   ├── BacktestRunning             a backtest is being run already
        │   └── NothingToPlay               there is no sound or history for a backtest
        ├── Unavailable                 not now
        │   ├── Overloaded                  all workers are busy and the waiting line is full
        │   ├── ModelsLoading               the models are being loaded
        │   ├── MachineUnavailable          the machine's model was refused
        │   ├── ScoringTimedOut             scoring took longer than allowed
        │   ├── StreamsFull                 as many streams are live as the service takes
        │   ├── ViewersFull                 as many connections look on as the service takes
        │   ├── StateUnusable               the database of alarms cannot be read or written
        │   └── ShuttingDown                the service is stopping
        └── InternalError               a fault of Humwatch's own
"""

from __future__ import annotations

import math

from humwatch.errors import HumwatchError


class ServiceError(HumwatchError):
    """The service cannot do what was asked."""

    code = "service_error"


class SettingsInvalid(ServiceError):
    """A setting is unknown, or has a value that it cannot have."""

    code = "settings_invalid"


class ApiKeyRequired(ServiceError):
    """The service would be open to the network without an API key."""

    code = "api_key_required"


class TracingUnavailable(ServiceError):
    """Traces are asked for, and OpenTelemetry is not installed."""

    code = "tracing_unavailable"


class AddressUnusable(ServiceError):
    """The address cannot be listened on."""

    code = "address_unusable"


class PortInUse(AddressUnusable):
    """Another program listens on the port."""

    code = "port_in_use"


class FileUnreadable(ServiceError):
    """A file named on the command line cannot be read or written."""

    code = "file_unreadable"


class RecordingNotNormal(ServiceError):
    """A recording for calibration says that it is abnormal."""

    code = "recording_not_normal"


class ModelsRefused(ServiceError):
    """Bundles failed their checks."""

    code = "models_refused"


class SoundDeviceUnavailable(ServiceError):
    """There is no such microphone, or it cannot be opened."""

    code = "sound_device_unavailable"


class ServiceUnreachable(ServiceError):
    """The service that should be sent to does not answer."""

    code = "service_unreachable"


class ServiceRefused(ServiceError):
    """The service that was sent to says no."""

    code = "service_refused"


class RequestError(ServiceError):
    """The request cannot be answered as it is."""

    code = "request_error"


class RequestMalformed(RequestError):
    """The body cannot be parsed."""

    code = "request_malformed"


class RequestInvalid(RequestError):
    """A parameter is missing, or has a value that it cannot have."""

    code = "request_invalid"


class MachineIdInvalid(RequestError):
    """This is not a machine id."""

    code = "machine_id_invalid"


class Unauthorised(RequestError):
    """No API key was sent, or a wrong one."""

    code = "unauthorised"


class TooManyAttempts(RequestError):
    """Too many wrong keys came from one address."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = math.ceil(retry_after_s)


class OriginRefused(RequestError):
    """The host name or the page that the request comes from is not this service's own."""

    code = "origin_refused"


class NotFound(RequestError):
    """There is nothing at this path."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path does not take this method."""

    code = "method_not_allowed"


class UpgradeRequired(RequestError):
    """This is the address of a WebSocket, and the request came without Upgrade."""

    code = "upgrade_required"


class BodyTimedOut(RequestError):
    """The body came too slowly."""

    code = "body_timed_out"


class BodyTooLarge(RequestError):
    """The body is over the limit."""

    code = "body_too_large"


class MediaTypeUnsupported(RequestError):
    """The content type or encoding of the body is not read."""

    code = "media_type_unsupported"


class ClientGone(RequestError):
    """The caller hung up before the answer."""

    code = "client_gone"


class StreamInvalid(RequestError):
    """A message of the stream breaks the protocol."""

    code = "stream_invalid"


class StreamIdle(RequestError):
    """The stream sent nothing for too long."""

    code = "stream_idle"


class StreamOwned(RequestError):
    """Another stream is live for this machine."""

    code = "stream_owned"


class AlarmNotFound(RequestError):
    """There is no such alarm."""

    code = "alarm_not_found"


class RunbookNotFound(RequestError):
    """There is no such runbook."""

    code = "runbook_not_found"


class EvidenceGone(RequestError):
    """The alarm's sound is not kept, or not kept any more."""

    code = "evidence_gone"


class NormalSoundNotFound(RequestError):
    """No normal sound of the machine was kept yet."""

    code = "normal_sound_not_found"


class CalibrationRunning(RequestError):
    """The machine is being calibrated already."""

    code = "calibration_running"


class CalibrationNotFound(RequestError):
    """The machine is not being calibrated."""

    code = "calibration_not_found"


class MinuteNotFound(RequestError):
    """The commissioning has no such minute, or not its sound any more."""

    code = "minute_not_found"


class ShadowRunning(RequestError):
    """A version runs beside the one in use already."""

    code = "shadow_running"


class ShadowNotFound(RequestError):
    """No version runs beside the one in use."""

    code = "shadow_not_found"


class BacktestRunning(RequestError):
    """A backtest is being run already."""

    code = "backtest_running"


class NothingToPlay(RequestError):
    """There is no sound or history for a backtest."""

    code = "nothing_to_play"


class Unavailable(ServiceError):
    """Not now; asking again later may help."""

    code = "unavailable"
    retry_after_s: int = 2


class Overloaded(Unavailable):
    """All workers are busy and the waiting line is full."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelsLoading(Unavailable):
    """The models, or what needs them, are being loaded."""

    code = "models_loading"


class MachineUnavailable(Unavailable):
    """The machine's model was refused, and none was in use before."""

    code = "machine_unavailable"
    retry_after_s = 30


class ScoringTimedOut(Unavailable):
    """Scoring took longer than allowed."""

    code = "scoring_timed_out"


class StreamsFull(Unavailable):
    """As many streams are live as the service takes."""

    code = "streams_full"
    retry_after_s = 10


class ViewersFull(Unavailable):
    """As many connections look on as the service takes."""

    code = "viewers_full"
    retry_after_s = 10


class StateUnusable(Unavailable):
    """The database of alarms cannot be read or written."""

    code = "state_unusable"
    retry_after_s = 10


class ShuttingDown(Unavailable):
    """The service is stopping."""

    code = "shutting_down"


class InternalError(ServiceError):
    """A fault of Humwatch's own; the log has it under the request id."""

    code = "internal_error"
