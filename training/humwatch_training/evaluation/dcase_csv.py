"""Results as the files of DCASE Task 2: scores and decisions of each machine, and the areas of all."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from humwatch.durable import replace_durably
from humwatch_training.datasets import DataClip
from humwatch_training.evaluation.tables import ScoreRow

Line = Sequence[str | int | float]


def write_dcase_files(rows: Iterable[ScoreRow], folder: Path) -> None:
    """Write, for each row, ``<study>/<system>/<score>/`` with three kinds of CSV file, none with a header.

    ``anomaly_score_<type>_<id>.csv``: file name, raw score. ``decision_result_<type>_<id>.csv``: file name, 1 where the
    score reaches the alarm level. ``result.csv``: type; id, AUC, pAUC of each machine; their average.
    """
    for row in rows:
        place = folder / row.study.name / row.system.name / row.score
        place.mkdir(parents=True, exist_ok=True)
        for machine in row.machines:
            parts = (machine.scores.normal, machine.scores.anomalous)
            clips = [clip for part in parts for clip in part.clips]
            scores = [float(score) for part in parts for score in part.scores]
            names = file_names(clips)
            ending = f"{row.study.machine_type}_{machine.machine_id}.csv"
            _write(place / f"anomaly_score_{ending}", sorted(zip(names, scores, strict=True)))
            decisions = [(name, int(score >= machine.scores.alarm)) for name, score in zip(names, scores, strict=True)]
            _write(place / f"decision_result_{ending}", sorted(decisions))
        _write(place / "result.csv", _result_lines(row))


def file_names(clips: Sequence[DataClip]) -> list[str]:
    """Return the last part of each clip's name, as DCASE has it; the whole where two would be one."""
    short = [PurePosixPath(clip.name).name for clip in clips]
    times = Counter(short)
    return [name if times[name] == 1 else clip.name for name, clip in zip(short, clips, strict=True)]


def _result_lines(row: ScoreRow) -> list[Line]:
    machines: list[Line] = [(m.machine_id, m.areas.auc, m.areas.pauc) for m in row.machines]
    return [
        (row.study.machine_type,),
        ("id", "AUC", "pAUC"),
        *machines,
        ("Average", row.auc.value, row.pauc.value),
    ]


def _write(path: Path, lines: Iterable[Line]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    replace_durably(path, lambda file: file.write(text.getvalue().encode()))
