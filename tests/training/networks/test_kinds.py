from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.errors import CheckpointError
from humwatch_training.fit.checkpoint import load_checkpoint, save_checkpoint, trained_network
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.trainer import Trainer
from humwatch_training.networks.autoencoder import Autoencoder, AutoencoderConfig, IdnnConfig, InterpolatingNetwork
from humwatch_training.networks.constant import ConstantConfig, ConstantSpectrum
from humwatch_training.networks.kinds import build_network, parse_network_config
from tests.training.conftest import SMALL_NETWORKS

Configure = Callable[..., FitConfig]
Hum = Callable[..., Clip]

KINDS = pytest.mark.parametrize("kind", SMALL_NETWORKS)


def start(config: FitConfig, clips: list[Clip]) -> Trainer:
    return Trainer.start(config, WindowSet(clips, 5), Normalisation.of(clips))


def test_the_baselines_have_the_sizes_of_dcase_2020():
    assert build_network(AutoencoderConfig()).parameter_count() == 267_928
    assert build_network(IdnnConfig()).parameter_count() == 185_496
    assert build_network(ConstantConfig()).parameter_count() == 256


def test_every_hidden_layer_of_a_baseline_is_normalised_and_rectified():
    network = build_network(AutoencoderConfig())
    assert isinstance(network, Autoencoder)
    widths = [layer.num_features for layer in network.layers if isinstance(layer, torch.nn.BatchNorm1d)]
    assert widths == [128] * 4 + [8] + [128] * 4
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in network.layers) == 9


@KINDS
def test_a_configuration_survives_json(kind: str):
    config = SMALL_NETWORKS[kind]
    assert parse_network_config(config.model_dump_json()) == config


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="vae"):
        parse_network_config('{"kind": "vae"}')


@pytest.mark.parametrize("kind", ["anp", "latent_anp", "autoencoder", "idnn"])
def test_training_lowers_the_loss(small_config: Configure, humming_clip: Hum, kind: str):
    schedule = {} if kind == "anp" else {"schedule": "constant", "autoclip_percentile": None}
    config = small_config(steps=150, batch_windows=32, network=SMALL_NETWORKS[kind], **schedule)
    trainer = start(config, [humming_clip(seed) for seed in range(3)])
    losses = [trainer.step().loss for _ in range(150)]
    first, last = np.mean(losses[:5]), np.mean(losses[-20:])
    assert last < (first - 0.5 if kind in ("anp", "latent_anp") else 0.5 * first)


@pytest.mark.parametrize("kind", ["autoencoder", "idnn"])
def test_the_loss_of_a_baseline_is_in_square_db(kind: str):
    torch.manual_seed(0)
    windows = torch.randn(64, 5, 8)
    losses = []
    for scale in (1.0, 10.0):
        torch.manual_seed(1)
        network = build_network(SMALL_NETWORKS[kind].model_copy(update={"mean_db": -40.0, "std_db": scale}))
        losses.append(network.training_loss(windows * scale - 40.0, torch.Generator()).item())
    assert losses[1] == pytest.approx(100.0 * losses[0], rel=1e-3)


@KINDS
def test_a_resumed_run_of_every_kind_is_the_same_to_the_bit(
    small_config: Configure, humming_clip: Hum, tmp_path: Path, kind: str
):
    config = small_config(steps=8, network=SMALL_NETWORKS[kind], autoclip_percentile=None, schedule="cosine")
    clips = [humming_clip()]
    straight = start(config, clips)
    while not straight.finished:
        straight.step()
    interrupted = start(config, clips)
    for _ in range(min(5, straight.planned_steps)):
        interrupted.step()
    save_checkpoint(interrupted.state(), tmp_path / "checkpoint.pt")
    torch.manual_seed(999)
    resumed = Trainer.resume(load_checkpoint(tmp_path / "checkpoint.pt"), config, WindowSet(clips, 5))
    while not resumed.finished:
        resumed.step()
    assert resumed.step_number == straight.step_number == (1 if kind == "constant" else 8)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert torch.equal(straight.generator.get_state(), resumed.generator.get_state())


def test_a_trained_network_comes_back_ready_to_predict(small_config: Configure, humming_clip: Hum):
    trainer = start(small_config(network=SMALL_NETWORKS["autoencoder"]), [humming_clip()])
    trainer.step()
    checkpoint = trainer.state()
    network = trained_network(checkpoint)
    assert not network.training
    assert network.config.std_db == trainer.network.config.std_db != 1.0
    checkpoint.network.pop("layers.0.weight")
    with pytest.raises(CheckpointError, match="do not fit together"):
        trained_network(checkpoint)


def test_the_network_free_answer_is_the_training_windows_mean_and_std(small_config: Configure, humming_clip: Hum):
    clips = [humming_clip(seed, frames=300) for seed in range(2)]
    trainer = start(small_config(network=SMALL_NETWORKS["constant"]), clips)
    loss = trainer.step().loss
    assert trainer.finished
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(clip.frames_db, 5, axis=0) for clip in clips])
    values = windows.swapaxes(1, 2).reshape(-1, 8).astype(np.float64)  # each window's frames count, as in training
    network = trainer.network
    assert isinstance(network, ConstantSpectrum)
    np.testing.assert_allclose(network.band_mean_db.numpy(), values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(network.band_std_db.numpy(), values.std(axis=0), rtol=1e-5)
    assert loss == pytest.approx(np.log(values.std(axis=0)).mean() + 0.5, abs=0.3)


def test_a_band_that_never_moves_keeps_a_positive_std():
    network = ConstantSpectrum(ConstantConfig(n_mels=8))
    network.solve([torch.full((4, 5, 8), -80.0)])
    assert network.band_std_db.tolist() == pytest.approx([0.1] * 8)


def test_the_interpolating_network_does_not_see_what_it_predicts():
    network = InterpolatingNetwork(IdnnConfig(n_mels=8, width=16, depth=2)).eval()
    windows = torch.randn(3, 5, 8)
    changed = windows.clone()
    changed[:, 2] += 10.0
    assert torch.equal(network(windows), network(changed))
    changed[:, 3] += 10.0
    assert not torch.equal(network(windows), network(changed))


def test_an_interpolating_network_needs_a_middle_frame():
    with pytest.raises(ValidationError, match="no middle frame"):
        IdnnConfig(n_frames=4)
