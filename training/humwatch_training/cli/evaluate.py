"""``humwatch-train evaluate``: comparison of systems on a data set, from training to the report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
import typer

from humwatch_training.console import failures, say, show, stage_progress
from humwatch_training.datasets import KINDS, DataSet, DataSetKind, open_dataset
from humwatch_training.datasets.clip import Group
from humwatch_training.datasets.feature_cache import FeatureCache, default_cache_folder
from humwatch_training.errors import TrainingDataError
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.few_recordings import FEW_DRAWS
from humwatch_training.evaluation.outputs import results_json, tables_text, write_results, write_text
from humwatch_training.evaluation.report import write_report
from humwatch_training.evaluation.runner import Evaluator
from humwatch_training.evaluation.spec import DRAWS, EvaluationSpec
from humwatch_training.evaluation.studies import GROUPS, PROTOCOLS, ProtocolName, StatisticsClips, Study, plan_studies
from humwatch_training.fit.progress import StopSignal
from humwatch_training.fit.systems import SYSTEMS, System

Name = TypeVar("Name", bound=str)

MIN_STATISTICS_CLIPS = 3
"""Least number of a machine's own clips that has a spread; none at all is a case of its own."""


MINUTES = 10.0
"""Minutes of training of each network: the paper's own budget would take days on a small machine."""


