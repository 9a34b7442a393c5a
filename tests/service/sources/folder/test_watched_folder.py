"""A watched folder: each recording comes once, in the order in which they were taken, over restarts."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from humwatch_service.config.sources import FolderSource
from humwatch_service.metrics.registry import Metrics
from humwatch_service.sources.folder import known_files, scan, waiting_files, watched_folder
from humwatch_service.sources.folder.watched_folder import WatchedFolder
from humwatch_service.storage.store import StateStore

RATE_HZ = 8_000
MACHINE = "pump-2"


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look be a whole one, so that no test waits for it to be due."""
    monkeypatch.setattr(watched_folder, "LookInterval", lambda: scan.LookInterval(least_s=0.0, cpu=0.0, wall=0.0))


class Box:
    """A service's folder and database, through any number of starts."""

    def __init__(self, tmp_path: Path) -> None:
        self.spool = tmp_path / "spool"
        self.spool.mkdir()
        self.store = StateStore(tmp_path / "state")
        self.metrics = Metrics()
        self.number = 0
        self.parts = 0
        self.folder = self.start()

    def erase(self) -> None:
        """Let it be the first start."""
        self.store.close()
        shutil.rmtree(self.store.path.parent)
        self.store = StateStore(self.store.path.parent)

    def start(self, **settings: Any) -> WatchedFolder:
        """Begin anew, with what the database knows."""
        source = FolderSource(kind="folder", machine=MACHINE, folder=self.spool, **{"settle_s": 0.0, **settings})
        self.folder = WatchedFolder(source, self.store.folders, self.metrics.folders.of(MACHINE))
        self.folder.open()
        self.folder.look()
        return self.folder

    def record(self, name: str, *, seconds: float = 1.0, seed: int | None = None, at_s: float | None = None) -> Path:
        """Let a recording come."""
        path = self.spool / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.number += 1
        rng = np.random.default_rng(self.number if seed is None else seed)
        soundfile.write(path, rng.normal(0, 0.1, round(seconds * RATE_HZ)), RATE_HZ, subtype="PCM_16")
        if at_s is not None:
            os.utime(path, (at_s, at_s))
        return path

    def heard(self) -> list[str]:
        """Hear what is there; return the paths in order."""
        return [path for path, _ in self.dated()]

    def dated(self) -> list[tuple[str, float]]:
        found = []
        for _ in range(3):  # found, whole, next
            self.folder.look()
        while (file := self.folder.next()) is not None:
            with (self.spool / file.path).open("rb") as opened:
                samples = soundfile.info(opened).frames
            self.parts += 1
            part = self.folder.assign(file, self.parts, "stream", 0, samples=samples, rate_hz=RATE_HZ)
            found.append((part.path, part.recorded_s))
            self.folder.look()
        return found

    def count(self, outcome: str) -> int:
        return self.folder.state().recordings.get(outcome, 0)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


Records = list[dict[str, Any]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], Records]:
    def find(event: str) -> Records:
        caplog_records = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        return [record for record in caplog_records if record.get("event") == event]

    caplog.set_level("INFO")
    return find


def test_recordings_that_come_while_nobody_listens_are_heard_at_the_next_start(box: Box) -> None:
    box.record("rec_1.wav", at_s=1_790_000_000)
    assert box.heard() == ["rec_1.wav"]
    for number in (10, 2, 9):
        box.record(f"rec_{number}.wav", at_s=1_790_000_000 + 60 * number)
    box.start()
    assert box.heard() == ["rec_2.wav", "rec_9.wav", "rec_10.wav"]
    box.start()
    assert box.heard() == []
    assert box.count("heard") == 4


def test_what_is_there_before_the_first_start_is_passed_over_counted_and_named(
    box: Box, said: Callable[[str], Records]
) -> None:
    box.erase()
    for number in range(7):
        box.record(f"2026/01/{number + 1:02}/120000.wav")
    box.start(time_zone="UTC")
    assert box.heard() == []
    assert box.count("existing") == 7
    assert 'humwatch_folder_recordings_total{machine_id="pump-2",outcome="existing"} 7.0' in box.metrics.render()
    found = said("recordings passed over that were there before")[-1]
    assert (found["recordings"], found["first_at"]) == (7, "2026-01-01T12:00:00Z")
    assert found["last_at"] == "2026-01-07T12:00:00Z"
    assert 'existing = "hear"' in found["reason"]
    box.record("2026/01/03/130000.wav")
    assert box.heard() == ["2026/01/03/130000.wav"]
    box.start(time_zone="UTC", since="2026-01-05")  # now they are wanted
    assert box.heard() == ["2026/01/05/120000.wav", "2026/01/06/120000.wav", "2026/01/07/120000.wav"]
    box.start(existing="hear")
    assert len(box.heard()) == 4
    box.start()
    assert box.heard() == []


