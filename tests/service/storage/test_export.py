from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot
from humwatch_service.errors import FileUnreadable
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.export import COLUMNS, DatasetExport, DatasetSource
from humwatch_service.storage.records import MachineChange, Verdict
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.store import StateStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    opened = StateStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def evidence(tmp_path: Path) -> EvidenceFolder:
    return EvidenceFolder(tmp_path / "evidence", quota_bytes=1 << 30, retention_s=1e9)


def export_feedback(store: StateStore, evidence: EvidenceFolder, folder: Path) -> DatasetExport:
    return DatasetSource(store, evidence, kept_in(evidence.root.parent)).export(folder)


def kept_in(folder: Path) -> KeptSounds:
    return KeptSounds(folder / "normal_kept", quota=10, retention_s=1e9)


def alarmed(store: StateStore, evidence: EvidenceFolder | None, machine_id: str, number: int) -> str:
    alarm_id = f"{machine_id}-{number:06d}"
    snapshot = AlarmSnapshot(last_number=number, active=ActiveAlarm(number=number, raised_s=100.0))
    event = AlarmEvent("raised", 100.0, "normal", "alarm", alarm=number, score=1.5)
    store.commit(MachineChange(machine_id=machine_id, snapshot=snapshot, events=(event,)))
    if evidence is not None:
        store.evidence(alarm_id, evidence.write_clip(alarm_id, np.full(800, number, np.int16), 8_000, partial=False))
    return alarm_id


def judge(store: StateStore, alarm_id: str, verdict: Verdict, cause: str = "") -> None:
    store.feedback(alarm_id, verdict, cause=cause, action="", who="ann", at_s=200.0)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_false_alarms_are_normal_and_true_ones_are_not(
    store: StateStore, evidence: EvidenceFolder, tmp_path: Path
) -> None:
    judge(store, alarmed(store, evidence, "fan-1", 1), "false_alarm", 'a "door", slammed\nthrice')
    judge(store, alarmed(store, evidence, "fan-1", 2), "true_alarm", "bearing")
    judge(store, alarmed(store, evidence, "pump-2", 1), "unsure")
    judge(store, alarmed(store, None, "pump-2", 2), "true_alarm")
    alarmed(store, evidence, "pump-2", 3)
    out = tmp_path / "out"
    report = export_feedback(store, evidence, out)
    assert report == DatasetExport(kept=0, normal=1, abnormal=1, unsure=1, without_sound=("pump-2-000002",))
    assert files(out) == [
        "fan-1/abnormal/alarm_fan-1-000002.flac",
        "fan-1/normal/alarm_fan-1-000001.flac",
        "labels.csv",
    ]
    np.testing.assert_array_equal(
        soundfile.read(out / "fan-1/abnormal/alarm_fan-1-000002.flac", dtype="int16")[0], np.full(800, 2)
    )
    abnormal, normal = labels(out)
    assert tuple(normal) == COLUMNS
    assert (normal["file"], normal["label"]) == ("fan-1/normal/alarm_fan-1-000001.flac", "normal")
    assert (normal["cause"], normal["verdict"], normal["alarm_id"]) == (
        'a "door", slammed\nthrice',
        "false_alarm",
        "fan-1-000001",
    )
    assert (abnormal["label"], abnormal["cause"], abnormal["score"]) == ("abnormal", "bearing", "1.5")
    assert "ann" not in (out / "labels.csv").read_text()
    DatasetSource(store, evidence, kept_in(tmp_path), who=True).export(out)
    assert [row["who"] for row in labels(out)] == ["ann", "ann"]


def test_an_export_follows_feedback_that_was_changed(
    store: StateStore, evidence: EvidenceFolder, tmp_path: Path
) -> None:
    first, second = (alarmed(store, evidence, "fan-1", number) for number in (1, 2))
    out = tmp_path / "out"
    for alarm_id in (first, second):
        judge(store, alarm_id, "false_alarm")
    export_feedback(store, evidence, out)
    judge(store, first, "true_alarm")
    judge(store, second, "unsure")
    report = export_feedback(store, evidence, out)
    assert (report.normal, report.abnormal, report.unsure) == (0, 1, 1)
    assert files(out) == ["fan-1/abnormal/alarm_fan-1-000001.flac", "labels.csv"]
    assert [row["label"] for row in labels(out)] == ["abnormal"]


