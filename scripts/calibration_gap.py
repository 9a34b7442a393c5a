"""How far out a normal clip lies for statistics that have not seen it: the table of ADR 3.

    python scripts/calibration_gap.py FOLDER

FOLDER holds log-mel spectrograms as .npz files: `logmel_db_q` uint8 (clips, frames, 128), level = 0.4 q - 90 dB;
`role` uint8 (clips,), 0 = normal, train; 1 = normal, test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from humwatch.detectors.profile import NormalProfile

DRAWS = 6


def gaps(normal: npt.NDArray[np.float64], test: npt.NDArray[np.float64], count: int) -> tuple[float, float]:
    """Median held-out distance over the median of seen clips, and over that of test clips; medians of the draws."""
    rows = []
    for draw in range(DRAWS):
        drawn = normal[np.random.default_rng(draw).permutation(len(normal))[:count]]
        held_out = [NormalProfile.fit(np.delete(drawn, i, 0)).distance(drawn[i]) for i in range(count)]
        profile = NormalProfile.fit(drawn)
        seen, new = ([profile.distance(clip) for clip in clips] for clips in (drawn, test))
        rows.append((np.median(held_out) / np.median(seen), np.median(held_out) / np.median(new)))
    first, second = np.median(rows, axis=0)
    return float(first), float(second)


def main() -> None:
    """Print the table."""
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        arrays = np.load(path)
        spectra = (arrays["logmel_db_q"].astype(np.float64) * 0.4 - 90.0).mean(axis=1)  # (clips, 128)
        normal, test = spectra[arrays["role"] == 0], spectra[arrays["role"] == 1]
        for count in (5, 10, 20, 40, 80, 160):
            gap, honesty = gaps(normal, test, count)
            sys.stdout.write(
                f"{path.stem}: {count:3} recordings: held out / seen {gap:.1f}, held out / new {honesty:.2f}\n"
            )


if __name__ == "__main__":
    main()
