"""What the routes of one app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from humwatch_service.calibration.collection import LiveCalibrations
from humwatch_service.config.settings import Settings
from humwatch_service.live.hub import Hub
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import Machines
from humwatch_service.models.versions import ModelVersions
from humwatch_service.scoring.queue import ScoringQueue
from humwatch_service.scoring.scorer import Scorer
from humwatch_service.scoring.uploads import UploadSlots
from humwatch_service.telemetry.tracing import Tracing
from humwatch_service.viewers.broadcast import Broadcast
from humwatch_service.web.access import ApiKeys
from humwatch_service.web.page_files import PageFiles
from humwatch_service.web.sessions import Attempts, Sessions
from humwatch_service.webhooks.sender import WebhookSender


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: Settings
    machines: Machines
    queue: ScoringQueue
    uploads: UploadSlots
    scorer: Scorer
    metrics: Metrics
    live: Hub
    broadcast: Broadcast
    versions: ModelVersions
    calibrations: LiveCalibrations
    webhooks: WebhookSender
    tracing: Tracing
    keys: ApiKeys
    sessions: Sessions
    attempts: Attempts
    page: PageFiles


def service_of(request: HTTPConnection) -> Service:
    """The service that a request or a WebSocket is for."""
    return cast("Service", request.app.state.service)
