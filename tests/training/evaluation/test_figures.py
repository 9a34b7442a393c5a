import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from humwatch.audio.features import FeatureSpec, log_mel
from humwatch_training.evaluation.figures import ClipPicture, clips_figure, panels, plain, png


def rows(*scores: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(score=score) for score in scores]


def names(found: dict[str, list[SimpleNamespace]]) -> dict[str, list[str]]:
    return {name: [row.score for row in part] for name, part in found.items()}


def test_the_profile_without_a_network_stands_beside_each_kind_of_profile() -> None:
    found = panels(rows("spectrum_profile", "mse", "residual_profile", "residual_profile", "mse"))
    assert names(found) == {
        "mse": ["mse", "mse"],
        "residual_profile": ["spectrum_profile", "residual_profile", "residual_profile"],
    }


def test_alone_it_has_a_panel_of_its_own() -> None:
    assert names(panels(rows("spectrum_profile", "mse"))) == {"mse": ["mse"], "spectrum_profile": ["spectrum_profile"]}


@pytest.mark.parametrize("tone_hz", [500, 2000])
def test_a_tone_lies_at_its_frequency_on_the_axis(tone_hz: int) -> None:
    features = FeatureSpec()
    tone = np.sin(2 * np.pi * tone_hz * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = int(log_mel(tone, features).mean(axis=0).argmax())
    frames = np.zeros((10, features.n_mels), np.float32)
    figure = clips_figure([ClipPicture("a tone", frames + np.arange(features.n_mels), frames)], features)
    axes = figure.axes[0]
    ticks = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert ticks[str(tone_hz)] == pytest.approx(loudest, abs=0.6)


def test_names_are_drawn_as_they_are() -> None:
    frames = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    content = png(clips_figure([ClipPicture("$\\frac{", frames, np.full_like(frames, np.nan))], FeatureSpec(n_mels=8)))
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size[0] > 200) == ("PNG", True)
    assert plain("a$b") == "a\\$b"
