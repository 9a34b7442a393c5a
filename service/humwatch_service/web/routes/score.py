"""``POST /score``: a recording in, a calibrated score out."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from humwatch.errors import AudioError, HumwatchError
from humwatch_service.errors import (
    ClientGone,
    Overloaded,
    RequestError,
    RequestInvalid,
    ScoringTimedOut,
)
from humwatch_service.headers import quality_values
from humwatch_service.scoring.answers import ScoreAnswer
from humwatch_service.scoring.scorer import ScoredRecording, ScoreJob
from humwatch_service.scoring.uploads import Upload, receive
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.telemetry.requests import request_id_of
from humwatch_service.telemetry.tracing import past_span
from humwatch_service.web.application import Service, service_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.routes.hang_up import hung_up
from humwatch_service.web.routes.parameters import checked_machine_id

MAX_CHANNEL: Final = 65_535

_CHANNEL = re.compile(r"[0-9]{1,5}")

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "the recording: WAV, FLAC and others (docs/recordings.md)",
        },
        "machine_id": {"type": "string", "description": "machine whose model judges it"},
        "channel": {"type": "integer", "minimum": 0, "description": "channel to listen to, counted from 0"},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "audio/wav": _BINARY,
            "audio/flac": _BINARY,
            "application/octet-stream": _BINARY,
        },
    }
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": ScoreAnswer, "content": {"image/png": _BINARY}, "description": "The score, or its picture."},
    **problems(404, 408, 415, 422, 503),
}

MachineQuery = Annotated[str | None, Query(description="machine whose model judges the recording")]
ChannelQuery = Annotated[
    int | None, Query(ge=0, le=MAX_CHANNEL, description="channel to listen to, counted from 0; default: the model's")
]
PlotQuery = Annotated[Literal["png"] | None, Query(description="answer with a picture, as with `Accept: image/png`")]

router = APIRouter(tags=["score"])
_log = event_logger("humwatch.score")


@router.put("/score", responses=_RESPONSES, openapi_extra=_BODY)
@router.post("/score", responses=_RESPONSES, openapi_extra=_BODY)
async def score(
    request: Request, machine_id: MachineQuery = None, channel: ChannelQuery = None, plot: PlotQuery = None
) -> Response:
    """Score a recording against the model of a machine."""
    return await _Scoring(request, machine_id, channel, picture=_wants_picture(request, plot)).answer()


@router.put("/v1/machines/{machine_id}/score", responses=_RESPONSES, openapi_extra=_BODY)
@router.post("/v1/machines/{machine_id}/score", responses=_RESPONSES, openapi_extra=_BODY)
async def score_machine(
    request: Request,
    machine_id: Annotated[str, Path(description="machine whose model judges the recording")],
    channel: ChannelQuery = None,
    plot: PlotQuery = None,
) -> Response:
    """Score a recording against the model of a machine; the same as ``POST /score``."""
    return await _Scoring(request, machine_id, channel, picture=_wants_picture(request, plot)).answer()


class _Scoring:
    """One request for a score, from its head to its answer."""

    def __init__(self, request: Request, machine_id: str | None, channel: int | None, *, picture: bool) -> None:
        self._request = request
        self._service: Service = service_of(request)
        self._machine_id = machine_id or None
        self._channel = channel
        self._picture = picture
        self._started_s = time.perf_counter()

    async def answer(self) -> Response:
        """Receive, score, count, and answer."""
        metrics = self._service.metrics
        try:
            scored = await self._scored()
        except HumwatchError as error:
            metrics.rejected(error.code)
            if self._machine_id is not None:
                metrics.scored(self._machine_id, _outcome(error))
            raise
        except Exception:
            metrics.rejected("internal_error")
            if self._machine_id is not None:
                metrics.scored(self._machine_id, "failed")
            raise
        self._note(scored)
        return _response(scored)

    async def _scored(self) -> ScoredRecording:
        service = self._service
        if self._machine_id is not None:
            service.models.get(checked_machine_id(self._machine_id))
        service.queue.refuse_if_full()
        with service.uploads.slot():
            async with receive(self._request) as upload:
                received_s = time.perf_counter() - self._started_s
                service.metrics.stage("receive", received_s)
                past_span("receive", received_s)
                job = self._job(upload)
                return await service.queue.run(
                    lambda token: service.scorer.score(job, token.check), lambda: hung_up(self._request)
                )

    def _job(self, upload: Upload) -> ScoreJob:
        self._take_fields(upload.fields)
        if self._machine_id is None:
            raise RequestInvalid("say which machine this is, in the form's or the query's `machine_id`")
        settings = self._service.settings
        return ScoreJob(
            source=upload.file,
            model=self._service.models.get(checked_machine_id(self._machine_id)),
            channel=self._channel,
            limits=settings.decode_limits,
            use_level=settings.machine(self._machine_id).run_state == "level",
            picture=self._picture,
            request_id=request_id_of(self._request.scope),
        )

    def _take_fields(self, fields: dict[str, str]) -> None:
        unknown = sorted(set(fields) - {"machine_id", "channel"})
        if unknown:
            raise RequestInvalid(f"the form has an unknown field {unknown[0][:40]!r}")
        fields = {name: value for name, value in fields.items() if value.strip()}  # inputs that were left empty
        machine_id = fields.get("machine_id", self._machine_id)
        if self._machine_id is not None and machine_id != self._machine_id:
            raise RequestInvalid("two different machine ids were sent")
        self._machine_id = machine_id
        if "channel" in fields:
            text = fields["channel"]
            if not _CHANNEL.fullmatch(text) or int(text) > MAX_CHANNEL:
                raise RequestInvalid(f"channel has to be a whole number from 0 to {MAX_CHANNEL}")
            if self._channel not in (None, int(text)):
                raise RequestInvalid("two different channels were sent")
            self._channel = int(text)

    def _note(self, scored: ScoredRecording) -> None:
        metrics, answer = self._service.metrics, scored.answer
        duration_s = time.perf_counter() - self._started_s
        metrics.scored(answer.machine_id, answer.state)
        metrics.windows(answer.machine_id, scored.windows)
        if answer.state not in ("unknown", "off"):
            metrics.judged(answer.machine_id, answer.score, answer.raw_score)
        for stage, seconds in scored.stage_seconds.items():
            metrics.stage(stage, seconds)
        metrics.answered(duration_s)
        _log.info(
            "scored",
            machine_id=answer.machine_id,
            model_version=answer.model_version,
            state=answer.state,
            score=round(answer.score, 4),
            recording_s=round(answer.duration_s, 3),
            duration_s=round(duration_s, 4),
            warnings=[warning.code for warning in answer.warnings],
        )


def _outcome(error: HumwatchError) -> str:
    for kind, outcome in ((Overloaded, "overloaded"), (ScoringTimedOut, "timed_out"), (ClientGone, "gone")):
        if isinstance(error, kind):
            return outcome
    return "refused" if isinstance(error, (AudioError, RequestError)) else "failed"


def _response(scored: ScoredRecording) -> Response:
    answer = scored.answer
    if scored.png is None:
        return Response(answer.model_dump_json(), media_type="application/json")
    headers = {"X-Humwatch-Score": f"{answer.score:.6g}", "X-Humwatch-State": answer.state}
    return Response(scored.png, media_type="image/png", headers=headers)


def _wants_picture(request: Request, plot: str | None) -> bool:
    """Whether a picture was asked for, by the query or because the caller would rather have it than JSON."""
    if plot == "png":
        return True
    qualities = quality_values(request.headers.get("accept", "*/*"))
    return qualities.get("image/png", 0.0) > max(qualities.get("application/json", 0.0), qualities.get("*/*", 0.0))