def test_a_recording_that_was_renamed_or_linked_or_touched_is_the_same(box: Box) -> None:
    one, other = box.record("a.wav"), box.record("b.wav")
    assert box.heard() == ["a.wav", "b.wav"]
    one.rename(box.spool / "z.wav")
    os.link(other, box.spool / "c.wav")
    os.utime(other, (1_700_000_000, 1_700_000_000))
    (box.spool / "done").mkdir()
    assert box.heard() == []
    (box.spool / "z.wav").rename(box.spool / "done" / "z.wav")
    box.start()
    assert box.heard() == []


def test_a_copy_with_its_old_time_is_another_recording(box: Box) -> None:
    path = box.record("a.wav", at_s=1_700_000_000)
    assert box.heard() == ["a.wav"]
    shutil.copy2(path, box.spool / "b.wav")
    assert box.heard() == ["b.wav"]


@pytest.mark.parametrize("anew", [False, True])
def test_the_same_name_with_other_sound_is_another_recording(box: Box, anew: bool) -> None:
    path = box.record("latest.wav", seed=1, at_s=1_700_000_000)
    assert box.heard() == ["latest.wav"]
    if anew:
        path.unlink()
    box.record("latest.wav", seed=2, at_s=1_700_000_010)
    assert box.heard() == ["latest.wav"]
    box.record("latest.wav", seed=2, at_s=1_700_000_020)  # as it was
    assert box.heard() == []


def test_recordings_of_a_clock_that_was_never_set_are_told_by_their_sound(box: Box) -> None:
    for number in range(3):
        box.record(f"rec_{number}.wav", seed=number, at_s=315_532_800)
    assert box.heard() == ["rec_0.wav", "rec_1.wav", "rec_2.wav"]
    keep = [path.read_bytes() for path in sorted(box.spool.iterdir())]
    shutil.rmtree(box.spool)  # the card is erased, and the recorder counts from 0 again
    box.spool.mkdir()
    box.record("rec_0.wav", seed=7, at_s=315_532_800)
    (box.spool / "rec_1.wav").write_bytes(keep[1])  # the card of before is not what it was, but this is
    os.utime(box.spool / "rec_1.wav", (315_532_800, 315_532_800))
    box.start()
    assert box.heard() == ["rec_0.wav"]


def test_a_share_that_is_mounted_anew_gives_files_other_numbers(box: Box) -> None:
    for number in range(3):
        box.record(f"{number}.wav", at_s=1_700_000_000 + number)
    assert len(box.heard()) == 3
    away = box.spool.with_name("away")
    shutil.copytree(box.spool, away)  # with times, and other inodes
    shutil.rmtree(box.spool)
    box.spool.mkdir()  # an empty mount point
    assert box.heard() == []
    box.start()
    assert box.heard() == []
    box.spool.rmdir()
    away.rename(box.spool)
    box.record("3.wav", at_s=1_700_000_005)
    assert box.heard() == ["3.wav"]


def test_another_card_is_heard_and_the_first_is_known_when_it_is_back(box: Box) -> None:
    for number in range(3):
        box.record(f"{number}.wav")
    assert len(box.heard()) == 3
    first = box.spool.rename(box.spool.with_name("first"))
    box.spool.mkdir()
    for number in range(3):
        box.record(f"{number}.wav", seed=90 + number)
    assert box.heard() == ["0.wav", "1.wav", "2.wav"]
    shutil.rmtree(box.spool)
    first.rename(box.spool)
    assert box.heard() == []
    box.start()
    assert box.heard() == []


def test_times_in_local_time_shift_with_the_zone_and_change_nothing(box: Box) -> None:
    box.erase()
    for number in range(3):
        box.record(f"{number}.wav", at_s=1_700_000_000 + 60 * number)
    box.start()
    assert box.count("existing") == 3
    for path in box.spool.iterdir():  # the clock was put back, on a FAT card
        os.utime(path, (path.stat().st_mtime - 3_600, path.stat().st_mtime - 3_600))
    assert box.heard() == []


