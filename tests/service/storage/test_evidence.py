from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot
from humwatch_service.errors import AlarmNotFound, EvidenceGone, StateUnusable
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import EvidenceState, MachineChange
from humwatch_service.storage.store import StateStore

DAY_S = 86_400.0
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5_000)


@pytest.fixture
def evidence(tmp_path: Path) -> EvidenceFolder:
    return EvidenceFolder(tmp_path / "evidence", quota_bytes=1 << 30, retention_s=30 * DAY_S)


def noise(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-(1 << 15), 1 << 15, shape).astype(np.int16)


def age(evidence: EvidenceFolder, alarm_id: str, at_s: float) -> None:
    for path in (evidence.root / alarm_id).iterdir():
        os.utime(path, (at_s, at_s))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 192_000])
@pytest.mark.parametrize("shape", [(4_001,), (4_001, 1), (777, 2), (50, 8)])
def test_int16_is_kept_bit_for_bit(
    evidence: EvidenceFolder, rng: np.random.Generator, shape: tuple[int, ...], rate_hz: int
) -> None:
    samples = noise(rng, *shape)
    assert evidence.write_clip("fan-1-000001", samples, rate_hz, partial=False) == "kept"
    read, read_hz = soundfile.read(evidence.clip_path("fan-1-000001"), dtype="int16", always_2d=True)
    assert read_hz == rate_hz
    np.testing.assert_array_equal(read, samples.reshape(len(samples), -1))
    assert soundfile.info(evidence.clip_path("fan-1-000001")).subtype == "PCM_16"


def test_float32_is_kept_to_24_bits(evidence: EvidenceFolder, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, (5_000, 2)).astype(np.float32)
    evidence.write_clip("fan-1-000001", samples, 16_000, partial=False)
    path = evidence.clip_path("fan-1-000001")
    assert soundfile.info(path).subtype == "PCM_24"
    assert np.abs(soundfile.read(path)[0] - samples).max() <= 2.0**-24


def test_samples_that_are_no_numbers_do_not_lose_the_clip(evidence: EvidenceFolder) -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 1.5, -2.0, 0.5], np.float32)
    evidence.write_clip("fan-1-000001", samples, 8_000, partial=False)
    read, _ = soundfile.read(evidence.clip_path("fan-1-000001"))
    np.testing.assert_allclose(read, [0, 1, -1, 1, -1, 0.5], atol=2.0**-23)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.int16),
        np.zeros((9, 9), np.int16),
        np.zeros(9),
        np.zeros((2, 2, 2), np.int16),
        np.zeros((4, 0), np.int16),
    ],
    ids=["empty", "nine-channels", "float64", "three-axes", "no-channel"],
)
def test_what_flac_cannot_hold_is_refused(evidence: EvidenceFolder, samples: Any) -> None:
    with pytest.raises(ValueError, match="samples of"):
        evidence.write_clip("fan-1-000001", samples, 8_000, partial=False)
    with pytest.raises(ValueError, match="FLAC has"):
        evidence.write_clip("fan-1-000001", np.zeros(9, np.int16), 700_000, partial=False)
    assert not evidence.root.exists()


def test_the_whole_clip_takes_the_place_of_the_partial_one(evidence: EvidenceFolder) -> None:
    alarm_id = "fan-1-000001"
    assert evidence.state(alarm_id) == "none"
    assert evidence.write_clip(alarm_id, np.zeros(100, np.int16), 8_000, partial=True) == "partial"
    assert evidence.states() == {alarm_id: "partial"}
    assert soundfile.info(evidence.clip_path(alarm_id)).frames == 100
    assert evidence.write_clip(alarm_id, np.zeros(300, np.int16), 8_000, partial=False) == "kept"
    assert soundfile.info(evidence.clip_path(alarm_id)).frames == 300
    assert [path.name for path in (evidence.root / alarm_id).iterdir()] == ["clip.flac"]


def test_what_is_not_there_is_gone(evidence: EvidenceFolder) -> None:
    for look in (evidence.clip_path, evidence.picture_path):
        with pytest.raises(EvidenceGone, match="fan-1-000001"):
            look("fan-1-000001")
    evidence.write_picture("fan-1-000001", PNG)
    assert evidence.picture_path("fan-1-000001").read_bytes() == PNG
    assert evidence.state("fan-1-000001") == "none"  # of the sound
    assert (evidence.used_bytes(), evidence.states()) == (len(PNG), {})


@pytest.mark.parametrize("text", ["..", "../x-000001", "x", "/etc-000001", "x/../y-000001", "", "x-000001/../y-000001"])
def test_no_name_leads_out_of_the_folder(evidence: EvidenceFolder, text: str) -> None:
    for look in (evidence.clip_path, evidence.picture_path, evidence.state):
        with pytest.raises(AlarmNotFound):
            look(text)
    with pytest.raises(AlarmNotFound):
        evidence.write_clip(text, np.zeros(9, np.int16), 8_000, partial=False)
    with pytest.raises(AlarmNotFound):
        evidence.write_picture(text, PNG)
    assert not evidence.root.exists()


def test_the_oldest_evidence_goes_first(tmp_path: Path) -> None:
    evidence = EvidenceFolder(tmp_path / "evidence", quota_bytes=3 * len(PNG), retention_s=1e9)
    for number in range(1, 7):
        evidence.write_picture(f"m-{number:06d}", PNG)
        age(evidence, f"m-{number:06d}", 1_000.0 * number)
    assert evidence.enforce(10_000.0, {"m-000001", "m-000003"}) == ["m-000002", "m-000004", "m-000005"]
    assert evidence.used_bytes() == 3 * len(PNG)
    assert evidence.enforce(10_000.0, set()) == []
    with pytest.raises(EvidenceGone):
        evidence.picture_path("m-000002")