def test_what_was_exported_outlives_the_evidence(store: StateStore, evidence: EvidenceFolder, tmp_path: Path) -> None:
    alarm_id = alarmed(store, evidence, "fan-1", 1)
    judge(store, alarm_id, "false_alarm")
    out = tmp_path / "out"
    export_feedback(store, evidence, out)
    assert evidence.enforce(1e12, set()) == [alarm_id]
    judge(store, alarm_id, "true_alarm")
    report = export_feedback(store, evidence, out)
    assert (report.abnormal, report.without_sound) == (1, ())
    assert files(out) == ["fan-1/abnormal/alarm_fan-1-000001.flac", "labels.csv"]


def test_more_feedback_than_a_page(store: StateStore, evidence: EvidenceFolder, tmp_path: Path) -> None:
    for number in range(1, 206):
        judge(store, alarmed(store, None, "fan-1", number), "true_alarm")
    report = export_feedback(store, evidence, tmp_path / "out")
    assert len(set(report.without_sound)) == len(report.without_sound) == 205
    assert labels(tmp_path / "out") == []


def test_a_folder_that_cannot_be_written_is_named(store: StateStore, evidence: EvidenceFolder, tmp_path: Path) -> None:
    judge(store, alarmed(store, evidence, "fan-1", 1), "false_alarm")
    (tmp_path / "file").touch()
    with pytest.raises(FileUnreadable, match="file: Not a directory"):
        export_feedback(store, evidence, tmp_path / "file")


def test_kept_normal_sound_is_exported_and_stays_when_it_is_dropped(
    store: StateStore, evidence: EvidenceFolder, tmp_path: Path
) -> None:
    judge(store, alarmed(store, evidence, "fan-1", 1), "true_alarm", "bearing")
    kept, out = kept_in(tmp_path), tmp_path / "out"
    source = DatasetSource(store, evidence, kept)
    for machine_id, at_s in (("fan-1", 1_000.0), ("fan-1", 2_000.0), ("pump-2", 3_000.0)):
        kept.add(
            machine_id,
            np.arange(8_000, dtype=np.int16) % int(at_s / 10),
            8_000,
            at_s=at_s,
            score=0.1,
            model_version="3",
        )
    assert source.export(out, "fan-1").kept == 2
    assert files(out) == [
        "fan-1/abnormal/alarm_fan-1-000001.flac",
        "fan-1/normal/kept_1000000.flac",
        "fan-1/normal/kept_2000000.flac",
        "labels.csv",
    ]
    kept.forget("fan-1", 1_500.0, 3)
    assert source.export(out).kept == 3
    rows = {row["file"]: row for row in labels(out)}
    row = rows["fan-1/normal/kept_2000000.flac"]
    assert (row["label"], row["origin"], row["at_s"], row["score"]) == ("normal", "kept", "2000.0", "0.1")
    assert row["model_version"] == "3" and "pump-2/normal/kept_3000000.flac" in rows


def test_a_zip_has_the_same_files_and_labels_piece_by_piece(
    store: StateStore, evidence: EvidenceFolder, tmp_path: Path
) -> None:
    judge(store, alarmed(store, evidence, "fan-1", 1), "true_alarm", "bearing")
    judge(store, alarmed(store, None, "fan-1", 2), "true_alarm")
    judge(store, alarmed(store, evidence, "pump-2", 1), "true_alarm")
    kept = kept_in(tmp_path)
    for at_s in range(1, 6):
        noise = np.random.default_rng(at_s).integers(-9_000, 9_000, 160_000).astype(np.int16)
        kept.add("fan-1", noise, 16_000, at_s=1_000.0 * at_s, score=0.1, model_version="3")
    source = DatasetSource(store, evidence, kept)
    pieces = list(source.zipped("fan-1"))
    assert max(map(len, pieces)) < 200_000 < sum(map(len, pieces))
    source.export(tmp_path / "out", "fan-1")
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == files(tmp_path / "out")
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