def test_an_empty_place_is_no_first_look_at_what_is_mounted_there_later(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan.FolderScan, "device", lambda self: "another")
    for number in range(4):
        box.record(f"{number}.wav")
    assert box.heard() == []
    assert box.count("existing") == 4


def test_recordings_that_were_copied_at_one_time_are_in_the_order_of_their_names(
    box: Box, said: Callable[[str], Records]
) -> None:
    at_s = 1_790_000_000.0
    for place, number in enumerate((1, 10, 11, 2, 3)):  # as cp finds them
        box.record(f"rec_{number}.wav", seconds=30.0, at_s=at_s + 0.01 * place)
    dated = box.dated()
    assert [path for path, _ in dated] == [f"rec_{number}.wav" for number in (1, 2, 3, 10, 11)]
    starts = [recorded_s - dated[0][1] for _, recorded_s in dated]
    assert starts == pytest.approx([0, 30, 60, 90, 120], abs=0.1)
    assert dated[-1][1] + 30 == pytest.approx(at_s + 0.04, abs=0.1)
    assert "copy" in said("times of recordings doubted")[0]["reason"]
    assert len(said("times of recordings doubted")) == 1
    assert not said("recording comes late")


def test_recordings_that_follow_each_other_are_dated_by_their_files(box: Box) -> None:
    at_s = 1_790_000_000.0
    for number in (3, 1, 2):
        box.record(f"{'xcab'[number]}.wav", seconds=10.0, at_s=at_s + 10.05 * number)
    dated = box.dated()
    assert [path for path, _ in dated] == ["c.wav", "a.wav", "b.wav"]  # not by their names
    assert [start - at_s for _, start in dated] == pytest.approx([0.05, 10.1, 20.15], abs=0.02)


def test_a_recording_that_comes_late_has_its_own_time_and_is_said(box: Box, said: Callable[[str], Records]) -> None:
    box.start(time_zone="UTC")
    box.record("20260301_120000.wav")
    box.record("20260301_110000.wav")
    assert box.heard() == ["20260301_110000.wav", "20260301_120000.wav"]
    box.record("20260301_100000.wav")
    assert box.dated() == [("20260301_100000.wav", 1_772_359_200.0)]
    assert said("recording comes late")[0]["sound_at"] == "2026-03-01T10:00:00Z"
    assert box.folder.state().late == 1
    assert box.folder.state().newest_recorded_s == 1_772_366_400.0
    assert 'humwatch_folder_late_recordings_total{machine_id="pump-2"} 1.0' in box.metrics.render()


def test_a_recording_of_a_clock_that_is_a_little_ahead_is_over_by_now(box: Box) -> None:
    box.start(time_zone="UTC")
    box.record(time.strftime("%Y%m%d_%H%M%S.wav", time.gmtime(time.time() + 100)), seconds=2.0)
    ((_, recorded_s),) = box.dated()
    assert recorded_s <= time.time() - 2.0


