"""Content types of streams: which samples they announce, or that the sound itself has to say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from typing import Final, get_args

from humwatch_service.errors import MediaTypeUnsupported
from humwatch_service.protocol.messages import SampleFormat, format_of

WAV_TYPES: Final = frozenset(
    {"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", "application/wav", "application/x-wav"}
)
FORM_TYPE: Final = "application/x-www-form-urlencoded"
"""Type that curl, wget and PowerShell give to whatever they send, unless they are told otherwise."""
UNSPECIFIED_TYPES: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", FORM_TYPE})
"""Types that programs send where nobody has told them which it is."""

_FORMATS: Final = get_args(SampleFormat)
_LINEAR: Final[dict[str, tuple[SampleFormat, SampleFormat]]] = {
    "audio/l16": ("s16be", "s16le"),
    "audio/l24": ("s24be", "s24le"),
}
_LITTLE: Final = {"little-endian", "little", "1234", "le"}
_BIG: Final = {"big-endian", "big", "4321", "be"}
_WHAT_TO_SEND: Final = (
    "send audio/L16;rate=16000;channels=1 or audio/L24;... (big-endian), audio/x-raw;format=S16LE;rate=16000;channels=1"
    " (or S24LE, S24_32LE, S32LE, F32LE, F64LE, or ...BE), or a WAV file without an end as audio/wav"
)
_NOT_TAKEN: Final = {
    "audio/basic": "8-bit mu-law of 8 kHz",
    "audio/pcmu": "8-bit mu-law",
    "audio/pcma": "8-bit A-law",
    "audio/l8": "samples of 8 bits",
    "audio/l20": "samples of 20 bits, packed",
    "audio/x-raw-int": "a type of GStreamer 0.10",
    "audio/x-raw-float": "a type of GStreamer 0.10",
    "audio/pcm": "samples of no stated format",
    "audio/x-pcm": "samples of no stated format",
}


@dataclass(frozen=True)
class AudioFormat:
    """Samples of a stream: their format, frames a second, and samples of a frame."""

    format: SampleFormat
    rate_hz: int
    channels: int


def media_type_of(content_type: str) -> str:
    """Return the type and subtype, in lower case, without parameters."""
    return content_type.partition(";")[0].partition(",")[0].strip().lower()


def audio_format(content_type: str) -> AudioFormat | None:
    """Return what ``audio/L16``, ``audio/L24`` (RFC 2586, RFC 3190) or ``audio/x-raw`` (GStreamer) announces.

    None where the sound itself has to say it: a WAV file, or no type that says anything.

    Raises:
        MediaTypeUnsupported: the type is not taken, or does not say all.
    """
    kind = media_type_of(content_type)
    if kind in WAV_TYPES or kind in UNSPECIFIED_TYPES:
        return None
    parameters = _parameters(content_type)
    if kind in _LINEAR:
        form: object = _LINEAR[kind][_is_little(parameters)]
    elif kind == "audio/x-raw":
        form = _raw_format(parameters)
    else:
        raise MediaTypeUnsupported(
            f"{kind[:80]!r} ({_NOT_TAKEN.get(kind, 'no samples')}) is not heard: {_WHAT_TO_SEND}"
        )
    rate, channels = parameters.get("rate", ""), parameters.get("channels", "1")
    if not all(text.isascii() and text.isdigit() for text in (rate, channels)):
        raise MediaTypeUnsupported(
            "rate (and channels) have to be whole numbers, as in audio/L16;rate=16000;channels=1"
        )
    return AudioFormat(form, int(rate[:9]), int(channels[:9]))  # type: ignore[arg-type]  # one of _FORMATS


def _parameters(content_type: str) -> dict[str, str]:
    """Return parameters by their names in lower case, also those of GStreamer's caps: ``, rate=(int)16000``."""
    parsed = Message()
    parsed["Content-Type"] = re.sub(r"=\s*\([a-z0-9]+\)\s*", "=", content_type.replace(",", ";"))
    return {name.lower(): value for name, value in parsed.get_params([])[1:]}


def _is_little(parameters: dict[str, str]) -> bool:
    order = parameters.get("endianness", "big-endian").lower()
    if order not in _LITTLE | _BIG:
        raise MediaTypeUnsupported("endianness has to be big-endian (as RFC 2586 has it) or little-endian")
    return order in _LITTLE


def _raw_format(parameters: dict[str, str]) -> object:
    form = format_of(parameters.get("format", ""))
    if form not in _FORMATS:
        raise MediaTypeUnsupported(f"the format {str(form)[:40]!r} is not heard: {_WHAT_TO_SEND}")
    if parameters.get("layout", "interleaved") != "interleaved" and parameters.get("channels", "1") != "1":
        raise MediaTypeUnsupported("channels have to be interleaved: layout=interleaved")
    return form