def test_evidence_of_active_alarms_stays_whatever_the_quota(tmp_path: Path) -> None:
    evidence = EvidenceFolder(tmp_path / "evidence", quota_bytes=0, retention_s=0.0)
    evidence.write_picture("m-000001", PNG)
    assert evidence.enforce(time.time() + DAY_S, {"m-000001"}) == []
    assert evidence.enforce(time.time() + DAY_S, set()) == ["m-000001"]
    assert list(evidence.root.iterdir()) == []


def test_evidence_past_its_time_goes(evidence: EvidenceFolder) -> None:
    for number, at_s in ((1, 0.0), (2, DAY_S)):
        evidence.write_picture(f"m-{number:06d}", PNG)
        age(evidence, f"m-{number:06d}", at_s)
    assert evidence.enforce(30 * DAY_S + 1, set()) == ["m-000001"]


def test_what_is_not_evidence_is_left_alone(evidence: EvidenceFolder, tmp_path: Path) -> None:
    evidence.write_picture("m-000001", PNG)
    (evidence.root / "notes").mkdir()
    (evidence.root / "readme-000001.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (evidence.root / "m-000002").symlink_to(tmp_path / "elsewhere")
    assert evidence.enforce(time.time() + 400 * DAY_S, set()) == ["m-000001"]
    assert {path.name for path in evidence.root.iterdir()} == {"notes", "readme-000001.txt", "m-000002"}


def test_an_empty_root_is_no_trouble(evidence: EvidenceFolder) -> None:
    assert (evidence.used_bytes(), evidence.states(), evidence.enforce(0.0, set())) == (0, {}, [])


def test_a_disk_that_does_not_write_is_named_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("a file where a folder should be")
    evidence = EvidenceFolder(tmp_path / "disk" / "evidence", quota_bytes=1, retention_s=1.0)
    with pytest.raises(StateUnusable, match="evidence: Not a directory"):
        evidence.write_clip("m-000001", np.zeros(9, np.int16), 8_000, partial=True)
    (tmp_path / "disk").unlink()
    assert evidence.write_clip("m-000001", np.zeros(9, np.int16), 8_000, partial=True) == "partial"


def test_the_size_is_kept_up_to_date_without_looking_at_all_alarms(
    evidence: EvidenceFolder, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence.write_clip("m-000001", noise(rng, 1_000), 8_000, partial=False)
    assert evidence.size_bytes() == evidence.used_bytes() > 2_000

    def all_of_them(self: EvidenceFolder) -> None:
        raise AssertionError("looked at all alarms")

    sizes = []
    with monkeypatch.context() as patched:
        patched.setattr(EvidenceFolder, "_all", all_of_them)
        for write in (
            lambda: evidence.write_clip("m-000002", noise(rng, 1_000), 8_000, partial=True),
            lambda: evidence.write_clip("m-000002", noise(rng, 3_000), 8_000, partial=False),
            lambda: evidence.write_picture("m-000002", PNG),
            lambda: evidence.write_picture("m-000002", PNG[:99]),
        ):
            write()
            sizes.append(evidence.size_bytes())
    assert sizes[-1] == evidence.used_bytes()
    assert sizes[0] < sizes[1] < sizes[2] > sizes[3]
    assert evidence.enforce(time.time() + 31 * DAY_S, {"m-000002"}) == ["m-000001"]
    assert evidence.size_bytes() == evidence.used_bytes() < sizes[3]


def test_the_size_is_not_known_while_the_disk_is_gone(evidence: EvidenceFolder, tmp_path: Path) -> None:
    assert evidence.size_bytes() == 0
    evidence.write_picture("m-000001", PNG)
    size = evidence.size_bytes()
    evidence.root.rename(tmp_path / "aside")
    assert evidence.size_bytes() is None
    (tmp_path / "aside").rename(evidence.root)
    assert evidence.size_bytes() == size == len(PNG)


@pytest.mark.parametrize(
    ("said", "there", "expected"),
    [
        ("kept", None, "purged"),
        ("partial", None, "purged"),
        ("partial", "kept", "kept"),
        ("none", "partial", "partial"),
        ("none", None, "none"),
        ("purged", None, "purged"),
        ("kept", "kept", "kept"),
    ],
)
def test_rows_follow_the_folder_after_a_crash(
    evidence: EvidenceFolder, tmp_path: Path, said: EvidenceState, there: EvidenceState | None, expected: EvidenceState
) -> None:
    store = StateStore(tmp_path)
    snapshot = AlarmSnapshot(last_number=1, active=ActiveAlarm(number=1, raised_s=1.0))
    event = AlarmEvent("raised", 1.0, "normal", "alarm", alarm=1)
    store.commit(MachineChange(machine_id="m", snapshot=snapshot, events=(event,)))
    assert store.evidence("m-000001", said)
    assert not store.evidence("m-000002", said)
    if there is not None:
        evidence.write_clip("m-000001", np.zeros(9, np.int16), 8_000, partial=there == "partial")
    store.reconcile_evidence(evidence.states())
    assert store.alarm("m-000001").evidence == expected
    store.close()
