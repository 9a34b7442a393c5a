from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch_training.datasets.recordings import RecordingEntry, Split, find_recordings, sha256_of
from humwatch_training.detectability.held_out import digests_seen, held_out_clips
from humwatch_training.errors import TrainingDataError
from tests.training.detectability.conftest import CLIP_S, MACHINE


def test_clips_come_from_as_many_recordings_as_there_are(normal: Path):
    files = find_recordings([normal])
    clips = held_out_clips(files, clip_s=CLIP_S, count=10)
    assert [clip.recording for clip in clips] == ["100.wav", "101.wav", "102.wav", "101.wav"]
    assert all(clip.samples.shape == (4 * 16_000,) and clip.samples.dtype == np.float32 for clip in clips)
    assert [clip.recording for clip in held_out_clips(files, clip_s=CLIP_S, count=2)] == [
        "100.wav",
        "101.wav",
    ]
    assert not np.array_equal(clips[1].samples, clips[3].samples)


def test_what_a_run_has_seen_is_left_out(normal: Path, tmp_path: Path):
    files = find_recordings([normal])
    entries = [RecordingEntry(path=name, sha256=sha256_of(path)) for name, path in files.items()]
    split = tmp_path / "split.json"
    split.write_text(Split(train=(entries[0],), calibration=(entries[1],), test=(entries[2],)).model_dump_json())
    clips = held_out_clips(files, clip_s=CLIP_S, count=10, known=digests_seen([split]))
    assert [clip.recording for clip in clips] == ["102.wav"]
    known = frozenset(entry.sha256 for entry in entries)
    with pytest.raises(TrainingDataError, match="3 of which were trained or calibrated on"):
        held_out_clips(files, clip_s=CLIP_S, count=10, known=known)
    split.write_bytes(b"\xff")
    with pytest.raises(TrainingDataError, match="not a split"):
        digests_seen([split])


def test_copies_count_once_and_short_recordings_not_at_all(normal: Path, tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes((normal / "100.wav").read_bytes())
    files = find_recordings([tmp_path])
    assert len(held_out_clips(files, clip_s=CLIP_S, count=10)) == 1
    with pytest.raises(TrainingDataError, match=r"no clip of 60 s can be cut from 2 recording"):
        held_out_clips(files, clip_s=60.0, count=10)


def test_a_rate_too_low_for_the_faults_is_named(tmp_path: Path):
    soundfile.write(tmp_path / "low.wav", MACHINE.clip(0, CLIP_S)[::2], 8_000)
    with pytest.raises(TrainingDataError, match=r"low\.wav: 8000 Hz"):
        held_out_clips(find_recordings([tmp_path]), clip_s=CLIP_S, count=1)