def test_a_newer_recording_waits_for_an_older_one_that_is_still_written(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(waiting_files.time, "monotonic", lambda: now_s)
    box.start(time_zone="UTC", settle_s=5.0)
    old = box.record("20260301_110000.wav")
    box.record("20260301_120000.wav")
    box.folder.look()
    for _ in range(4):
        now_s += 3.0
        with old.open("ab") as file:
            file.write(b"\0\0")
        assert box.heard() == []
    now_s += 6.0
    assert box.heard() == ["20260301_110000.wav", "20260301_120000.wav"]
    box.record("20260301_120500.wav")
    box.folder.look()
    for _ in range(30):
        now_s += 3.0
        with (box.spool / "20260301_115900.wav").open("ab") as file:  # one that never ends
            file.write(b"\0\0")
        box.folder.look()
    assert box.heard() == ["20260301_120500.wav"]


def test_junk_is_not_heard_and_is_named(box: Box, said: Callable[[str], Records]) -> None:
    data = box.record("1.wav").read_bytes()
    for name in ("._2.wav", ".3.wav", "4.wav.part", "5.part.wav", "~6.wav", "7.wav~", "8.tmp", "notes.txt"):
        (box.spool / name).write_bytes(data)
    for folder in (".Trashes", "@eaDir", "lost+found"):
        box.record(f"{folder}/9.wav")
    (box.spool / "10.wav").touch()
    (box.spool / "11.wav").symlink_to("nowhere.wav")
    (box.spool / "12.wav").mkdir()
    box.record("12.wav/13.WAV")
    os.mkfifo(box.spool / "14.wav")
    assert box.heard() == ["1.wav", "12.wav/13.WAV"]
    assert box.count("empty") == 1
    state = box.folder.state()
    assert (state.others, len(state.other_names), state.waiting) == (8, 3, 0)
    assert said("files that are no recordings")[0]["files"] == 8
    (box.spool / "10.wav").write_bytes(data)  # it was not over
    assert box.heard() == ["10.wav"]


def test_links_to_folders_are_followed_once(box: Box) -> None:
    outside = box.spool.with_name("outside")
    outside.mkdir()
    inner = box.record("days/monday/1.wav")
    shutil.copy(inner, outside / "2.wav")
    (box.spool / "linked").symlink_to(outside)
    (box.spool / "days" / "up").symlink_to(box.spool)
    (box.spool / "days" / "again").symlink_to(box.spool / "days" / "monday")
    (box.spool / "days" / "monday" / "self").symlink_to(".")
    assert sorted(box.heard()) == ["days/monday/1.wav", "linked/2.wav"]
    box.start()
    assert box.heard() == []


def test_subfolders_are_a_setting_and_those_of_another_source_are_its_own(box: Box) -> None:
    box.start(subfolders=False)
    box.record("in/1.wav")
    box.record("2.wav")
    assert box.heard() == ["2.wav"]
    source = FolderSource(kind="folder", machine=MACHINE, folder=box.spool, settle_s=0.0)
    box.folder = WatchedFolder(source, box.store.folders, box.metrics.folders.of(MACHINE), excluded=[box.spool / "in"])
    box.folder.open()
    assert box.heard() == []
    box.start()
    assert box.heard() == ["in/1.wav"]


def test_more_recordings_than_can_wait_are_heard_in_order_all_the_same(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_files, "MAX_WAITING", 10)
    box.start(time_zone="UTC")
    names = [f"20260301_12{number:02}00.wav" for number in range(35)]
    for name in reversed(names):
        box.record(name, seconds=0.1)
    heard: list[str] = []
    while new := box.heard():
        heard += new
        assert len(box.folder.state().recordings) <= 35
    assert heard == names


def test_recordings_that_are_gone_are_forgotten_when_there_are_too_many(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "MAX_GONE", 5)
    paths = [box.record(f"{number}.wav", seconds=0.1) for number in range(20)]
    assert len(box.heard()) == 20
    for path in paths[:18]:
        path.unlink()
    for _ in range(3):
        box.folder.look()
    key = box.store.folders.open(MACHINE, str(box.spool)).key
    left = {row.path for row in box.store.folders.files(key)}
    assert len(left) == 7
    assert {"18.wav", "19.wav"} <= left
    box.start()
    assert box.heard() == []


def test_names_that_are_no_text_are_heard(box: Box) -> None:
    path = box.record("plain.wav")
    odd = os.fsdecode(b"r\xe9c 1.wav")
    path.rename(box.spool / odd)
    box.record("'; drop table folders; --.wav")
    assert len(box.heard()) == 2
    box.start()
    assert box.heard() == []
    assert odd.encode("utf-8", "surrogateescape") == b"r\xe9c 1.wav"


def test_a_file_that_cannot_be_opened_is_tried_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    box.record("1.wav")
    box.folder.look()
    box.folder.look()
    file = box.folder.next()
    assert file is not None
    box.folder.try_later(file, "Permission denied")
    assert box.heard() == []
    assert box.folder.state().unreadable_now == 1
    monkeypatch.setattr(watched_folder.time, "monotonic", lambda: now_s + 100.0)
    assert box.heard() == ["1.wav"]


def test_cheap_looks_find_what_is_new_in_folders_that_changed(tmp_path: Path) -> None:
    looks = scan.FolderScan(tmp_path, subfolders=True)
    assert not list(looks.whole(lambda path, identity: True))
    (tmp_path / "2026" / "11").mkdir(parents=True)
    (tmp_path / "2026" / "11" / "1.wav").write_bytes(b"x")
    (tmp_path / "2.wav").write_bytes(b"x")
    known: set[str] = set()

    def new() -> list[str]:
        found = sorted(file.path for file in looks.changed(lambda path: path not in known))
        known.update(found)
        return found

    assert new() == ["2.wav", "2026/11/1.wav"]
    (tmp_path / "2026" / "11" / "3.wav").write_bytes(b"x")
    assert new() == ["2026/11/3.wav"]
    assert new() == []


def test_looks_cost_less_than_a_hundredth_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s, now_s = 0.0, 100.0
    monkeypatch.setattr(scan.time, "thread_time", lambda: cpu_s)
    monkeypatch.setattr(scan.time, "monotonic", lambda: now_s)
    pace = scan.LookInterval()
    looks = 0

    def look() -> None:
        nonlocal cpu_s, now_s, looks
        cpu_s, now_s, looks = cpu_s + 0.4, now_s + 0.5, looks + 1

    while now_s < 3_700.0:
        if pace.is_due:
            pace.run(look)
        now_s += 1.0
    assert looks > 10
    assert cpu_s / 3_600.0 < 0.01


def test_a_recording_that_is_damaged_is_counted_once(box: Box) -> None:
    box.record("1.wav")
    for _ in range(3):
        box.folder.look()
    file = box.folder.next()
    assert file is not None
    part = box.folder.assign(file, 1, "stream", 0, samples=RATE_HZ, rate_hz=RATE_HZ)
    for _ in range(2):  # at once, and when it is sent again after a restart
        box.folder.fail(part, "unreadable", "audio_truncated", "the samples end early")
        box.folder.open()
    assert box.folder.state().recordings == {"unreadable": 1}
    assert box.start().state().recordings == {"unreadable": 1}
    assert box.heard() == []


def test_what_was_unsupported_is_tried_again_at_the_next_start(box: Box) -> None:
    box.record("1.wav")
    for _ in range(3):
        box.folder.look()
    file = box.folder.next()
    assert file is not None
    box.folder.pass_over(file, "unsupported", "audio_rate_unsupported", "8000 Hz")
    assert box.heard() == []
    box.start()
    assert box.heard() == ["1.wav"]


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="Mars/Base"):
        FolderSource(kind="folder", machine=MACHINE, folder=Path("spool"), time_zone="Mars/Base")


