"""Collection of many clips' evidence with one system, continued from where the last run was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from humwatch_training.datasets import DataClip
from humwatch_training.errors import TrainingInterrupted
from humwatch_training.evaluation.clips import ClipReader
from humwatch_training.evaluation.evidence import EvidenceSpec, EvidenceStore
from humwatch_training.evaluation.graphs import SystemGraph
from humwatch_training.export.bundle import Progress
from humwatch_training.fit.progress import StopSignal

SAVE_EVERY_S: Final = 60.0


def collect_evidence(
    clips: Sequence[DataClip],
    reader: ClipReader,
    evidence_spec: EvidenceSpec,
    graph: SystemGraph,
    store: EvidenceStore,
    *,
    threads: int,
    stop: StopSignal,
    progress: Callable[[int, int], None],
) -> None:
    """Fill a store with the evidence of clips; those that it holds already are not computed again.

    Raises TrainingInterrupted, with all evidence so far saved, where a signal came.
    """
    missing = [clip for clip in clips if reader.digest(clip) not in store]
    progress(len(clips) - len(missing), len(clips))
    if not missing:
        return
    predictor = graph.predictor(threads=threads)
    saved_at = time.monotonic()
    try:
        for done, clip in enumerate(missing, start=len(clips) - len(missing) + 1):
            if stop.name is not None:
                raise TrainingInterrupted(
                    f"{stop.name} after {done - 1} of {len(clips)} clips; the same command goes on from there"
                )
            store.add(reader.digest(clip), evidence_spec.clip_evidence(reader.frames_db(clip), predictor))
            progress(done, len(clips))
            if time.monotonic() - saved_at >= SAVE_EVERY_S:
                store.save()
                saved_at = time.monotonic()
    finally:
        store.save()


def stage_of(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Return a progress function of one stage."""
    return lambda done, total: progress(stage, done, total)
