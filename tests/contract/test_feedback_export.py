"""What the service exports of operators' feedback is a data set that training opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from humwatch.alarm.events import ActiveAlarm, AlarmEvent, AlarmSnapshot
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.export import DatasetSource
from humwatch_service.storage.records import MachineChange, Verdict
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.store import StateStore
from humwatch_training.datasets import open_dataset
from humwatch_training.datasets.clip import DataClip, FileSource

VERDICTS: tuple[Verdict, ...] = ("false_alarm", "false_alarm", "false_alarm", "true_alarm", "unsure", "false_alarm")


def exported(tmp_path: Path, machine_id: str, verdicts: tuple[Verdict, ...]) -> Path:
    store = StateStore(tmp_path / "state")
    evidence = EvidenceFolder(tmp_path / "evidence", quota_bytes=1 << 30, retention_s=1e9)
    for number, verdict in enumerate(verdicts, start=1):
        snapshot = AlarmSnapshot(last_number=number, active=ActiveAlarm(number=number, raised_s=float(number)))
        event = AlarmEvent("raised", float(number), "normal", "alarm", alarm=number)
        store.commit(MachineChange(machine_id=machine_id, snapshot=snapshot, events=(event,)))
        alarm_id = f"{machine_id}-{number:06d}"
        evidence.write_clip(alarm_id, np.full(1_600, number, np.int16), 16_000, partial=False)
        store.feedback(alarm_id, verdict, cause="", action="", who="ann", at_s=100.0)
    kept = KeptSounds(tmp_path / "kept", quota=0, retention_s=1e9)
    DatasetSource(store, evidence, kept).export(tmp_path / "out")
    store.close()
    return tmp_path / "out" / machine_id


def number_of(clip: DataClip) -> int:
    assert isinstance(clip.source, FileSource)
    samples, rate_hz = soundfile.read(clip.source.path, dtype="int16")
    assert rate_hz == 16_000
    return int(samples[0])


def test_training_opens_the_folder_of_a_machine(tmp_path: Path) -> None:
    dataset = open_dataset(exported(tmp_path, "press-7", VERDICTS))
    assert dataset.kind == "folder"
    assert dataset.machines == (("press-7", "press-7"),)
    found = {number_of(clip): clip.label for clip in dataset.clips}
    assert found == {1: "normal", 2: "normal", 3: "normal", 4: "anomalous", 6: "normal"}
    parts = [(clip.split, clip.label) for clip in dataset.clips]
    assert parts.count(("train", "normal")) == 3
    assert parts.count(("test", "normal")) == 1
    assert parts.count(("test", "anomalous")) == 1


def test_a_machine_may_be_called_after_a_label_or_as_another_data_set_calls_its_own(tmp_path: Path) -> None:
    labels = sorted(str(clip.label) for clip in open_dataset(exported(tmp_path / "a", "anomaly-meter", VERDICTS)).clips)
    assert labels == ["anomalous", "normal", "normal", "normal", "normal"]
    dataset = open_dataset(exported(tmp_path / "b", "id_00", VERDICTS), "folder", machine_type="pump")
    assert dataset.machines == (("pump", "id_00"),)


def test_a_machine_without_one_false_alarm_has_test_clips_only(tmp_path: Path) -> None:
    dataset = open_dataset(exported(tmp_path, "press-7", ("true_alarm", "true_alarm")))
    assert {(clip.split, clip.label) for clip in dataset.clips} == {("test", "anomalous")}