def test_recordings_that_were_deleted_and_come_again_are_deleted_again(box: Box) -> None:
    box.start(delete=True)
    path = box.record("1.wav", at_s=1_790_000_000)
    kept = path.read_bytes()
    assert box.heard() == ["1.wav"]
    part = box.folder.open().parts[0]
    assert path.exists()
    os.utime(path, (1_790_000_000, 1_790_000_000))  # looked at anew, but not done with
    box.folder.look()
    assert path.exists()
    box.folder.advance("stream", RATE_HZ, [part])
    assert not path.exists()
    path.write_bytes(kept)
    os.utime(path, (1_790_000_000, 1_790_000_000))
    assert box.heard() == []
    assert not path.exists()


def test_recordings_that_cannot_be_deleted_are_heard_once_and_said_once(
    box: Box, said: Callable[[str], Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    box.start(delete=True)
    box.record("1.wav"), box.record("2.wav")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert box.heard() == ["1.wav", "2.wav"]
    box.folder.advance("stream", 2 * RATE_HZ, box.folder.open().parts)
    assert box.folder.open().parts == ()
    box.start(delete=True)
    assert box.heard() == []
    assert [record["reason"] for record in said("recording not deleted")] == ["Read-only file system"]


def test_names_in_another_encoding_are_heard_and_shown(box: Box) -> None:
    name = os.fsdecode(b"M\xfcller 1.wav")
    box.record("x.wav").rename(box.spool / name)
    (box.spool / os.fsdecode(b"B\xfcro.txt")).touch()
    assert box.heard() == [name]
    box.start()
    assert box.heard() == []
    assert "B\ufffdro.txt" in box.folder.state().model_dump_json()


def test_a_recording_that_grew_after_it_was_heard_is_said(box: Box, said: Callable[[str], Records]) -> None:
    path = box.record("1.wav", seconds=1.0)
    assert box.heard() == ["1.wav"]
    for seconds in (2.0, 3.0):
        box.record("1.wav", seconds=seconds)
        assert box.heard() == ["1.wav"]
    path.unlink()
    box.record("2.wav").rename(path)  # shorter, and another file
    assert box.heard() == ["1.wav"]
    assert [record["recording"] for record in said("recording grew after it was heard")] == ["1.wav"]
