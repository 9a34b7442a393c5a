"""What the routes of one app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from humwatch_service.access import ApiKeys
from humwatch_service.live.hub import Hub
from humwatch_service.live_calibration import LiveCalibrations
from humwatch_service.machines import Machines
from humwatch_service.metrics import Metrics
from humwatch_service.model_versions import ModelVersions
from humwatch_service.page_files import PageFiles
from humwatch_service.scorer import Scorer
from humwatch_service.scoring_queue import ScoringQueue
from humwatch_service.sessions import Attempts, Sessions
from humwatch_service.settings import Settings
from humwatch_service.tracing import Tracing
from humwatch_service.uploads import UploadSlots
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
