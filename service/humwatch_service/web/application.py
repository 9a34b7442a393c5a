"""Parts that the routes of one app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from humwatch_service.calibration.parts import CalibrationParts
from humwatch_service.config.settings import Settings
from humwatch_service.live.lifecycle import LiveParts
from humwatch_service.metrics.registry import Metrics
from humwatch_service.models.registry import ModelRegistry
from humwatch_service.models.versions import ModelVersions
from humwatch_service.oversight.drifts import Drifts
from humwatch_service.oversight.false_alarms import SeenFalseAlarms
from humwatch_service.oversight.limits import LimitsFit
from humwatch_service.rehearsal.backtests import Backtests
from humwatch_service.scoring.queue import ScoringQueue
from humwatch_service.scoring.scorer import Scorer
from humwatch_service.scoring.uploads import UploadSlots
from humwatch_service.shadow.shadows import Shadows
from humwatch_service.sources.supervisor import SourceSupervisor
from humwatch_service.storage.state_folder import StateFolder
from humwatch_service.telemetry.tracing import Tracing
from humwatch_service.viewers.broadcast import Broadcast
from humwatch_service.web.access import ApiKeys
from humwatch_service.web.page_files import PageFiles
from humwatch_service.web.sessions import Attempts, Sessions
from humwatch_service.webhooks.sender import WebhookSender


@dataclass(frozen=True)
class Service:
    """Parts of a running service."""

    settings: Settings
    models: ModelRegistry
    queue: ScoringQueue
    uploads: UploadSlots
    scorer: Scorer
    metrics: Metrics
    state: StateFolder
    live: LiveParts
    sources: SourceSupervisor
    broadcast: Broadcast
    versions: ModelVersions
    calibration: CalibrationParts
    drifts: Drifts
    false_alarms: SeenFalseAlarms
    limits: LimitsFit
    shadows: Shadows
    backtests: Backtests
    webhooks: WebhookSender
    tracing: Tracing
    keys: ApiKeys
    sessions: Sessions
    attempts: Attempts
    page: PageFiles

    def stop_streams(self) -> None:
        """Take no more sound, and show no more: the service stops."""
        self.broadcast.close()
        self.live.stop_streams()


def service_of(request: HTTPConnection) -> Service:
    """Return the service that a request or a WebSocket is for."""
    return cast("Service", request.app.state.service)
