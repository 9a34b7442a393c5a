from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from humwatch_training.datasets.clip import ArraySource, DataClip
from humwatch_training.evaluation.evidence import kinds_of
from humwatch_training.evaluation.few_recordings import DrawFigures
from humwatch_training.evaluation.few_recordings_picture import ASKED_FOR, MOST_FAR_PERCENT, few_recordings_figure
from humwatch_training.evaluation.few_recordings_table import (
    FewFigures,
    FewRow,
    few_recordings_grid,
    few_rows,
)
from humwatch_training.evaluation.protocols import Experiment, MachineTask
from humwatch_training.evaluation.studies import StatisticsClips, Study
from humwatch_training.fit.systems import SYSTEMS

DRAW = DrawFigures(
    recall=0.5,
    far=0.02,
    recall_at_far_1=0.4,
    recall_at_far_1_5=0.45,
    auc=0.9,
    pauc=0.8,
    expected_rate=0.03,
    covered=True,
)
OTHER = replace(DRAW, recall=0.7, far=0.04, auc=0.8, covered=False)
FIGURES = FewFigures.of([DRAW, OTHER])
NAMES = ("id_01", "id_02")
CHOSEN = (SYSTEMS["network-free"], SYSTEMS["latent-anp"])


def clip(machine_id: str, number: int, *, train: bool) -> DataClip:
    part = "train" if train else "test"
    return DataClip(
        name=f"{machine_id}/{part}_{number}",
        machine_type="toy",
        machine_id=machine_id,
        split=part,
        label="normal",
        source=ArraySource(path=Path(f"{machine_id}_{part}"), index=number),
    )


def study(k: StatisticsClips | None = None, counts: tuple[int, int] = (12, 30)) -> Study:
    """Two machines, the first with fewer clips."""
    tasks = tuple(
        MachineTask("toy", name, tuple(clip(name, i, train=True) for i in range(count)), (clip(name, 0, train=False),))
        for name, count in zip(NAMES, counts, strict=True)
    )
    name = "matched" if k is None else f"zero-shot/k-{k}"
    experiment = Experiment(name, (clip("id_03", 0, train=True),), tasks)
    return Study("matched" if k is None else "zero-shot", "toy", "dev", k, (experiment,))


@pytest.fixture
def rows() -> Callable[..., tuple[FewRow, ...]]:
    """Rows of both systems with the same draws throughout."""

    def make(*studies: Study, folder: str = "matched", missing: StatisticsClips | None = None) -> tuple[FewRow, ...]:
        ks: dict[str, tuple[StatisticsClips, ...]] = {"id_01": (5, 8, 10, "all"), "id_02": (5, 8, 10, 20, "all")}
        measured = {
            (folder, name, system.name, kind): {k: () if k == missing else (DRAW, OTHER) for k in of_machine}
            for name, of_machine in ks.items()
            for system in CHOSEN
            for kind in kinds_of(system.recipe.network)
        }
        return few_rows(studies, CHOSEN, measured)

    return make


def test_figures_are_means_and_spread_over_draws() -> None:
    assert FIGURES.draws == 2
    assert (FIGURES.recall, FIGURES.far, FIGURES.auc, FIGURES.coverage) == pytest.approx((0.6, 0.03, 0.85, 0.5))
    assert (FIGURES.recall_std, FIGURES.far_std) == pytest.approx((0.1 * 2**0.5, 0.01 * 2**0.5))
    assert (FewFigures.of([DRAW]).recall_std, FewFigures.of([DRAW]).far_std) == (None, None)


def test_machines_count_alike_however_many_draws_they_have() -> None:
    both = FewFigures.together([FIGURES, FewFigures.of([DRAW] * 5)])
    assert both.draws == 2
    assert (both.recall, both.far, both.coverage) == pytest.approx((0.55, 0.025, 0.75))
    assert both.recall_std == pytest.approx(FIGURES.recall_std / 2)
    single = FewFigures.of([DRAW])
    assert FewFigures.together([single, single]) == single


