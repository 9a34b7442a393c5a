"""Files of an evaluation: JSON, Markdown, DCASE's CSV, the picture of few recordings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from humwatch.durable import replace_durably
from humwatch_training.evaluation.dcase_csv import write_dcase_files
from humwatch_training.evaluation.few_recordings_picture import few_recordings_figure
from humwatch_training.evaluation.few_recordings_table import FewRow, few_recordings_grid
from humwatch_training.evaluation.figures import png
from humwatch_training.evaluation.runner import Evaluation
from humwatch_training.evaluation.tables import ErrorRow, ScoreRow, cost_grid, markdown, table1_grid, table2_grid

SCHEMA_VERSION = 1
FEW_RECORDINGS = "few_recordings"


def results_json(evaluation: Evaluation, about: Mapping[str, object]) -> dict[str, object]:
    """Return all tables, after the entries of ``about``: data, protocol, seed."""
    rows = list(all_rows(evaluation))
    return {
        "schema_version": SCHEMA_VERSION,
        "created_by": f"humwatch-train {version('humwatch')}",
        **about,
        "table1": [row.as_json() for row in rows],
        "table2": [row.as_json() for row in error_rows(rows)],
        FEW_RECORDINGS: [row.as_json() for row in evaluation.few_recordings],
    }


def all_rows(evaluation: Evaluation) -> Iterable[ScoreRow]:
    """Yield the rows of all studies."""
    return (row for rows in evaluation.rows.values() for row in rows)


def by_subject(evaluation: Evaluation) -> dict[str, list[ScoreRow]]:
    """Group the rows of studies that differ in k alone."""
    found: dict[str, list[ScoreRow]] = {}
    for row in all_rows(evaluation):
        found.setdefault(row.study.subject, []).append(row)
    return found


def error_rows(rows: Iterable[ScoreRow]) -> list[ErrorRow]:
    """Return Table 2: a row for each subject and system; the errors are the same for every score and k."""
    found: dict[tuple[str, str], ErrorRow] = {}
    for row in rows:
        found.setdefault((row.study.subject, row.system.name), ErrorRow.of(row))
    return list(found.values())


def table1_text(evaluation: Evaluation) -> str:
    """Return Table 1 of every subject, and the cost of each system, as Markdown."""
    return "\n".join(
        f"## {subject}\n\n{markdown(table1_grid(rows))}\n{markdown(cost_grid(rows))}"
        for subject, rows in by_subject(evaluation).items()
    )


def table2_text(evaluation: Evaluation) -> str:
    """Return Table 2 of every subject as Markdown."""
    return "\n".join(
        f"## {subject}\n\n{markdown(table2_grid(error_rows(rows)))}" for subject, rows in by_subject(evaluation).items()
    )


def few_by_subject(evaluation: Evaluation) -> dict[str, list[FewRow]]:
    """Return the rows of few recordings by subject; empty where none were measured."""
    found: dict[str, list[FewRow]] = {}
    for row in evaluation.few_recordings:
        found.setdefault(row.study.subject, []).append(row)
    return found


def few_recordings_text(evaluation: Evaluation) -> str:
    """Return the table of few recordings of every subject as Markdown."""
    return "\n".join(
        f"## {subject}\n\n{markdown(few_recordings_grid(rows))}" for subject, rows in few_by_subject(evaluation).items()
    )


def tables_text(evaluation: Evaluation) -> str:
    """Return all tables as Markdown."""
    few = few_recordings_text(evaluation)
    tables = f"# Table 1\n\n{table1_text(evaluation)}\n# Table 2\n\n{table2_text(evaluation)}"
    return f"{tables}\n# Few recordings\n\n{few}" if few else tables


def write_results(evaluation: Evaluation, results: Mapping[str, object], folder: Path) -> None:
    """Write results.json, table1.md, table2.md, few_recordings.md with its picture, and the files of DCASE."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    write_text(folder / "table1.md", table1_text(evaluation))
    write_text(folder / "table2.md", table2_text(evaluation))
    write_dcase_files(all_rows(evaluation), folder / "dcase")
    _write_few_recordings(evaluation, folder)


def _write_few_recordings(evaluation: Evaluation, folder: Path) -> None:
    table, picture = folder / f"{FEW_RECORDINGS}.md", folder / f"{FEW_RECORDINGS}.png"
    subjects = few_by_subject(evaluation)
    if not subjects:  # those of an earlier run are not of these results
        table.unlink(missing_ok=True)
        picture.unlink(missing_ok=True)
        return
    write_text(table, few_recordings_text(evaluation))
    content = png(few_recordings_figure(subjects))
    replace_durably(picture, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a file in one piece."""
    replace_durably(path, lambda file: file.write(text.encode("utf-8")))
