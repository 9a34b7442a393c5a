"""Report of an evaluation: one page that stands alone, with every table and picture inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.few_recordings_picture import few_recordings_figure
from humwatch_training.evaluation.few_recordings_table import FewRow, few_recordings_grid
from humwatch_training.evaluation.figures import clips_figure, histogram_figure, png, roc_figure
from humwatch_training.evaluation.outputs import by_subject, error_rows, few_by_subject, write_text
from humwatch_training.evaluation.pictures import clip_picture, example_clips
from humwatch_training.evaluation.runner import Evaluation
from humwatch_training.evaluation.tables import Grid, ScoreRow, cost_grid, table1_grid, table2_grid
from humwatch_training.export.bundle import Progress

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #767676; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
summary { cursor: pointer; margin: .5rem 0; }
p { max-width: 50rem; }
"""

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<p>AUC and pAUC (false alarm rate up to 0.1, after McClish) are means over machines, with 95 % bootstrap intervals over
clips. Beside them: AUC / pAUC of each machine, and how many normal and anomalous test clips reach the alarm level.
Networks, statistics and levels are fitted to normal train clips alone; labels of test clips serve this report.</p>
{body}
</body>
</html>
"""


FEW_RECORDINGS_EXPLAINED: Final = (
    "Each machine calibrated on k of its normal train clips, means over draws of these and over machines. Recall: share"
    " of anomalous test clips at the machine's own alarm level or above. FAR: share of normal clips there that were not"
    ' drawn. The shaded band and "±" are the standard deviation over draws; the dotted line is the rate asked for.'
    " Recall at 1 % FAR is read off the same scores with the labels of the test clips, which nobody has."
)


def write_report(
    evaluation: Evaluation, reader: ClipReader, about: Mapping[str, object], path: Path, progress: Progress
) -> None:
    """Write report.html."""
    subjects = by_subject(evaluation)
    sections = []
    for done, (subject, rows) in enumerate(subjects.items()):
        progress("report", done, len(subjects))
        sections += [f"<h2>{escape(subject)}</h2>", *_section(evaluation, rows, reader)]
        sections += _few_recordings(subject, few_by_subject(evaluation).get(subject, []))
    progress("report", len(subjects), len(subjects))
    named = {"protocol": "protocol", "seed": "seed", "draws": "draws", "few_draws": "draws of few recordings"}
    facts = ", ".join(f"{words} {about[name]}" for name, words in named.items() if name in about)
    title = f"Evaluation of {about['data']}"
    page = _PAGE.format(title=escape(title), style=_STYLE, about=escape(facts), body="\n".join(sections))
    write_text(path, page)


def _section(evaluation: Evaluation, rows: Sequence[ScoreRow], reader: ClipReader) -> Iterator[str]:
    yield "<h3>Table 1: AUC and pAUC</h3>"
    yield _table(table1_grid(rows))
    yield "<h3>Table 2: squared error, mean ± standard deviation over clips</h3>"
    yield _table(table2_grid(error_rows(rows)))
    yield "<h3>Cost</h3>"
    yield _table(cost_grid(rows))
    studies = list(dict.fromkeys(row.study.name for row in rows))
    for name in studies:
        of_study = [row for row in rows if row.study.name == name]
        yield _folded(f"ROC curves, {name}", [_image(png(roc_figure(of_study)))], opened=name == studies[-1])
        yield _folded(f"Scores and levels, {name}", [_image(png(histogram_figure(of_study)))])
    last = [row for row in rows if row.study.name == studies[-1]]
    for row in {row.system.name: row for row in reversed(last)}.values():
        title = f"Best and worst clips of {row.system.title}, {row.score} (0: median normal clip, 1: alarm level)"
        yield _folded(title, [_image(_clips_png(evaluation, row, reader))])


def _few_recordings(subject: str, rows: Sequence[FewRow]) -> Iterator[str]:
    if rows:
        yield "<h3>Few recordings</h3>"
        yield f"<p>{escape(FEW_RECORDINGS_EXPLAINED)}</p>"
        yield _image(png(few_recordings_figure({subject: rows})))
        yield _folded("Table of few recordings", [_table(few_recordings_grid(rows))])


def _clips_png(evaluation: Evaluation, row: ScoreRow, reader: ClipReader) -> bytes:
    pictures = []
    for chosen in example_clips(row):
        experiment, _ = row.study.machines[chosen[1]]
        pictures.append(clip_picture(chosen, evaluation.system_of(experiment, row.system), reader))
    return png(clips_figure(pictures, reader.features))


def _table(grid: Grid) -> str:
    head, cells = grid
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in cells]
    return f'<div class="wide"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _image(content: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def _folded(title: str, parts: Sequence[str], *, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{''.join(parts)}</details>"
