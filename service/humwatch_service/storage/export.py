"""Export of operators' judgements of alarms, as recordings to train and to test with.

``<folder>/<machine_id>/normal`` has the sound of false alarms, ``abnormal`` that of true ones: a folder data set of
`humwatch-train` for each machine. ``<folder>/labels.csv`` says of each file what the operator said. Alarms that nobody
is sure of are left out.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from humwatch.durable import replace_durably
from humwatch_service.errors import EvidenceGone, FileUnreadable
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.records import AlarmRecord, Feedback, Verdict
from humwatch_service.storage.store import StateStore

LABELS: Final = "labels.csv"
COLUMNS: Final = (
    "file",
    "machine_id",
    "alarm_id",
    "raised_s",
    "cleared_s",
    "peak_score",
    "model_version",
    "evidence",
    "cause",
    "action",
    "who",
    "said_s",
    "label",
)

_LABELS: Final[dict[Verdict, str]] = {"false_alarm": "normal", "true_alarm": "abnormal"}
_PAGE: Final = 200


class FeedbackExport(BaseModel):
    """What an export wrote."""

    model_config = ConfigDict(frozen=True)

    normal: int = Field(description="recordings of false alarms in the folder")
    abnormal: int = Field(description="recordings of true alarms in the folder")
    unsure: int = Field(description="alarms left out because nobody was sure")
    without_sound: tuple[str, ...] = Field(description="ids of alarms left out because their sound is gone")


def export_feedback(store: StateStore, evidence: EvidenceFolder, folder: Path) -> FeedbackExport:
    """Write the recordings that feedback labels; run again, it follows feedback that was changed.

    A recording that is in the folder from an earlier export stays when the service's own copy is purged.

    Raises:
        StateUnusable: the database or the evidence cannot be read.
        FileUnreadable: the folder cannot be written.
    """
    rows: list[dict[str, object]] = []
    unsure, without_sound = 0, []
    try:
        for alarm, feedback in _judged(store):
            label = _LABELS.get(feedback.verdict)
            path = _export_clip(evidence, alarm, label, folder)
            if label is None:
                unsure += 1
            elif path is None:
                without_sound.append(alarm.id)
            else:
                rows.append(_row(alarm, feedback, label, path.relative_to(folder)))
        _write_labels(folder / LABELS, rows)
    except OSError as error:
        raise FileUnreadable(f"{folder}: {error.strerror or error}") from error
    counts = {label: sum(row["label"] == label for row in rows) for label in _LABELS.values()}
    return FeedbackExport(**counts, unsure=unsure, without_sound=tuple(without_sound))


def _judged(store: StateStore) -> Iterator[tuple[AlarmRecord, Feedback]]:
    before: int | None = None
    while True:
        page = store.alarms(judged=True, limit=_PAGE, before=before)
        yield from ((alarm, alarm.feedback) for alarm in page.alarms if alarm.feedback is not None)
        if page.next_before is None:
            return
        before = page.next_before


def _export_clip(evidence: EvidenceFolder, alarm: AlarmRecord, label: str | None, folder: Path) -> Path | None:
    """Put the clip where its label says, and nowhere else; None where there is no clip or no label."""
    # the name begins like no label: a machine may be called "anomaly"
    places = {name: folder / alarm.machine_id / name / f"alarm_{alarm.id}.flac" for name in _LABELS.values()}
    wanted = None if label is None else places.pop(label)
    if wanted is not None:
        _fill(wanted, evidence, alarm.id, [place for place in places.values() if place.is_file()])
    for other in places.values():
        other.unlink(missing_ok=True)
    return wanted if wanted is not None and wanted.is_file() else None


def _fill(place: Path, evidence: EvidenceFolder, alarm_id: str, earlier: list[Path]) -> None:
    """Copy the clip, or move what an export wrote before the operator thought otherwise."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with evidence.clip_path(alarm_id).open("rb") as clip:
            replace_durably(place, lambda file: shutil.copyfileobj(clip, file))
    except (EvidenceGone, FileNotFoundError):  # or purged this moment
        for path in earlier:
            path.replace(place)


def _row(alarm: AlarmRecord, feedback: Feedback, label: str, path: Path) -> dict[str, object]:
    return {
        "file": path.as_posix(),
        "machine_id": alarm.machine_id,
        "alarm_id": alarm.id,
        "raised_s": alarm.raised_s,
        "cleared_s": alarm.cleared_s,
        "peak_score": alarm.peak_score,
        "model_version": None if alarm.context is None else alarm.context.model_version,
        "evidence": alarm.evidence,
        "cause": feedback.cause,
        "action": feedback.action,
        "who": feedback.who,
        "said_s": feedback.at_s,
        "label": label,
    }


def _write_labels(path: Path, rows: list[dict[str, object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: str(row["file"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(path, lambda file: file.write(text.getvalue().encode()))
