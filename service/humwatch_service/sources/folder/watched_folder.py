"""A watched folder: which recording comes next, and the memory of those that were heard. Every method blocks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import datetime, tzinfo
from datetime import time as clock_time
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from humwatch_service.config.sources import FolderSource
from humwatch_service.errors import FileUnreadable
from humwatch_service.metrics.folders import FolderSeries
from humwatch_service.sources.folder.folder_journal import JITTER_S, FolderJournal
from humwatch_service.sources.folder.folder_state import FolderState
from humwatch_service.sources.folder.known_files import KnownFiles
from humwatch_service.sources.folder.name_times import at_zone
from humwatch_service.sources.folder.recorded_time import RecordedTimes
from humwatch_service.sources.folder.scan import FolderScan, FoundFile, LookInterval, together
from humwatch_service.sources.folder.time_extent import TimeExtent
from humwatch_service.sources.folder.waiting_files import WaitingFile, WaitingFiles
from humwatch_service.storage.folder_records import FileIdentity, FileOutcome, FileRow, FolderPart, KeptFolder
from humwatch_service.storage.folder_rows import FolderRows

RETRY_S: Final = 60.0
"""Time after which a file that could not be opened is tried again."""
MAX_TROUBLED: Final = 1_000
"""Most files that could not be opened and are left alone until then."""


class WatchedFolder:
    """Folder of one source. For one thread at a time, but for ``state``."""

    def __init__(
        self, source: FolderSource, rows: FolderRows, series: FolderSeries, *, excluded: Collection[Path] = ()
    ) -> None:
        """Look at nothing yet.

        Args:
            source: settings of the source.
            rows: rows of watched folders.
            series: metrics of the machine's folders.
            excluded: folders that other sources watch.
        """
        self.source = source
        self._rows = rows
        self._journal = FolderJournal(source, series)
        self._root = source.folder.absolute()
        self._zone: tzinfo | None = None if source.time_zone is None else ZoneInfo(source.time_zone)
        self._times = RecordedTimes(source.time, self._zone)
        self._scan = FolderScan(self._root, subfolders=source.subfolders, excluded=excluded)
        self._waiting = WaitingFiles(self._root, self._times, settle_s=source.settle_s)
        self._whole, self._cheap = LookInterval(), LookInterval()
        self._known: KnownFiles | None = None
        self._key = 0
        self._device: str | None = None
        self._troubled: dict[str, float] = {}
        self._last: tuple[float, bool] = (0.0, False)  # end of the last recording, and whether its time was a file's

    @property
    def waiting(self) -> int:
        """Number of recordings that wait, or are still written."""
        return len(self._waiting) + len(self._troubled)

    @property
    def has_whole(self) -> bool:
        """True if a recording waits that is written to its end."""
        return self._waiting.unfinished < len(self._waiting)

    def open(self) -> KeptFolder:
        """Return what is kept of the folder. Raises :class:`StateUnusable`."""
        kept = self._rows.open(self.source.machine, str(self._root))
        self._key, self._device = kept.key, kept.device
        if self._known is not None:
            return kept
        self._rows.recall(self._key, "unsupported")  # settings and codecs may have changed
        self._recall_existing()
        self._known = KnownFiles(self._rows, self._key, self._root)
        self._journal.begin(self._rows.counts(self._key), self._rows.newest_heard_s(self._key))
        if kept.parts:
            last = kept.parts[-1]
            self._last = (last.recorded_s + last.samples / last.rate_hz, False)
        return kept

    def look(self) -> None:
        """See what is new, if it is time to. Raises :class:`FileUnreadable`, :class:`StateUnusable`."""
        if self._is_first_look():
            self._look_first()
        elif self._whole.is_due:
            self._whole.run(self._look_whole)
        elif self._cheap.is_due:
            self._cheap.run(lambda: self._take(self._scan.changed(self._is_new_name)))
        for file in self._waiting.look(self._scan):
            self.pass_over(file, "empty", "audio_empty", "it has no bytes")
        self._journal.show_waiting(self.waiting)

    def next(self) -> WaitingFile | None:
        """Return the recording that is next, and as it was when it was found whole; None where there is none."""
        while (file := self._waiting.first()) is not None:
            identity = self._scan.identity_of(file.path)
            if identity != file.identity:
                self._waiting.wait_again(file, identity)
            elif (other := self._files.moved(file.found)) is not None:
                self._waiting.remove(file)
                self._take([file.found])
                self._journal.known(file.path, other.path)
            else:
                return file
        if self._waiting.is_full and not len(self._waiting):
            self._waiting.reopen()
            self._whole = LookInterval()
        return None

    def path_of(self, path: str) -> Path:
        """Return the place of a file."""
        return self._root / path

    def has(self, part: FolderPart) -> bool:
        """Return True if the file of a part is there as it was."""
        return self._scan.identity_of(part.path) == part.identity

    def assign(
        self, file: WaitingFile, number: int, stream_id: str, start_sample: int, *, samples: int, rate_hz: int
    ) -> FolderPart:
        """Make a recording a part of a stream, and keep that, before any of its sound is sent."""
        recorded_s = self._dated(file, samples / rate_hz)
        part = FolderPart(number, file.path, file.identity, stream_id, start_sample, samples, rate_hz, recorded_s)
        if self._files.has_grown(file.found):
            self._journal.grown(file.path)
        fingerprint = self._files.fingerprint(file.path, file.identity.size)
        row = FileRow(file.path, file.identity, "heard", time.time(), recorded_s, fingerprint)
        self._rows.assign(self._key, part, row)
        self._files.learn([row])
        self._waiting.remove(file)
        self._journal.begun(file, recorded_s)
        self._last = recorded_s + samples / rate_hz, file.time.origin in ("file", "now")
        return part

    def count_heard(self) -> None:
        """Count a recording that was heard to its end."""
        self._journal.heard()

    def pass_over(self, file: WaitingFile, outcome: FileOutcome, code: str, reason: str) -> None:
        """Keep that a recording cannot be used; it stays where it is."""
        fingerprint = self._files.fingerprint(file.path, file.identity.size)
        row = FileRow(file.path, file.identity, outcome, time.time(), file.time.time_s, fingerprint)
        self._files.note([row])
        self._waiting.remove(file)
        self._journal.skipped(file.path, outcome, code, reason)

    def fail(self, part: FolderPart, outcome: FileOutcome, code: str, reason: str) -> None:
        """Keep that a part cannot be heard to its end; what was sent of it stays a part of the stream."""
        rows = self._rows.find(self._key, [part.path]).get(part.path, [])
        if any(row.identity == part.identity and row.outcome == "heard" for row in rows):  # else it was said before
            self._rows.fail(self._key, part, outcome)
            self._journal.begun_in_vain()
            self._journal.skipped(part.path, outcome, code, reason)

    def lose(self, part: FolderPart, outcome: FileOutcome, code: str, reason: str) -> None:
        """Let go of a part that cannot be sent; it is heard from its start if it comes back."""
        self._files.lose(part)
        self._journal.begun_in_vain()
        self._journal.skipped(part.path, outcome, code, reason)

    def refuse_if_away(self) -> None:
        """Raise :class:`FileUnreadable` while the folder is empty, as a place is that nothing is mounted on."""
        if self._scan.is_empty():
            raise FileUnreadable(f"{self._root} is empty, and a recording in it was not heard to its end: mount it")

    def try_later(self, file: WaitingFile, reason: str) -> None:
        """Leave a file alone for a while that could not be opened: that may pass."""
        self._waiting.remove(file)
        if len(self._troubled) < MAX_TROUBLED:
            self._troubled[file.path] = time.monotonic() + RETRY_S
        self._journal.unreadable_now(file.path, reason)

    def advance(self, stream_id: str, scored_until: int, done: Iterable[FolderPart]) -> None:
        """Keep how far a stream was scored; parts that are done with need not be sent again, and may be deleted."""
        parts = list(done)
        for part in filter(self.has, parts if self.source.delete else ()):
            self._delete(part.path)
        self._rows.advance(self._key, stream_id, scored_until, [part.number for part in parts])

    def state(self) -> FolderState:
        """Return what can be said of the folder now; from any thread."""
        return FolderState(
            machine_id=self.source.machine,
            folder=str(self.source.folder),
            recordings={outcome: number for outcome, number in list(self._journal.counts.items()) if number},
            late=self._journal.late,
            waiting=self.waiting,
            written=self._waiting.unfinished,
            unreadable_now=len(self._troubled),
            others=self._scan.others,
            other_names=list(self._scan.other_names),
            unreadable_folders=dict(self._scan.troubles),
            newest_recorded_s=self._journal.newest_s,
        )

    @property
    def _files(self) -> KnownFiles:
        assert self._known is not None  # callers have opened the folder
        return self._known

    @property
    def _existing(self) -> str:
        return self.source.existing or ("hear" if self.source.delete else "pass_over")

    def _recall_existing(self) -> None:
        """Forget recordings that were passed over when the folder was watched first, and are to be heard now."""
        if self._since_s is None:
            if self._existing == "hear":
                self._rows.recall(self._key, "existing")
            return
        old = (row for row in self._rows.files(self._key) if row.outcome == "existing")
        wanted = [row for row in old if not self._is_passed_over(FoundFile(row.path, row.identity))]
        self._rows.forget(self._key, wanted)

    @property
    def _since_s(self) -> float | None:
        since = self.source.since
        if isinstance(since, datetime):
            return at_zone(since, self._zone) if since.tzinfo is None else since.timestamp()
        return None if since is None else at_zone(datetime.combine(since, clock_time()), self._zone)

    def _is_first_look(self) -> bool:
        """Return True before the first look, and where that found an empty place that something is mounted on now."""
        if self._device is None:
            return True
        return not len(self._files) and not len(self._waiting) and self._device != self._scan.device()

    def _look_first(self) -> None:
        device = self._scan.device()
        passed, extent = 0, TimeExtent(self._times)
        for found in together(self._scan.whole(self._is_new)):
            old = [file for file in found if self._is_passed_over(file)]
            now_s = time.time()
            self._files.note([FileRow(file.path, file.identity, "existing", now_s) for file in old])
            extent.add(old)
            passed += len(old)
            self._journal.count("existing", len(old))
            if len(old) < len(found):
                names = {file.path for file in old}
                self._waiting.add(file for file in found if file.path not in names and self._waiting.has_room_for(file))
        self._rows.begin(self._key, device)
        self._device = device
        self._whole.run(lambda: None)
        if passed:
            self._journal.passed_over(passed, *extent.times())
        self._journal.look(self._scan)

    def _is_passed_over(self, file: FoundFile) -> bool:
        """Return True for a recording that was there before the folder was watched, and is not to be heard."""
        if self._existing == "hear" and self._since_s is None:
            return False
        return self._since_s is None or self._times.of_file(file, time.time()).time_s < self._since_s

    def _look_whole(self) -> None:
        self._take(self._scan.whole(self._is_new))
        self._files.forget_gone(self._scan.present)
        now_s = time.monotonic()
        self._troubled = {path: until_s for path, until_s in self._troubled.items() if until_s > now_s}
        self._journal.look(self._scan)

    def _take(self, found: Iterable[FoundFile]) -> None:
        for files in together(file for file in found if self._waiting.has_room_for(file)):
            new, known = self._files.resolve(files)
            self._waiting.add(new)
            for row in known:
                if self.source.delete and row.outcome == "heard" and not self._rows.is_part(self._key, row.identity):
                    self._delete(row.path)

    def _is_new(self, path: str, identity: FileIdentity) -> bool:
        return not (self._files.knows(path, identity) or path in self._waiting or path in self._troubled)

    def _is_new_name(self, path: str) -> bool:
        return not (self._files.has_name(path) or path in self._waiting or path in self._troubled)

    def _dated(self, file: WaitingFile, length_s: float) -> float:
        """Return when a recording was taken, over by now; one that seems to overlap the last a little follows it."""
        latest_s = time.time() - length_s
        start_s, (end_s, of_file) = file.time.time_s, self._last
        unsaid = of_file and file.time.origin in ("file", "now")
        jitter = 0.0 < end_s - start_s <= JITTER_S
        if jitter or (unsaid and start_s < end_s <= latest_s and end_s - start_s < length_s + JITTER_S):
            start_s = end_s
        return min(start_s, latest_s)

    def _delete(self, path: str) -> None:
        """Delete a recording that was heard; one that cannot be deleted stays, and is not heard again."""
        try:
            self.path_of(path).unlink(missing_ok=True)
        except OSError as error:
            self._journal.not_deleted(path, error.strerror or str(error))
