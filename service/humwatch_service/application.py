"""What the routes of one app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from humwatch_service.machines import Machines
from humwatch_service.metrics import Metrics
from humwatch_service.scorer import Scorer
from humwatch_service.scoring_queue import ScoringQueue
from humwatch_service.settings import Settings
from humwatch_service.uploads import UploadSlots


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: Settings
    machines: Machines
    queue: ScoringQueue
    uploads: UploadSlots
    scorer: Scorer
    metrics: Metrics


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    return cast("Service", request.app.state.service)
