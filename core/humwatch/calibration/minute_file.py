"""Evidence of a minute as a file, from which the same thresholds are fitted, to the bit."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np

from humwatch.arrays import AnyArray, Float64
from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.detectors.lines import ClipLines, LinePower
from humwatch.errors import CalibrationError
from humwatch.scoring.evidence import Evidence, ProfileEvidence
from humwatch.scoring.normal_clip import NormalClip

_FORM: Final = 1
_PROFILES: Final = [part.name for part in fields(ProfileEvidence)]


def pack_minute(minute: CollectedMinute, *, source: str) -> bytes:
    """Return the evidence of a minute as an ``.npz`` file; its sound is not in it.

    Args:
        minute: minute of normal sound.
        source: name of the network and the front end that the evidence is from.
    """
    arrays: dict[str, AnyArray] = {}
    facts: dict[str, Any] = {
        "form": _FORM,
        "source": source,
        "number": minute.number,
        "at_s": minute.at_s,
        "digests": list(minute.digests),
        "axes": {},
        "clips": [],
    }

    def put(name: str, array: AnyArray) -> None:
        """Keep an array as it lies in memory: matrix products round differently over another layout."""
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        facts["axes"][name] = axes
        arrays[name] = np.ascontiguousarray(array.transpose(axes))

    for number, clip in enumerate(minute.clips):
        evidence, profiles = clip.evidence, clip.evidence.profiles
        own = profiles is None or evidence.sums is not profiles.slope
        if own:
            put(f"{number}_sums", evidence.sums)
        if profiles is not None:
            for name in _PROFILES:
                put(f"{number}_{name}", getattr(profiles, name))
        put(f"{number}_counts", evidence.counts)
        if number and np.array_equal(evidence.counts, minute.clips[0].evidence.counts):
            del arrays[f"{number}_counts"]
        if clip.lines is not None:
            put(f"{number}_early", clip.lines.early.power)
            put(f"{number}_late", clip.lines.late.power)
        facts["clips"].append(
            {
                "recording": clip.recording,
                "level_dbfs": clip.level_dbfs,
                "sample_bits": clip.sample_bits,
                "quietest_dbfs": clip.quietest_dbfs,
                "lines": None
                if clip.lines is None
                else [clip.lines.early.frames, clip.lines.late.frames, clip.lines.early.rate_hz],
            }
        )
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_minute(data: bytes, *, source: str) -> CollectedMinute:
    """Return the minute that :func:`pack_minute` wrote, without its sound.

    Args:
        data: content of the file.
        source: network and front end that the evidence has to be from.

    Raises:
        CalibrationError: the file is damaged, or its evidence is from another network or front end.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
        if facts["form"] != _FORM or facts["source"] != source:
            raise CalibrationError("it is of another network or front end")
        arrays = {name: _as_it_lay(array, facts["axes"][name]) for name, array in arrays.items()}
        clips = [_clip(number, clip, arrays) for number, clip in enumerate(facts["clips"])]
        return CollectedMinute(
            int(facts["number"]), float(facts["at_s"]), clips, [str(one) for one in facts["digests"]]
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"it cannot be read: {error}") from error


def shared(minutes: Iterable[CollectedMinute]) -> list[CollectedMinute]:
    """Let minutes share the arrays that are alike in all of them: the counts, and what nobody kept."""
    counts: Float64 | None = None
    unsigned: Float64 | None = None
    found = []
    for minute in minutes:
        clips = []
        for clip in minute.clips:
            evidence = clip.evidence
            if counts is None or not np.array_equal(counts, evidence.counts):
                counts, unsigned = evidence.counts, evidence.signed
            assert unsigned is not None  # set with the counts
            held = Evidence(evidence.sums, counts, unsigned, evidence.profiles)
            clips.append(replace(clip, evidence=held))
        found.append(replace(minute, clips=clips))
    return found


def _as_it_lay(array: AnyArray, axes: list[int]) -> AnyArray:
    return array.transpose(np.argsort(axes))


def _clip(number: int, facts: dict[str, Any], arrays: dict[str, Any]) -> NormalClip:
    profiles = None
    if f"{number}_{_PROFILES[0]}" in arrays:
        profiles = ProfileEvidence(*(arrays[f"{number}_{name}"] for name in _PROFILES))
    sums = arrays.get(f"{number}_sums")
    if sums is None:
        if profiles is None:
            raise CalibrationError("a clip has no evidence")
        sums = profiles.slope
    counts = arrays.get(f"{number}_counts", arrays["0_counts"])
    lines = None
    if facts["lines"] is not None:
        early, late, rate_hz = facts["lines"]
        lines = ClipLines(
            LinePower(arrays[f"{number}_early"], early, rate_hz), LinePower(arrays[f"{number}_late"], late, rate_hz)
        )
    return NormalClip(
        facts["recording"],
        Evidence(sums, counts, np.full(counts.shape, np.nan), profiles),
        facts["level_dbfs"],
        facts["sample_bits"],
        facts["quietest_dbfs"],
        lines,
    )