def test_a_number_of_clips_that_one_machine_lacks_has_no_row(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    default = [row for row in rows(study()) if row.is_default]
    assert [(row.k, row.clips) for row in default] == [(5, 5), (8, 8), (10, 10), ("all", 12)]
    assert {row.k for row in rows(study(), missing=8)} == {5, 10, "all"}  # no draw of 8 could be calibrated


def test_studies_of_several_k_have_their_rows_once(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    studies = study(0, (0, 0)), study("all"), study(5, (5, 5))
    found = rows(*studies, folder="zero-shot")
    assert {row.study.k for row in found} == {"all"}
    assert len(found) == len(rows(studies[1], folder="zero-shot"))


def test_a_row_tells_all_of_it_as_json(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    [row] = [row.as_json() for row in rows(study()) if row.is_default and row.k == "all"]
    labels = {name: row[name] for name in ("protocol", "type", "group", "system", "score", "default", "k", "clips")}
    assert labels == {
        "protocol": "matched",
        "type": "toy",
        "group": "dev",
        "system": "latent-anp",
        "score": "consensus",
        "default": True,
        "k": "all",
        "clips": 12,
    }
    assert row["title"] == SYSTEMS["latent-anp"].title
    figures = ("draws", "recall", "recall_std", "far", "far_std", "recall_at_far_1", "recall_at_far_1_5", "auc", "pauc")
    for name in (*figures, "expected_rate", "coverage"):
        assert row[name] == getattr(FIGURES, name)
        assert [machine[name] for machine in row["per_id"].values()] == [getattr(FIGURES, name)] * 2
    assert list(row["per_id"]) == list(NAMES)


def test_only_the_score_of_new_bundles_is_the_default(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    assert {(row.system.name, row.score) for row in rows(study()) if row.is_default} == {("latent-anp", "consensus")}


def test_the_table_is_in_order_of_the_clips(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    head, cells = few_recordings_grid(rows(study()))
    assert {len(line) for line in (head, *cells)} == {12}
    kinds = sum(len(kinds_of(system.recipe.network)) for system in CHOSEN)
    assert [line[0] for line in cells] == [name for name in ("5", "8", "10", "all (12)") for _ in range(kinds)]
    [line] = [line for line in cells if line[0] == "5" and line[2] == "consensus (default)"]
    assert line[3:] == ["2", "60.0 ± 14.1 %", "3.0 ± 1.4 %", "3.0 %", "50%", "40.0 %", "45.0 %", "0.850", "0.800"]


def test_the_picture_has_a_line_for_each_system_and_score(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    found = rows(study())
    above, below = few_recordings_figure({"matched/dev/toy": found}).axes
    lines = {str(line.get_label()): line for line in above.get_lines()}
    assert len(lines) == len({(row.system.name, row.score) for row in found})
    default = lines[f"{SYSTEMS['latent-anp'].title}: consensus (default)"]
    assert default.get_xdata().tolist() == [5, 8, 10, 12]
    assert default.get_ydata() == pytest.approx([60.0] * 4)
    assert default.get_linewidth() > 2 * max(line.get_linewidth() for line in lines.values() if line is not default)
    assert [label.get_text() for label in below.get_xticklabels()] == ["5", "8", "10", "all (12)"]
    rates = {str(line.get_label()): line.get_ydata() for line in below.get_lines()}
    assert rates.pop(ASKED_FOR) == pytest.approx([1.0, 1.0])
    assert all(list(rate) == pytest.approx([3.0] * 4) for rate in rates.values())
    assert (len(above.collections), len(below.collections)) == (1, 1)  # the spread of the default


def test_high_false_alarm_rates_do_not_flatten_the_low_ones(rows: Callable[..., tuple[FewRow, ...]]) -> None:
    noisy = FewFigures.of([replace(DRAW, far=0.9)])
    found = [replace(row, machines=dict.fromkeys(NAMES, noisy)) for row in rows(study())]
    _, below = few_recordings_figure({"one": found}).axes
    assert below.get_ylim() == (0, MOST_FAR_PERCENT)
    figure = few_recordings_figure({"one": found, "two": found})
    assert [axes.get_title() for axes in figure.axes[:2]] == ["one", "two"]
