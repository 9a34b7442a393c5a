"""A data set: all its clips, in one order, with names that are unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from humwatch.audio.features import FeatureSpec
from humwatch_training.datasets.clip import DataClip
from humwatch_training.errors import TrainingDataError

DataSetKind = Literal["dcase2020", "dcase2021", "mimii", "folder", "logmel"]


@dataclass(frozen=True)
class DataSet:
    """The clips under ``root``, sorted by name; made with ``DataSet.of``.

    ``features`` is the front end of a data set that holds log-mel frames and no sound, None where any can be computed.
    """

    kind: DataSetKind
    root: Path
    clips: tuple[DataClip, ...]
    features: FeatureSpec | None = None

    @classmethod
    def of(cls, kind: DataSetKind, root: Path, clips: Iterable[DataClip], features: FeatureSpec | None = None) -> Self:
        """Sort the clips; raise TrainingDataError where there are none, or where two have one name."""
        ordered = tuple(sorted(clips, key=lambda clip: clip.name))
        if not ordered:
            raise TrainingDataError(f"{root}: no clips of a {kind} data set there")
        repeated = [name for name, count in Counter(clip.name for clip in ordered).items() if count > 1]
        if repeated:
            raise TrainingDataError(f"{root}: two clips are named {repeated[0]}")
        return cls(kind, root, ordered, features)

    @property
    def machines(self) -> tuple[tuple[str, str], ...]:
        """Types and ids of all machines, sorted."""
        return tuple(sorted({clip.machine for clip in self.clips}))

    @property
    def machine_types(self) -> tuple[str, ...]:
        """Types of all machines, sorted."""
        return tuple(sorted({clip.machine_type for clip in self.clips}))

    @property
    def unlabelled(self) -> int:
        """Number of test clips whose label is not published, or was not given."""
        return sum(clip.label is None for clip in self.clips)