def evaluate(
    logmel: Annotated[Path | None, typer.Option(help="Folder of log-mel .npz files, one a machine.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a data set of recordings (docs/data.md).")] = None,
    kind: Annotated[str, typer.Option(help=f"Its layout: auto, {', '.join(KINDS)}.")] = "auto",
    labels: Annotated[Path | None, typer.Option(help="Published labels of an evaluation set: CSV or folder.")] = None,
    machine_type: Annotated[
        str | None, typer.Option("--type", help="Only this machine type; or what it is where the data do not say it.")
    ] = None,
    channel: Annotated[int, typer.Option(help="0-based channel of the recordings.", min=0)] = 0,
    systems: Annotated[str | None, typer.Option(help=f"Of {', '.join(SYSTEMS)}. [default: all]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each network.", min=1)] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help=f"Minutes of each network; whichever ends first. [default: {MINUTES}, without --steps]"),
    ] = None,
    protocol: Annotated[str, typer.Option(help=f"{', '.join(PROTOCOLS)}.")] = "matched",
    group: Annotated[str | None, typer.Option(help="Only machines of dev or of eval.")] = None,
    train_ids: Annotated[
        str | None,
        typer.Option(help="zero-shot: train on these ids, or on 'dev' or 'eval'. [default: all but one, in turn]"),
    ] = None,
    k: Annotated[str, typer.Option("--k", help="zero-shot: normal clips of a new machine.")] = "0,5,10,20,40,all",
    seed: Annotated[int, typer.Option(help="Of training, of drawn clips and of intervals.", min=0)] = 0,
    hop: Annotated[int | None, typer.Option(help="Frames between windows. [default: each system's]", min=1)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. [default: torch's choice]", min=1)] = None,
    draws: Annotated[int, typer.Option(help="Bootstrap draws of the intervals.", min=100)] = DRAWS,
    few_draws: Annotated[
        int,
        typer.Option(help="Calibrations on each number of few recordings (docs/data.md); 0 leaves them out.", min=0),
    ] = FEW_DRAWS,
    out: Annotated[Path | None, typer.Option(help="Folder of it all. [default: runs/evaluate/DATA]")] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Replace networks of other settings or clips.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Draw report.html.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write results.json here.")] = None,
) -> None:
    """Train systems on a data set, score its test clips, and write tables, CSV, JSON and a report."""
    root = _one_of(logmel, data)
    if machine_type is not None and (machine_type in ("", "..") or Path(machine_type).name != machine_type):
        raise typer.BadParameter(f"{machine_type!r} cannot be part of a folder's name", param_hint="--type")
    if minutes is not None and minutes <= 0:
        raise typer.BadParameter("has to be above 0", param_hint="--minutes")
    layout = "logmel" if logmel is not None else parse_kind(kind)
    chosen, wanted_group, ks = parse_systems(systems), parse_group(group), parse_ks(k)
    chosen_protocol = parse_protocol(protocol, train_ids)
    spec = EvaluationSpec(
        systems=chosen,
        out=out or Path("runs", "evaluate", root.absolute().name),
        threads=threads,
        steps=steps,
        minutes=MINUTES if minutes is None and steps is None else minutes,
        seed=seed,
        hop_frames=hop,
        retrain=retrain,
        draws=draws,
        few_draws=few_draws,
    )
    with failures(as_json=False):
        dataset = read_dataset(root, layout, labels=labels, machine_type=machine_type)
        ids = () if train_ids is None else tuple(train_ids.split(","))
        studies = plan_studies(dataset, chosen_protocol, group=wanted_group, train_ids=ids, ks=ks, seed=seed)
        if dataset.unlabelled:
            say(f"{dataset.unlabelled} test clips have no label and are left out")
        reader = ClipReader(dataset, FeatureCache(default_cache_folder(os.environ)), channel=channel)
        about: dict[str, object] = {"data": root.absolute().name, "protocol": chosen_protocol, "seed": seed}
        about |= {"draws": draws, "few_draws": few_draws}
        evaluate_and_write(spec, studies, reader, about, json_file=json_file, report=report)


def evaluate_and_write(
    spec: EvaluationSpec,
    studies: Sequence[Study],
    reader: ClipReader,
    about: Mapping[str, object],
    *,
    json_file: Path | None,
    report: bool,
) -> None:
    """Evaluate, write all files, and show the tables."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    with StopSignal().installed() as stop:
        evaluation = Evaluator(spec, reader, stop).evaluate(studies)
    results = results_json(evaluation, about)
    write_results(evaluation, results, spec.out)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_text(json_file, json.dumps(results, indent=2) + "\n")
    if report:
        with stage_progress() as progress:
            write_report(evaluation, reader, results, spec.out / "report.html", progress)
    say(f"written: {spec.out}")
    show(results, tables_text(evaluation), as_json=False)


def read_dataset(
    root: Path, kind: DataSetKind | Literal["auto"], *, labels: Path | None, machine_type: str | None
) -> DataSet:
    """Open a data set; ``machine_type`` chooses one of its types, or names that of one without types."""
    dataset = open_dataset(root, kind, labels=labels)
    if machine_type is None:
        return dataset
    if dataset.kind in ("logmel", "folder"):
        return open_dataset(root, dataset.kind, machine_type=machine_type)
    clips = tuple(clip for clip in dataset.clips if clip.machine_type == machine_type)
    if not clips:
        raise TrainingDataError(f"{root}: no machine is a {machine_type}; there are {', '.join(dataset.machine_types)}")
    return replace(dataset, clips=clips)


def _one_of(logmel: Path | None, data: Path | None) -> Path:
    match logmel, data:
        case Path(), None:
            return logmel
        case None, Path():
            return data
    raise typer.BadParameter("name the data: --logmel DIR or --data DIR", param_hint="--data")


def parse_systems(text: str | None) -> tuple[System, ...]:
    """Parse systems, comma-separated; raise typer.BadParameter (exit code 2) where one is unknown."""
    names = list(SYSTEMS) if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in SYSTEMS]:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(SYSTEMS)}", param_hint="--systems")
    return tuple(SYSTEMS[name] for name in names)


def parse_kind(text: str) -> DataSetKind | Literal["auto"]:
    """Parse the layout of a data set; raise typer.BadParameter where it is none."""
    if text == "auto":
        return "auto"
    return _choice(text, KINDS, "--kind")


def parse_group(text: str | None) -> Group | None:
    """Parse a group of machines; raise typer.BadParameter where it is none."""
    return None if text is None else _choice(text, GROUPS, "--group")


def parse_protocol(text: str, train_ids: str | None) -> ProtocolName:
    """Parse a protocol; raise typer.BadParameter where it is none, or has no use for ``train_ids``."""
    protocol = _choice(text, PROTOCOLS, "--protocol")
    if train_ids is not None and protocol != "zero-shot":
        raise typer.BadParameter("is for --protocol zero-shot", param_hint="--train-ids")
    return protocol


def parse_ks(text: str) -> tuple[StatisticsClips, ...]:
    """Parse numbers of clips, comma-separated, "all" among them; raise typer.BadParameter for anything else."""
    found: list[StatisticsClips] = []
    for word in dict.fromkeys(part.strip() for part in text.split(",")):
        if word == "all":
            found.append("all")
        elif word.isascii() and word.isdigit() and (int(word) == 0 or int(word) >= MIN_STATISTICS_CLIPS):
            found.append(int(word))
        else:
            raise typer.BadParameter(
                f"{word!r} is neither 0, nor {MIN_STATISTICS_CLIPS} or more, nor 'all'", param_hint="--k"
            )
    return tuple(found)


def _choice(text: str, names: tuple[Name, ...], option: str) -> Name:
    for name in names:
        if text == name:
            return name
    raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}", param_hint=option)
