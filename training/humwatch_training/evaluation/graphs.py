"""Predictor graph of each system, exported once, checked against torch, and kept beside its network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from humwatch.arrays import Float32
from humwatch.durable import replace_durably
from humwatch.onnx_predictor import OnnxPredictor
from humwatch_training.evaluation.training import TrainedNetwork
from humwatch_training.export.folding import FOLDING
from humwatch_training.export.graph import OPSET, check_parity, export_graph
from humwatch_training.fit.systems import System
from humwatch_training.networks.strategy_choice import build_strategy

PARITY_WINDOWS: Final = 16


class GraphCard(BaseModel):
    """Digest of a kept graph's sources, and its difference from torch (relative, ``graph.PARITY_RTOL`` at most)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_from: str
    sha256: str
    parity: dict[str, float]


@dataclass(frozen=True)
class SystemGraph:
    """A system's graph in the form of a bundle's."""

    content: bytes
    card: GraphCard

    def predictor(self, *, threads: int) -> OnnxPredictor:
        """Load the graph into ONNX Runtime."""
        return OnnxPredictor(self.content, threads=threads)


def system_graph(system: System, trained: TrainedNetwork, windows: Callable[[], Float32]) -> SystemGraph:
    """Return a system's graph: the one on disk, or a new one.

    ``windows``, called for a new one, gives float32 (n, L, F) in dB to compare it with torch on. Raises
    ExportParityError where the two do not agree.
    """
    made_from = _source_digest(system, trained)
    place = trained.folder / f"{system.name}.onnx"
    network = trained.network()
    if (kept := _kept(place, made_from)) is not None:
        return SystemGraph(*kept)
    strategy = build_strategy(network, system.strategy)
    content = export_graph(strategy)
    parity = check_parity(strategy, content, windows())
    digest = hashlib.sha256(content).hexdigest()
    card = GraphCard(made_from=made_from, sha256=digest, parity=parity.as_figures())
    replace_durably(place, lambda file: file.write(content))
    replace_durably(_card_of(place), lambda file: file.write(card.model_dump_json(indent=2).encode()))
    return SystemGraph(content, card)


def _card_of(place: Path) -> Path:
    return place.with_suffix(".json")


def _kept(place: Path, made_from: str) -> tuple[bytes, GraphCard] | None:
    """Return the graph on disk; None where it is damaged, or made from other sources."""
    try:
        content = place.read_bytes()
        card = GraphCard.model_validate_json(_card_of(place).read_bytes())
    except (OSError, ValidationError):
        return None
    sound = card.made_from == made_from and card.sha256 == hashlib.sha256(content).hexdigest()
    return (content, card) if sound else None


def _source_digest(system: System, trained: TrainedNetwork) -> str:
    """Return a digest of the weights, of the strategy and of the exporter's versions."""
    digest = hashlib.sha256(trained.checkpoint.network_config.encode())
    for name, values in sorted(trained.checkpoint.network.items()):
        digest.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
    digest.update(
        f"{system.strategy.model_dump_json()} opset {OPSET} folding {FOLDING} torch {torch.__version__}".encode()
    )
    return digest.hexdigest()
