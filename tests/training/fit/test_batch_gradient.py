import copy
import threading
from collections.abc import Callable

import pytest
import torch

from humwatch_training.datasets.windows import Clip, Normalisation, WindowSet
from humwatch_training.fit.batch_gradient import BatchGradient, BatchParts
from humwatch_training.fit.config import FitConfig
from humwatch_training.fit.trainer import Trainer
from humwatch_training.networks.kinds import build_network
from humwatch_training.networks.network import NeuralProcess
from tests.training.conftest import SMALL_NETWORKS

Configure = Callable[..., FitConfig]
Hum = Callable[..., Clip]
PROCESSES = ["anp", "latent_anp"]


def network_of(kind: str) -> NeuralProcess:
    torch.manual_seed(0)
    network = build_network(SMALL_NETWORKS[kind]).double()
    assert isinstance(network, NeuralProcess)
    return network


def some_windows(batch: int = 10) -> torch.Tensor:
    return torch.randn(batch, 5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("kind", PROCESSES)
@pytest.mark.parametrize("parts", [1, 3])
def test_parts_have_the_gradient_of_the_whole(kind: str, parts: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    network = network_of(kind)
    whole = network.training_loss(some_windows(), torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(whole, list(network.parameters()))
    loss = BatchGradient(network).compute(some_windows(), torch.Generator().manual_seed(1), None, BatchParts(parts, 1))
    torch.testing.assert_close(loss, whole.detach())
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_each_part_has_a_thread_of_its_own():
    network, threads, met = network_of("latent_anp").float(), set(), threading.Barrier(3, timeout=30.0)
    loss = network.masked_loss

    def watched(windows_db: torch.Tensor, masks: object) -> torch.Tensor:
        met.wait()  # passes only when all three are here at once
        threads.add(threading.get_ident())
        return loss(windows_db, masks)

    network.masked_loss = watched
    BatchGradient(network).compute(some_windows().float(), torch.Generator(), None, BatchParts(3, 1))
    assert len(threads) == 3


def test_an_error_in_a_part_is_raised():
    network = network_of("latent_anp").float()
    here, loss = threading.get_ident(), network.masked_loss

    def failing(windows_db: torch.Tensor, masks: object) -> torch.Tensor:
        if threading.get_ident() != here:
            raise MemoryError("no room for this part")
        return loss(windows_db, masks)

    network.masked_loss = failing
    with pytest.raises(MemoryError, match="this part"):
        BatchGradient(network).compute(some_windows().float(), torch.Generator(), None, BatchParts(2, 1))


def test_a_network_with_batch_norms_is_not_divided():
    gradient = BatchGradient(build_network(SMALL_NETWORKS["idnn"]))
    with pytest.raises(TypeError, match="cannot be divided"):
        gradient.compute(some_windows().float(), torch.Generator(), None, BatchParts(2, 1))


@pytest.mark.parametrize(
    ("batch", "threads", "division"),
    [
        (256, 1, BatchParts(1, 1)),
        (256, 2, BatchParts(2, 1)),
        (256, 16, BatchParts(8, 2)),
        (64, 8, BatchParts(2, 4)),
        (16, 2, BatchParts(1, 2)),
    ],
)
def test_threads_are_divided_over_the_batch(batch: int, threads: int, division: BatchParts):
    assert BatchParts.of(batch, threads) == division


def trained(config: FitConfig, clips: list[Clip], threads: int) -> Trainer:
    torch.set_num_threads(threads)
    trainer = Trainer.start(config, WindowSet(clips, 5), Normalisation.of(clips))
    for _ in range(8):
        trainer.step()
    return trainer


@pytest.mark.parametrize("kind", PROCESSES)
def test_two_threads_are_the_same_each_time_and_one_thread_up_to_rounding(
    kind: str, small_config: Configure, humming_clip: Hum
):
    config, clips = small_config(network=SMALL_NETWORKS[kind], batch_windows=64), [humming_clip()]
    one, two, again = (trained(config, clips, threads) for threads in (1, 2, 2))
    assert torch.get_num_threads() == 2
    for alone, parted, repeated in zip(*(t.network.parameters() for t in (one, two, again)), strict=True):
        assert torch.equal(parted, repeated)
        torch.testing.assert_close(parted, alone, rtol=1e-3, atol=1e-4)


def test_a_run_on_two_threads_resumes_to_the_bit(small_config: Configure, humming_clip: Hum):
    config, clips = small_config(network=SMALL_NETWORKS["latent_anp"], batch_windows=64), [humming_clip()]
    straight = trained(config, clips, 2)
    resumed = Trainer.resume(copy.deepcopy(straight.state()), config, WindowSet(clips, 5))
    for _ in range(4):
        assert straight.step() == resumed.step()
