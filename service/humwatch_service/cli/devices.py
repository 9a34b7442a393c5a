"""``humwatch devices``: the microphones of this machine."""

from __future__ import annotations

from dataclasses import asdict

from humwatch_service.cli.console import JsonOption, failures, show, table_text
from humwatch_service.sources.capture import input_devices, load_sounddevice


def devices(as_json: JsonOption = False) -> None:
    """List the input devices: what `humwatch listen --device` takes."""
    with failures(as_json=as_json):
        found = input_devices(load_sounddevice())
    rows = [
        (
            f"{device.number}{' *' if device.default else ''}",
            device.name,
            device.host_api,
            str(device.channels),
            str(device.rate_hz),
        )
        for device in found
    ]
    text = table_text(("number", "name", "host API", "channels", "rate (Hz)"), rows) if rows else "no input device"
    show({"devices": [asdict(device) for device in found]}, text, as_json=as_json)
