"""Recordings as phones and recorders write them, encoded through PyAV and libsndfile."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile

THROUGH_PYAV = {
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "3gp": ("3gp", "libopencore_amrnb"),
    "amr": ("amr", "libopencore_amrnb"),
    "wma": ("asf", "wmav2"),
    "mka": ("matroska", "libopus"),
    "alac": ("ipod", "alac"),
}
THROUGH_LIBSNDFILE = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_24"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "FLOAT"),
    "mulaw": ("WAV", "ULAW"),
    "adpcm": ("WAV", "IMA_ADPCM"),
}


def coded(samples: np.ndarray, rate_hz: int, kind: str, *, bits_per_s: int = 64_000, **options: str) -> bytes:
    """Return mono float samples in one of the forms above; ``options`` are FFmpeg's for the container."""
    if kind in THROUGH_LIBSNDFILE:
        container, subtype = THROUGH_LIBSNDFILE[kind]
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate_hz, format=container, subtype=subtype)
        return buffer.getvalue()
    container, codec = THROUGH_PYAV[kind]
    pcm = np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:  # some of FFmpeg's writers open the file again
        path = Path(folder) / "sound"
        with av.open(str(path), "w", format=container, options=options) as output:
            stream = output.add_stream(codec, rate=rate_hz)
            stream.layout, stream.bit_rate = "mono", bits_per_s
            for start in range(0, len(pcm), 1 << 14):
                frame = av.AudioFrame.from_ndarray(pcm[None, start : start + (1 << 14)], format="s16", layout="mono")
                frame.sample_rate, frame.pts = rate_hz, start
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path.read_bytes()
