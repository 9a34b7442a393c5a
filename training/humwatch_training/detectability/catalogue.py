"""Catalogue of faults to mix into normal sound."""

from __future__ import annotations

from typing import Final

from humwatch_training.detectability.added_faults import Impacts, Rub, Tone
from humwatch_training.detectability.changed_faults import LevelDrift, MissingStrokes, PitchDrift, ShiftedLine
from humwatch_training.detectability.fault import SimulatedFault

CATALOGUE: Final[tuple[SimulatedFault, ...]] = (
    Impacts(
        name="impacts",
        imitates="a pitted bearing or a chipped tooth: short ringing knocks at a period",
        impacts_hz=7.3,
        slip=0.01,
        spread=0.2,
        ring_hz=4_300.0,
        decay_s=0.002,
    ),
    Impacts(
        name="random_impacts",
        imitates="something loose: knocks now and then, of all sizes",
        impacts_hz=1.5,
        slip=None,
        spread=0.5,
        ring_hz=1_800.0,
        decay_s=0.008,
    ),
    MissingStrokes(
        name="missing_strokes",
        imitates="a valve that sticks, a stroke that is skipped, a supply that falters",
        prominence_db=6.0,
        pauses_hz=2.0,
        pause_s=0.1,
        depth_db=20.0,
    ),
    Tone(
        name="squeal",
        imitates="dry friction of a belt, brake or seal: a tone that comes and goes",
        tone_hz=3_100.0,
        wander=0.01,
        shape="gated",
        envelope_hz=0.7,
    ),
    Tone(
        name="modulated_tone",
        imitates="a worn gear: the tone of its mesh, swelling with every turn of the shaft",
        tone_hz=1_150.0,
        wander=0.002,
        shape="modulated",
        envelope_hz=24.0,
        depth=0.8,
    ),
    ShiftedLine(
        name="shifted_harmonic",
        imitates="one component at another speed: belt slip, a motor under load",
        shift=0.06,
        least_shift_hz=30.0,
        half_width_hz=6.0,
        low_hz=80.0,
        high_hz=6_000.0,
    ),
    Rub(
        name="rub",
        imitates="a rotor that touches its housing: noise in a band, modulated by the shaft",
        low_hz=1_500.0,
        high_hz=2_500.0,
        shaft_hz=24.0,
        depth=0.9,
    ),
    LevelDrift(
        name="level_drift",
        imitates="the machine grows louder, slowly and in all bands",
        unit="dB of gain",
        severities=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0),
    ),
    PitchDrift(
        name="pitch_drift",
        imitates="the machine runs faster: lost load, a drifting controller",
        unit="% of speed",
        severities=(0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0),
        fade_s=0.02,
    ),
)
