"""The command on two machines that never were, with two systems that are trained in an instant."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from humwatch_training.cli.main import app
from humwatch_training.evaluation import runner
from humwatch_training.evaluation.few_recordings import DrawFigures
from humwatch_training.fit.progress import StopSignal

pytestmark = pytest.mark.slow

STRANGE = "id_<b>&$1"
NAMES = ("id_01", STRANGE)
ROLES = np.repeat([0, 1, 2], [12, 5, 6])
BUDGET = ("--systems", "network-free,ae", "--steps", "3", "--threads", "1", "--draws", "200", "--few-draws", "3")


def write_machines(folder: Path) -> Path:
    """Machines whose faults are one band that is 6 dB louder."""
    folder.mkdir()
    slope = np.linspace(-30.0, -60.0, 8)
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        clips = slope + 2.0 * seed + rng.normal(0, 0.5, (len(ROLES), 1, 8)) + rng.normal(0, 3, (len(ROLES), 30, 8))
        clips[ROLES == 2, :, 4] += 6.0
        names = np.array([f"{'anomaly' if role == 2 else 'normal'}_{i:04}" for i, role in enumerate(ROLES)])
        np.savez(folder / f"{name}.npz", logmel_db=clips.astype(np.float32), role=ROLES.astype(np.uint8), name=names)
    return folder


def evaluate(*words: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *(str(word) for word in words)])


@dataclass(frozen=True)
class Done:
    """A finished evaluation: its data, its folder, what was said and shown, and the results."""

    data: Path
    out: Path
    said: str
    shown: str
    results: dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("evaluate")
    data = write_machines(root / "toys_logmel")
    threads = torch.get_num_threads()
    result = evaluate("--logmel", data, *BUDGET, "--out", root / "out", "--json", root / "json" / "results.json")
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    yield Done(
        data, root / "out", result.stderr, result.stdout, json.loads((root / "json" / "results.json").read_text())
    )


def test_table_1_has_a_row_for_each_system_and_score(done: Done) -> None:
    rows = done.results["table1"]
    assert {(row["system"], row["score"]) for row in rows} >= {
        ("network-free", "spectrum_profile"),
        ("network-free", "mse"),
        ("ae", "residual_profile"),
        ("ae", "mse"),
    }
    for row in rows:
        assert row["type"] == "toys"
        assert list(row["per_id"]) == sorted(NAMES)
        machines = list(row["per_id"].values())
        assert row["auc_mean"] == pytest.approx(np.mean([machine["auc"] for machine in machines]))
        assert row["pauc_mean"] == pytest.approx(np.mean([machine["pauc"] for machine in machines]))
        assert row["auc_low"] <= row["auc_mean"] <= row["auc_high"]
        for machine in machines:
            assert (machine["normal_clips"], machine["anomalous_clips"]) == (5, 6)
            assert (machine["statistics_clips"], machine["warn_level"] <= machine["alarm_level"]) == (12, True)
            assert 0 <= machine["false_alarms"] <= 5
            assert 0 <= machine["detections"] <= 6
    assert "k" not in rows[0]


def test_a_louder_band_is_found_by_the_profile(done: Done) -> None:
    [row] = [row for row in done.results["table1"] if row["score"] == "spectrum_profile"]
    assert row["auc_mean"] == 1.0
    assert row["per_id"]["id_01"]["detections"] == 6


def test_what_training_and_scoring_took_is_told(done: Done) -> None:
    rows = {row["system"]: row for row in done.results["table1"]}
    assert (rows["ae"]["steps"], rows["network-free"]["steps"]) == (3, 1)
    assert all(row["training_s"] > 0 and row["scoring_s_per_clip"] > 0 and row["threads"] == 1 for row in rows.values())
    assert (rows["ae"]["hop_frames"], rows["network-free"]["hop_frames"]) == (1, 5)


def test_table_2_is_the_error_of_all_normal_test_clips(done: Done) -> None:
    rows = {row["system"]: row for row in done.results["table2"]}
    assert set(rows) == {"network-free", "ae"}
    row = rows["network-free"]
    assert (row["normal_clips"], row["anomalous_clips"]) == (10, 12)
    means = [machine["normal_mean_db2"] for machine in row["per_id"].values()]
    assert row["normal_mean_db2"] == pytest.approx(np.mean(means))
    # Noise of 3 dB and of 0.5 dB a clip, and each machine 1 dB from the mean of both.
    assert row["normal_mean_db2"] == pytest.approx(9 + 0.25 + 1, rel=0.15)
    assert row["anomalous_mean_db2"] == pytest.approx(row["normal_mean_db2"] + 36 / 8, rel=0.25)


def test_the_same_results_lie_in_the_folder(done: Done) -> None:
    assert json.loads((done.out / "results.json").read_text()) == done.results
    table = (done.out / "table1.md").read_text()
    assert "| AE " in table
    assert "residual_profile" in table
    assert "±" in (done.out / "table2.md").read_text()


def test_the_files_of_dcase_hold_every_test_clip(done: Done) -> None:
    folder = done.out / "dcase" / "matched" / "dev" / "toys" / "ae" / "mse"
    [row] = [row for row in done.results["table1"] if (row["system"], row["score"]) == ("ae", "mse")]
    scores = lines(folder / "anomaly_score_toys_id_01.csv")
    decisions = lines(folder / "decision_result_toys_id_01.csv")
    assert [name for name, _ in scores] == [name for name, _ in decisions]
    assert len(scores) == 11
    assert {name.partition("_")[0] for name, _ in scores} == {"normal", "anomaly"}
    level = row["per_id"]["id_01"]["alarm_level"]
    assert [int(decision) for _, decision in decisions] == [int(float(score) >= level) for _, score in scores]
    result = lines(folder / "result.csv")
    assert result[:2] == [["toys"], ["id", "AUC", "pAUC"]]
    assert [line[0] for line in result[2:]] == [*sorted(NAMES), "Average"]
    assert float(result[-1][1]) == row["auc_mean"]


def lines(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


def test_the_report_stands_alone_and_takes_names_as_names(done: Done) -> None:
    page = (done.out / "report.html").read_text("utf-8")
    assert re.findall(r"(?:src|href)=\"(?!data:image/png;base64,)", page) == []
    assert "://" not in page
    assert "<b>" not in page
    assert "id_&lt;b&gt;&amp;$1" in page
    # Few recordings, ROC curves and histograms, and the clips of each system.
    assert page.count("data:image/png;base64,iVBOR") == 5


def test_a_second_time_trains_and_hears_nothing(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in done.out.rglob("*.*") if path.suffix in {".pt", ".onnx", ".npz"}
    }
    assert len(before) >= 6
    monkeypatch.setattr(runner.EvidenceSpec, "clip_evidence", lambda *_: pytest.fail("was collected already"))
    result = evaluate("--logmel", done.data, *BUDGET, "--out", done.out, "--no-report")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("trained already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((done.out / "results.json").read_text()) == done.results
    assert "step 3/3" in done.said
    assert "step" not in result.stderr.replace("steps)", "")


def test_another_budget_is_refused_until_it_may_replace(done: Done) -> None:
    words = ("--logmel", done.data, "--systems", "ae", "--steps", "4", "--threads", "1", "--out", done.out)
    result = evaluate(*words)
    assert result.exit_code == 1
    assert "resume_mismatch" in result.stderr
    assert "other settings (steps)" in result.stderr


def test_an_interrupted_collection_goes_on_where_it_was(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[int] = []
    clip, installed = runner.EvidenceSpec.clip_evidence, StopSignal.installed
    signals: list[StopSignal] = []

    def remembered(self: StopSignal) -> object:
        signals.append(self)
        return installed(self)

    def counted(self: runner.EvidenceSpec, frames_db: np.ndarray, predictor: object) -> object:
        collected.append(len(collected))
        if len(collected) == 7:
            signals[-1].name = "SIGTERM"
        return clip(self, frames_db, predictor)

    monkeypatch.setattr(StopSignal, "installed", remembered)
    monkeypatch.setattr(runner.EvidenceSpec, "clip_evidence", counted)
    words = ("--logmel", done.data, "--systems", "network-free", "--threads", "1", "--out", tmp_path, "--no-report")
    words = (*words, "--few-draws", "0")
    stopped = evaluate(*words)
    assert stopped.exit_code == 1
    assert "SIGTERM after 7 of 46 clips; the same command goes on from there" in stopped.stderr
    assert evaluate(*words).exit_code == 0
    assert len(collected) == 46
    rows = json.loads((tmp_path / "results.json").read_text())["table1"]
    same = [row for row in done.results["table1"] if row["system"] == "network-free"]
    assert [row["per_id"]["id_01"]["auc"] for row in rows] == [row["per_id"]["id_01"]["auc"] for row in same]


def test_zero_shot_leaves_each_machine_out_and_counts_its_clips(done: Done, tmp_path: Path) -> None:
    where = ("--out", tmp_path, "--no-report", "--few-draws", "1")
    words = ("--protocol", "zero-shot", "--k", "0,5,all", "--systems", "network-free", "--threads", "1")
    result = evaluate("--logmel", done.data, *words, *where)
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "results.json").read_text())
    rows = [row for row in results["table1"] if row["score"] == "spectrum_profile"]
    assert [row["k"] for row in rows] == [0, 5, "all"]
    for row, count in zip(rows, (0, 5, 12), strict=True):
        assert row["train_ids"] == {"id_01": [STRANGE], STRANGE: ["id_01"]}
        assert [machine["statistics_clips"] for machine in row["per_id"].values()] == [count, count]
        assert [machine["type_clips"] for machine in row["per_id"].values()] == [12, 12]
    assert len(list(tmp_path.rglob("checkpoint.pt"))) == 2
    assert len(results["table2"]) == 1
    assert "| k   |" in (tmp_path / "table1.md").read_text()
    few = [row for row in results["few_recordings"] if row["score"] == "spectrum_profile"]
    assert [(row["k"], row["draws"]) for row in few] == [(5, 1), (8, 1), (10, 1), ("all", 1)]
    for name in NAMES:  # nothing but the test clips is left where all others were drawn
        machine = rows[-1]["per_id"][name]
        assert few[-1]["per_id"][name]["far"] == machine["false_alarms"] / machine["normal_clips"]
        assert few[0]["per_id"][name]["far"] in [count / (5 + 12 - 5) for count in range(13)]


def test_few_recordings_are_measured_for_every_system_and_score(done: Done) -> None:
    rows = done.results["few_recordings"]
    shown = {(row["system"], row["score"]) for row in done.results["table1"]}
    assert [row["k"] for row in rows] == [k for _ in shown for k in (5, 8, 10, "all")]
    assert {(row["system"], row["score"]) for row in rows} == shown
    for row in rows:
        assert (row["draws"], row["recall_std"] is None) == ((1, True) if row["k"] == "all" else (3, False))
        assert list(row["per_id"]) == sorted(NAMES)
        assert row["recall"] == pytest.approx(np.mean([machine["recall"] for machine in row["per_id"].values()]))
    for whole in (row for row in rows if row["k"] == "all"):
        [same] = [r for r in done.results["table1"] if (r["system"], r["score"]) == (whole["system"], whole["score"])]
        assert whole["auc"] == pytest.approx(same["auc_mean"])
        assert whole["recall"] == pytest.approx(sum(m["detections"] for m in same["per_id"].values()) / 12)
        assert whole["far"] == pytest.approx(sum(m["false_alarms"] for m in same["per_id"].values()) / 10)


def test_few_recordings_are_a_table_a_picture_and_a_section(done: Done) -> None:
    table = (done.out / "few_recordings.md").read_text()
    assert "| recall at own level" in table
    assert len(table.splitlines()) == 4 + len(done.results["few_recordings"])
    assert (done.out / "few_recordings.png").read_bytes().startswith(b"\x89PNG")
    assert "<h3>Few recordings</h3>" in (done.out / "report.html").read_text("utf-8")
    assert done.shown.index("# Table 2") < done.shown.index("# Few recordings")
    assert table.strip() in done.shown


def test_a_signal_between_two_draws_stops_and_the_same_command_goes_on(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[StopSignal] = []
    installed, measured = StopSignal.installed, DrawFigures.of

    def interrupted(*scores: object) -> DrawFigures:
        signals[-1].name = "SIGTERM"
        return measured(*scores)

    monkeypatch.setattr(StopSignal, "installed", lambda self: signals.append(self) or installed(self))
    monkeypatch.setattr(DrawFigures, "of", interrupted)
    words = ("--logmel", done.data, *BUDGET, "--out", done.out, "--no-report")
    stopped = evaluate(*words)
    assert (stopped.exit_code, len(signals)) == (1, 1)
    assert "SIGTERM; the same command goes on from there" in stopped.stderr
    monkeypatch.setattr(DrawFigures, "of", measured)
    assert evaluate(*words).exit_code == 0
    assert json.loads((done.out / "results.json").read_text()) == done.results


def test_few_recordings_are_left_out_on_request(done: Done, tmp_path: Path) -> None:
    (tmp_path / "few_recordings.md").write_text("of an earlier run")
    words = ("--logmel", done.data, "--systems", "network-free", "--threads", "1", "--out", tmp_path, "--no-report")
    result = evaluate(*words, "--few-draws", "0")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "results.json").read_text())["few_recordings"] == []
    assert not list(tmp_path.glob("few_recordings.*"))
    assert "Few recordings" not in result.stdout
    assert "few recordings" not in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the data"),
        (("--logmel", ".", "--data", "."), "name the data"),
        (("--logmel", ".", "--systems", "ae,magic"), "magic; there are network-free, ae"),
        (("--logmel", ".", "--protocol", "best"), "is none of matched, per-machine, zero-shot"),
        (("--logmel", ".", "--k", "0,2"), "'2' is neither 0"),
        (("--logmel", ".", "--group", "all"), "is none of dev, eval"),
        (("--logmel", ".", "--train-ids", "id_01"), "is for --protocol zero-shot"),
        (("--logmel", ".", "--type", "../fan"), "cannot be part of a folder"),
        (("--logmel", ".", "--type", ".."), "cannot be part of a folder"),
        (("--logmel", ".", "--minutes", "0"), "has to be above 0"),
        (("--logmel", ".", "--few-draws", "-1"), "--few-draws"),
        (("--data", ".", "--kind", "mp3"), "is none of"),
    ],
)
def test_bad_usage_is_exit_code_2(words: tuple[str, ...], message: str) -> None:
    result = evaluate(*words)
    assert result.exit_code == 2
    assert message in re.sub(r"[│\s]+", " ", result.stderr)


def test_a_folder_without_data_is_a_failure_with_a_name(tmp_path: Path) -> None:
    result = evaluate("--logmel", tmp_path)
    assert result.exit_code == 1
    assert "training_data" in result.stderr
    assert "not a logmel data set" in result.stderr
    missing = evaluate("--data", tmp_path / "nowhere")
    assert (missing.exit_code, "no such file or folder" in missing.stderr) == (1, True)


def test_a_type_that_is_not_there_is_a_failure_with_a_name(tmp_path: Path, write_sound) -> None:
    for split, name in (("train", "normal_id_00_00000000"), ("test", "anomaly_id_00_00000000")):
        write_sound(tmp_path / "dcase" / "fan" / split / f"{name}.wav", seed=1)
    result = evaluate("--data", tmp_path / "dcase", "--type", "valve")
    assert result.exit_code == 1
    assert "no machine is a valve; there are fan" in result.stderr
