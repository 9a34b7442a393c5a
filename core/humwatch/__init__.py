"""Core of Humwatch: from sound to scores, from scores to alarms.

Pure computation on numbers: no clock, no network, no globals. Files, live streams and training all pass through
:class:`humwatch.monitor.Monitor`, so that they cannot disagree.

The names below are what a program needs. Each is imported at its first use, so that ``import humwatch`` loads neither
numpy nor an inference engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from humwatch.alarm.rule import AlarmRule
    from humwatch.alarm.state_machine import AlarmStateMachine
    from humwatch.bundle.bundle import Bundle, read_bundle
    from humwatch.bundle.repository import ModelRepository
    from humwatch.calibration.fit import calibrate
    from humwatch.errors import HumwatchError
    from humwatch.live.model import LiveModel
    from humwatch.live.monitor import LiveMonitor
    from humwatch.onnx_predictor import OnnxPredictor

__all__ = [
    "AlarmRule",
    "AlarmStateMachine",
    "Bundle",
    "HumwatchError",
    "LiveModel",
    "LiveMonitor",
    "ModelRepository",
    "OnnxPredictor",
    "calibrate",
    "read_bundle",
]

if not TYPE_CHECKING:
    _MODULES = {
        "AlarmRule": "humwatch.alarm.rule",
        "AlarmStateMachine": "humwatch.alarm.state_machine",
        "Bundle": "humwatch.bundle.bundle",
        "HumwatchError": "humwatch.errors",
        "LiveModel": "humwatch.live.model",
        "LiveMonitor": "humwatch.live.monitor",
        "ModelRepository": "humwatch.bundle.repository",
        "OnnxPredictor": "humwatch.onnx_predictor",
        "calibrate": "humwatch.calibration.fit",
        "read_bundle": "humwatch.bundle.bundle",
    }

    def __getattr__(name: str) -> object:
        """Import a public name at its first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found
