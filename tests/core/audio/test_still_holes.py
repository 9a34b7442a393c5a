import numpy as np
import numpy.typing as npt
import pytest

from humwatch.audio.quality import SILENT_DBFS, Stretch
from humwatch.audio.still_holes import StillHoles

RATE_HZ = 16_000
STEP = 2**-15
LEAST = 320


def finder(silent_below_dbfs: float = SILENT_DBFS) -> StillHoles:
    holes = StillHoles(RATE_HZ, least=LEAST)
    holes.silent_below(silent_below_dbfs)
    return holes


def machine(seconds: float, level: float = 0.006) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(3).normal(0.0, level, round(seconds * RATE_HZ))
    return (np.round(noise / STEP) * STEP).astype(np.float32)


def dither(samples: int) -> npt.NDArray[np.float32]:
    """Triangular dither of an empty signal, as recorders write it at 16 bits."""
    rng = np.random.default_rng(4)
    return (np.round(rng.uniform(-0.5, 0.5, (2, samples)).sum(axis=0)) * STEP).astype(np.float32)


def found(holes: StillHoles, sound: npt.NDArray[np.float32], sizes: list[int]) -> dict[int, int]:
    """First sample and one past the last of each hole, of sound that comes in pieces of whole tenths of a second."""
    spans: dict[int, int] = {}
    at = 0
    for size in [*sizes, len(sound)]:
        piece = sound[at : at + size]
        for (_, start, end), _level in holes.push(piece) if len(piece) else []:
            spans[at + start] = max(spans.get(at + start, 0), at + end)
        at += len(piece)
    return spans


@pytest.mark.parametrize("milliseconds", [25, 60, 170, 420, 900])
@pytest.mark.parametrize("at", [1_601, 15_999, 16_000, 30_877])
def test_dither_in_the_place_of_lost_sound_is_a_hole_however_it_comes(at: int, milliseconds: int) -> None:
    sound, samples = machine(4.0), milliseconds * 16
    sound[at : at + samples] = dither(samples)

    whole = found(finder(), sound, [])

    ((start, end),) = whole.items()
    assert abs(start - at) <= 4 and abs(end - at - samples) <= 4
    assert found(finder(), sound, [1600] * 40) == whole
    assert found(finder(), sound, [4800, 1600, 8000, 1600]) == whole


def test_sound_that_decays_is_none() -> None:
    """Strikes that die down into the noise of a converter: a minute of them, from dead to reverberant rooms."""
    rng = np.random.default_rng(5)
    for decay_60_db_s in (0.01, 0.02, 0.1, 0.4):
        time_s = np.arange(RATE_HZ // 2) / RATE_HZ
        strike = 0.4 * 10 ** (-3.0 * time_s / decay_60_db_s) * rng.normal(0.0, 1.0, len(time_s))
        sound = np.tile(np.round(np.clip(strike, -1.0, 1.0) / STEP) * STEP, 120).astype(np.float32)
        assert not found(finder(), sound + dither(len(sound)), [])


def test_quiet_sound_is_none() -> None:
    """Sound that was recorded 40 dB too quiet is within the peaks of rounding noise now and then, and never loud."""
    for level in (0.0001, 0.00006, 0.00002):
        assert not found(finder(), machine(60.0, level), [])


def test_floats_are_compared_with_the_calibration() -> None:
    volts = machine(4.0) * np.float32(1e-4)
    volts[30_000:34_000] = np.random.default_rng(6).normal(0.0, 1e-10, 4000)

    ((start, end),) = found(finder(SILENT_DBFS - 80.0), volts, []).items()

    assert (abs(start - 30_000), abs(end - 34_000)) < (2, 2)


def test_the_level_before_a_hole_is_told() -> None:
    sound = machine(1.0)
    sound[8000:10_000] = 0.0

    ((stretch, level_dbfs),) = finder().push(sound)

    assert stretch == Stretch(0.0, 8000, 10_000)
    assert level_dbfs == pytest.approx(20 * np.log10(0.006), abs=1.5)
