"""A bundle around a calibration, for tests that follow a stream."""

from __future__ import annotations

import numpy as np

from humwatch.bundle.bundle import Bundle, Golden, compose_bundle, digest_of
from humwatch.bundle.manifest import PredictorCard
from humwatch.live.model import LiveModel
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import Calibration

CARD = PredictorCard(
    strategy="neighbours", parameters=0, steps=0, train_recordings=0, train_digest="0" * 64, config={}, parity={}
)


def live_model(pipeline: PipelineSpec, predictor: Predictor, calibration: Calibration) -> LiveModel:
    graph = b"not run here"
    golden = Golden.of(predictor, np.zeros((1, pipeline.windows.length_frames, 128), np.float32))
    manifest, _ = compose_bundle(
        pipeline,
        calibration,
        graph,
        golden,
        calibration_digest=digest_of(["a"]),
        machine_id="fan-1",
        machine_type="fan",
        version="1",
        created_at="2026-01-01T00:00:00+00:00",
        created_by="test",
        licence="none",
        attribution="nobody",
        channel=0,
        predictor=CARD,
    )
    return LiveModel(Bundle(manifest, graph, calibration, golden), predictor)
