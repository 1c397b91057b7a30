"""How often the intervals of ``fastroute report`` hold the truth: ``python -m benchmarks.drift_intervals``.

Scores are normal around 0.5 with a deviation of 0.012, about that of the router `experts`; the log's mean is moved.
Samples of four million on each side stand for the truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastroute.reporting.drift import drift_between, ks_between, psi_between, psi_edges

BITS = 16
TRUTH = 4_000_000
LOGS = 300
DEVIATION = 0.012
SHIFTS = (0.0, 0.001, 0.003, 0.006, 0.012)
SIZES = ((50, 5_000), (200, 200), (200, 5_000), (2_000, 5_000), (20_000, 20_000))


def drawn(random: np.random.Generator, shift: float, rows: int) -> NDArray[np.int64]:
    """Counts of a sample on the grid."""
    scores = np.clip(random.normal(0.5 + shift, DEVIATION, rows), 0, 1)
    return np.bincount((scores * (1 << BITS)).astype(np.int64), minlength=(1 << BITS) + 1)


def main() -> None:
    random = np.random.default_rng(7)
    base = drawn(random, 0.0, TRUTH)
    starts = np.concatenate(([0], psi_edges(base)))
    print("mean moved  true PSI  true KS   log  calibration  PSI held  KS held  beyond chance")
    for shift in SHIFTS:
        moved = drawn(random, shift, TRUTH)
        psi = float(psi_between(np.add.reduceat(moved, starts), np.add.reduceat(base, starts)))
        ks = ks_between(moved, base)
        for rows, against_rows in SIZES:
            held = np.zeros(3)
            for seed in range(LOGS):
                log, against = drawn(random, shift, rows), drawn(random, 0.0, against_rows)
                distance = ks_between(log, against)
                found = drift_between(log, against, psi_edges(against), ks=distance, resamples=400, seed=seed)
                held += [
                    found.psi_low <= psi <= found.psi_high,
                    found.ks_low <= ks <= found.ks_high,
                    found.psi > found.psi_chance,
                ]
            shares = "  ".join(f"{share:7.1%}" for share in held / LOGS)
            print(f"{shift:10.3f}  {psi:8.4f}  {ks:7.4f}  {rows:6}  {against_rows:6}  {shares}", flush=True)


if __name__ == "__main__":
    main()
