"""Export of what a service heard, as a data set to train and to test with.

``<folder>/<machine_id>/normal`` has kept normal sound and the sound of false alarms, ``abnormal`` that of true ones: a
folder data set of `humwatch-train` for each machine. ``<folder>/labels.csv`` says of each file what it is and what the
operator said. Alarms that nobody is sure of are left out. Who said it is personal, and left out unless it is asked for.
"""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.durable import replace_durably
from humwatch.text_files import read_text
from humwatch_service.errors import EvidenceGone, FileUnreadable
from humwatch_service.storage.alarm_pages import every_alarm
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import AlarmRecord, Feedback, Verdict
from humwatch_service.storage.sounds.kept_sounds import KeptSound, KeptSounds
from humwatch_service.storage.store import StateStore

LABELS: Final = "labels.csv"
WHO: Final = "who"
COLUMNS: Final = (
    "file",
    "machine_id",
    "label",
    "origin",
    "at_s",
    "score",
    "model_version",
    "alarm_id",
    "cleared_s",
    "evidence",
    "verdict",
    "cause",
    "action",
    "said_s",
)

_LABELS: Final[dict[Verdict, str]] = {"false_alarm": "normal", "true_alarm": "abnormal"}
_CHUNK_BYTES: Final = 1 << 16

Row = dict[str, object]


class DatasetExport(BaseModel):
    """What an export wrote."""

    model_config = ConfigDict(frozen=True)

    kept: int = Field(description="recordings of kept normal sound in the folder")
    normal: int = Field(description="recordings of false alarms in the folder")
    abnormal: int = Field(description="recordings of true alarms in the folder")
    unsure: int = Field(description="alarms left out because nobody was sure")
    without_sound: tuple[str, ...] = Field(description="ids of alarms left out because their sound is gone")


class DatasetSource:
    """What a service has kept; read while it may be running.

    Args:
        store: database of alarms.
        evidence: sound of alarms.
        kept: normal sound of machines.
        who: whether labels name who judged.
    """

    def __init__(self, store: StateStore, evidence: EvidenceFolder, kept: KeptSounds, *, who: bool = False) -> None:
        self._store = store
        self._evidence = evidence
        self._kept = kept
        self.columns = (*COLUMNS, WHO) if who else COLUMNS

    def export(self, folder: Path, machine_id: str | None = None) -> DatasetExport:
        """Write a data set of one machine, or all; run again, it follows what was kept and judged since.

        A recording that is in the folder from an earlier export stays when the service's own copy is purged.

        Raises:
            StateUnusable: the database or the sounds cannot be read.
            FileUnreadable: the folder cannot be written.
        """
        rows: list[Row] = []
        unsure, without_sound = 0, []
        try:
            rows += self._export_kept(folder, machine_id)
            kept = len(rows)
            for alarm, feedback in self._judged(machine_id):
                label = _LABELS.get(feedback.verdict)
                path = _export_clip(self._evidence, alarm, label, folder)
                if label is None:
                    unsure += 1
                elif path is None:
                    without_sound.append(alarm.id)
                else:
                    rows.append(_alarm_row(alarm, feedback, label, path.relative_to(folder).as_posix()))
            text = self._labels(rows)
            folder.mkdir(parents=True, exist_ok=True)
            replace_durably(folder / LABELS, lambda file: file.write(text))
        except OSError as error:
            raise FileUnreadable(f"{folder}: {error.strerror or error}") from error
        counts = {label: sum(row["label"] == label for row in rows[kept:]) for label in _LABELS.values()}
        return DatasetExport(kept=kept, **counts, unsure=unsure, without_sound=tuple(without_sound))

    def zipped(self, machine_id: str) -> Iterator[bytes]:
        """Return the data set of a machine as a ZIP, piece by piece; held is one piece at a time.

        A sound that is deleted meanwhile is left out. Raises :class:`StateUnusable`.
        """
        sink = _Sink()
        rows: list[Row] = []
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for source, row in self._files(machine_id):
                try:
                    with source.open("rb") as sound, archive.open(str(row["file"]), "w") as target:
                        while piece := sound.read(_CHUNK_BYTES):
                            target.write(piece)
                            yield sink.taken()
                except FileNotFoundError:  # before anything of it was written
                    continue
                rows.append(row)
            archive.writestr(LABELS, self._labels(rows))
        yield sink.taken()

    def _files(self, machine_id: str) -> Iterator[tuple[Path, Row]]:
        for sound in self._kept.sounds(machine_id):
            yield self._kept.path(machine_id, sound), _kept_row(machine_id, sound)
        for alarm, feedback in self._judged(machine_id):
            label = _LABELS.get(feedback.verdict)
            if label is not None:
                try:
                    path = self._evidence.clip_path(alarm.id)
                except EvidenceGone:
                    continue
                yield path, _alarm_row(alarm, feedback, label, _alarm_file(alarm, label))

    def _export_kept(self, folder: Path, machine_id: str | None) -> list[Row]:
        """Copy what is new; rows of what an earlier export wrote stay with their files."""
        rows = {str(row["file"]): row for row in _rows_before(folder) if row.get("origin") == "kept"}
        for each in self._kept.machine_ids() if machine_id is None else [machine_id]:
            for sound in self._kept.sounds(each):
                row = _kept_row(each, sound)
                place = folder / str(row["file"])
                if not place.is_file():
                    try:
                        _copy(self._kept.path(each, sound), place)
                    except FileNotFoundError:  # it went this moment
                        continue
                rows[str(row["file"])] = row
        return [row for file, row in rows.items() if (folder / file).is_file()]

    def _judged(self, machine_id: str | None) -> Iterator[tuple[AlarmRecord, Feedback]]:
        for alarm in every_alarm(self._store, machine_id=machine_id, judged=True):
            if alarm.feedback is not None:
                yield alarm, alarm.feedback

    def _labels(self, rows: Iterable[Row]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["file"])))
        return text.getvalue().encode()


