"""Journal of a watched folder: what became of its recordings, counted and said."""

from __future__ import annotations

from typing import Final

from humwatch_service.config.sources import FolderSource
from humwatch_service.metrics.folders import FolderSeries
from humwatch_service.sources.folder.scan import FolderScan
from humwatch_service.sources.folder.waiting_files import TOGETHER, WaitingFile
from humwatch_service.storage.folder_records import FileOutcome
from humwatch_service.telemetry.logs import event_logger
from humwatch_service.utc import utc_text

JITTER_S: Final = 2.0
"""Overlap of two recordings that is the file system's: times of files are whole seconds, or two."""

_log = event_logger("humwatch.sources")


class FolderJournal:
    """Log lines, metrics and counts of a folder. For one thread at a time; its attributes may be read from any.

    Attributes:
        counts: recordings that are done with, by what became of them.
        late: recordings that came after a newer one was heard, since the start.
        newest_s: when the newest recording that was heard was taken, seconds since 1970; None before any.
    """

    def __init__(self, source: FolderSource, series: FolderSeries) -> None:
        """Begin with nothing to say.

        Args:
            source: settings of the source.
            series: metrics of the machine's folders.
        """
        self.counts: dict[str, int] = {}
        self.late = 0
        self.newest_s: float | None = None
        self._machine_id = source.machine
        self._folder = str(source.folder)
        self._series = series
        self._doubt = self._not_deleted = self._grown = ""
        self._others_told = False
        self._troubles_told: dict[str, str] = {}

    def begin(self, counts: dict[str, int], newest_s: float | None) -> None:
        """Say that the folder is watched, and what was heard of it before."""
        self.counts, self.newest_s = counts, newest_s
        _log.info(
            "folder is watched", machine_id=self._machine_id, folder=self._folder, recordings=sum(counts.values())
        )

    def passed_over(self, recordings: int, first_s: float, last_s: float) -> None:
        """Say that recordings were there before the folder was watched, and which setting has them heard."""
        _log.warning(
            "recordings passed over that were there before",
            machine_id=self._machine_id,
            folder=self._folder,
            recordings=recordings,
            first_at=utc_text(first_s),
            last_at=utc_text(last_s),
            reason='existing = "hear" in the settings of this source has them heard, `since` those from a time on',
        )

    def begun(self, file: WaitingFile, recorded_s: float) -> None:
        """Note that a recording is going to be heard, and say what is odd about its time."""
        self.counts["heard"] = self.counts.get("heard", 0) + 1
        doubt, before = file.time.doubt, self._doubt
        self._doubt = doubt
        if doubt and doubt != before:
            _log.warning(
                "times of recordings doubted",
                machine_id=self._machine_id,
                recording=file.path,
                reason=doubt,
                taken_from=file.time.origin,
                sound_at=utc_text(recorded_s),
            )
        if doubt != TOGETHER and self.newest_s is not None and recorded_s < self.newest_s - JITTER_S:
            self.late += 1
            self._series.late()
            _log.info(
                "recording comes late", machine_id=self._machine_id, recording=file.path, sound_at=utc_text(recorded_s)
            )
        self.newest_s = max(recorded_s, self.newest_s or recorded_s)

    def begun_in_vain(self) -> None:
        """Note that a recording that was begun was not heard to its end."""
        self.counts["heard"] = self.counts.get("heard", 1) - 1

    def heard(self) -> None:
        """Count a recording that was heard to its end."""
        self._series.count("heard")

    def skipped(self, path: str, outcome: FileOutcome, code: str, reason: str) -> None:
        """Count and name a recording that is passed over."""
        self.count(outcome)
        _log.error(
            "recording skipped",
            machine_id=self._machine_id,
            recording=path,
            outcome=outcome,
            code=code,
            reason=reason,
        )

    def count(self, outcome: FileOutcome, recordings: int = 1) -> None:
        """Count recordings that are done with."""
        self.counts[outcome] = self.counts.get(outcome, 0) + recordings
        self._series.count(outcome, recordings)

    def known(self, path: str, other: str) -> None:
        """Say that a file is a recording that is known by another name."""
        _log.info("recording known by another name", machine_id=self._machine_id, recording=path, names=[other])

    def unreadable_now(self, path: str, reason: str) -> None:
        """Say that a file cannot be opened, which may pass."""
        _log.warning("recording cannot be read now", machine_id=self._machine_id, recording=path, reason=reason)

    def grown(self, path: str) -> None:
        """Say that a file became longer after it was heard, and is heard again; once of a name."""
        if path != self._grown:
            _log.warning("recording grew after it was heard", machine_id=self._machine_id, recording=path)
        self._grown = path

    def not_deleted(self, path: str, reason: str) -> None:
        """Say that a recording that was heard cannot be deleted; once, as long as the reason stays."""
        if reason != self._not_deleted:
            _log.warning("recording not deleted", machine_id=self._machine_id, recording=path, reason=reason)
        self._not_deleted = reason

    def look(self, scan: FolderScan) -> None:
        """Say once which files are no recordings, and which folders cannot be read."""
        if scan.others and not self._others_told:
            _log.info(
                "files that are no recordings",
                machine_id=self._machine_id,
                folder=self._folder,
                files=scan.others,
                names=list(scan.other_names),
            )
        self._others_told = scan.others > 0
        for path, reason in scan.troubles.items():
            if path not in self._troubles_told:
                _log.warning("folder cannot be read", machine_id=self._machine_id, folder=path, reason=reason)
        self._troubles_told = dict(scan.troubles)

    def show_waiting(self, recordings: int) -> None:
        """Show how many recordings wait."""
        self._series.show_waiting(recordings)
