"""File names of DCASE Task 2, which hold the labels.

2020: ``normal_id_00_00000000``, and ``id_01_00000000`` where the label is withheld. 2021 to 2025:
``section_00_source_train_normal_0000_strength_1_ambient``, and ``section_00_0000``, ``section_00_test_0000`` or
``section_03_source_test_0000`` where it is withheld.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import zip_longest

from humwatch_training.datasets.clip import Domain, Label, PartName

LABELS: dict[str, Label] = {"normal": "normal", "anomaly": "anomalous"}
_DOMAINS: dict[str, Domain] = {"source": "source", "target": "target"}
_PARTS: dict[str, PartName] = {"train": "train", "test": "test"}

_OF_2020 = re.compile(r"(?:(normal|anomaly)_)?(id_\d{2})_\d+")
_OF_2021 = re.compile(
    r"(?P<section>section_\d{2})(?:_(?P<domain>source|target))?(?:_(?P<part>train|test))?"
    r"(?:_(?P<label>normal|anomaly))?_\d+(?:_(?P<attributes>.*))?"
)


@dataclass(frozen=True)
class ClipName:
    """Labels in a file's name; None for those that it does not hold."""

    machine_id: str
    label: Label | None
    part: PartName | None = None
    domain: Domain | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def of_2020(stem: str) -> ClipName | None:
    """Parse a name of 2020; return None for another."""
    match = _OF_2020.fullmatch(stem)
    if match is None:
        return None
    return ClipName(match[2], LABELS[match[1]] if match[1] else None)


def of_2021(stem: str) -> ClipName | None:
    """Parse a name of 2021 or later; return None for another."""
    match = _OF_2021.fullmatch(stem)
    if match is None:
        return None
    label, domain, part = match["label"], match["domain"], match["part"]
    return ClipName(
        match["section"],
        LABELS[label] if label else None,
        _PARTS[part] if part else None,
        _DOMAINS[domain] if domain else None,
        attributes_of(match["attributes"] or ""),
    )


def attributes_of(text: str) -> dict[str, str]:
    """Parse ``vel_300_loc_A`` into pairs; a last word without a partner has an empty value."""
    words = [word for word in text.split("_") if word and word != "noAttribute"]
    return dict(zip_longest(words[::2], words[1::2], fillvalue=""))