class _Sink:
    """Receiver of a ZIP that is sent on as it is written; it cannot be wound back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        """Take a piece."""
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is to be closed."""

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _export_clip(evidence: EvidenceFolder, alarm: AlarmRecord, label: str | None, folder: Path) -> Path | None:
    """Put the clip where its label says, and nowhere else; None where there is no clip or no label."""
    places = {name: folder / _alarm_file(alarm, name) for name in _LABELS.values()}
    wanted = None if label is None else places.pop(label)
    if wanted is not None:
        _fill(wanted, evidence, alarm.id, [place for place in places.values() if place.is_file()])
    for other in places.values():
        other.unlink(missing_ok=True)
    return wanted if wanted is not None and wanted.is_file() else None


def _fill(place: Path, evidence: EvidenceFolder, alarm_id: str, earlier: list[Path]) -> None:
    """Copy the clip, or move what an export wrote before the operator thought otherwise."""
    try:
        _copy(evidence.clip_path(alarm_id), place)
    except (EvidenceGone, FileNotFoundError):  # or purged this moment
        for path in earlier:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


def _copy(source: Path, place: Path) -> None:
    with source.open("rb") as sound:
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(place, lambda file: shutil.copyfileobj(sound, file))


def _rows_before(folder: Path) -> list[Row]:
    try:
        return [dict(row) for row in csv.DictReader(io.StringIO(read_text(folder / LABELS), newline=""))]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise FileUnreadable(f"{folder / LABELS}: {error}") from error


def _alarm_file(alarm: AlarmRecord, label: str) -> str:
    # the name begins like no label: a machine may be called "anomaly"
    return f"{alarm.machine_id}/{label}/alarm_{alarm.id}.flac"


def _kept_row(machine_id: str, sound: KeptSound) -> Row:
    return {
        "file": f"{machine_id}/normal/kept_{sound.file}",
        "machine_id": machine_id,
        "label": "normal",
        "origin": "kept",
        "at_s": sound.at_s,
        "score": sound.score,
        "model_version": sound.model_version,
    }


def _alarm_row(alarm: AlarmRecord, feedback: Feedback, label: str, file: str) -> Row:
    return {
        "file": file,
        "machine_id": alarm.machine_id,
        "label": label,
        "origin": "alarm",
        "at_s": alarm.raised_s,
        "score": alarm.peak_score,
        "model_version": None if alarm.context is None else alarm.context.model_version,
        "alarm_id": alarm.id,
        "cleared_s": alarm.cleared_s,
        "evidence": alarm.evidence,
        "verdict": feedback.verdict,
        "cause": feedback.cause,
        "action": feedback.action,
        "said_s": feedback.at_s,
        WHO: feedback.who,
    }
