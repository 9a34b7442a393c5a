"""One shape for every error over HTTP: RFC 9457 ``application/problem+json``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from humwatch.errors import HumwatchError
from humwatch_service.errors import TooManyAttempts, Unavailable

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "humwatch_error": 500,
        "audio_error": 422,
        "audio_format_unsupported": 415,
        "audio_empty": 422,
        "audio_truncated": 422,
        "audio_header_invalid": 422,
        "audio_rate_unsupported": 422,
        "audio_too_many_channels": 422,
        "audio_channel_missing": 422,
        "audio_not_finite": 422,
        "audio_too_short": 422,
        "audio_too_long": 413,
        "audio_too_large": 413,
        "calibration_failed": 422,
        "bundle_error": 503,
        "bundle_invalid": 503,
        "bundle_digest_mismatch": 503,
        "bundle_parity_failed": 503,
        "predictor_error": 500,
        "operation_refused": 409,
        "shelf_too_long": 422,
        "repository_error": 503,
        "machine_not_found": 404,
        "version_not_found": 404,
        "service_error": 500,
        "settings_invalid": 500,
        "tracing_unavailable": 500,
        "api_key_required": 500,
        "address_unusable": 500,
        "port_in_use": 500,
        "file_unreadable": 500,
        "recording_not_normal": 422,
        "models_refused": 503,
        "sound_device_unavailable": 500,
        "service_unreachable": 502,
        "service_refused": 502,
        "request_error": 400,
        "request_malformed": 400,
        "request_invalid": 422,
        "machine_id_invalid": 422,
        "unauthorised": 401,
        "too_many_attempts": 429,
        "origin_refused": 403,
        "not_found": 404,
        "method_not_allowed": 405,
        "upgrade_required": 426,
        "body_timed_out": 408,
        "body_too_large": 413,
        "media_type_unsupported": 415,
        "stream_invalid": 400,
        "stream_idle": 408,
        "stream_owned": 409,
        "alarm_not_found": 404,
        "runbook_not_found": 404,
        "evidence_gone": 410,
        "normal_sound_not_found": 404,
        "calibration_running": 409,
        "calibration_not_found": 404,
        "minute_not_found": 404,
        "shadow_running": 409,
        "shadow_not_found": 404,
        "backtest_running": 409,
        "nothing_to_play": 409,
        "streams_full": 503,
        "viewers_full": 503,
        "state_unusable": 503,
        "client_gone": 499,
        "unavailable": 503,
        "overloaded": 503,
        "models_loading": 503,
        "machine_unavailable": 503,
        "scoring_timed_out": 503,
        "shutting_down": 503,
        "internal_error": 500,
    }
)
"""HTTP status of each code. 499 is never seen by anybody but the log: the caller is gone."""


class Problem(BaseModel):
    """What is wrong with a request (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="URI of the kind of problem: `urn:humwatch:problem:<code>`")
    title: str = Field(description="the kind of problem in words; the same for every request")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what is wrong with this request, and what would be right")
    code: str = Field(description="stable name of the problem, for programs")
    request_id: str | None = Field(description="the id under which the log has the request")


def status_of(error: HumwatchError) -> int:
    """HTTP status of an error."""
    return STATUSES.get(error.code, 500)


def problem_of(error: HumwatchError, request_id: str | None) -> Problem:
    """Describe an error."""
    title = (inspect.getdoc(type(error)) or error.code).splitlines()[0].rstrip(".")
    return Problem(
        type=f"urn:humwatch:problem:{error.code}",
        title=title,
        status=status_of(error),
        detail=str(error) or title,
        code=error.code,
        request_id=request_id,
    )


def problem_response(
    error: HumwatchError, request_id: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with an error."""
    problem = problem_of(error, request_id)
    own: dict[str, str] = dict(headers or {})
    if isinstance(error, (Unavailable, TooManyAttempts)):
        own["Retry-After"] = str(error.retry_after_s)
    if problem.status == 401:
        own["WWW-Authenticate"] = 'Bearer realm="humwatch"'
    return Response(problem.model_dump_json(), status_code=problem.status, media_type=MEDIA_TYPE, headers=own)
