"""Sequences with structure that a small model can learn: texts of ids, and series of numbers.

Every source also returns one trait of each sequence, between -1 and 1, which labels are made of.
"""

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Sequences = tuple[np.ndarray, np.ndarray]
PAD = 0
"""Id of padding; others start at 1."""


def chain(rng: Rng, count: int, time: int, vocab: int) -> Sequences:
    """Returns texts of two Markov chains, in which each id has two successors; the trait is the chain."""
    successors = rng.integers(1, vocab, (2, vocab, 2))
    which = rng.integers(0, 2, count)
    ids = np.zeros((count, time), np.int32)
    ids[:, 0] = rng.integers(1, vocab, count)
    for step in range(1, time):
        ids[:, step] = successors[which, ids[:, step - 1], rng.integers(0, 2, count)]
    return ids, 2.0 * which - 1


def motifs(rng: Rng, count: int, time: int, vocab: int) -> Sequences:
    """Returns texts that repeat one of a few phrases of three ids, from any place; the trait is the phrase."""
    number = max(3, vocab // 3)
    phrases = rng.integers(1, vocab, (number, 3))
    which, start = rng.integers(0, number, count), rng.integers(0, 3, count)
    ids = phrases[which[:, None], (start[:, None] + np.arange(time)) % 3].astype(np.int32)
    noise = rng.random(ids.shape) < 0.05
    return np.where(noise, rng.integers(1, vocab, ids.shape), ids).astype(np.int32), 2 * which / (number - 1) - 1


def letters(rng: Rng, count: int, time: int, vocab: int) -> Sequences:
    """Returns uniformly random ids; the trait is whether the first id is among the larger half."""
    ids = rng.integers(1, vocab, (count, time)).astype(np.int32)
    return ids, np.where(2 * ids[:, 0] > vocab, 1.0, -1.0)


def sines(rng: Rng, count: int, time: int) -> Sequences:
    """Returns sums of two sines; the trait is the pitch of the first."""
    trait, at = rng.uniform(-1, 1, count), np.arange(time)
    pitch = (0.9 + 0.5 * trait)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (2, count, 1))
    return np.sin(pitch * at + phase[0]) + 0.3 * np.sin(2 * at + phase[1]), trait


def autoregression(rng: Rng, count: int, time: int, first: np.ndarray, second: float, noise: float) -> np.ndarray:
    """Returns x[t] = first x[t - 1] + second x[t - 2] + noise, after its transient."""
    series = rng.normal(size=(count, time + 30))
    for step in range(2, time + 30):
        series[:, step] = first * series[:, step - 1] + second * series[:, step - 2] + noise * series[:, step]
    return series[:, 30:]


def resonance(rng: Rng, count: int, time: int) -> Sequences:
    """Returns autoregressions of order 2 whose poles have radius 0.97; the trait is their angle."""
    trait = rng.uniform(-1, 1, count)
    return autoregression(rng, count, time, 2 * 0.97 * np.cos(0.9 + 0.6 * trait), -(0.97**2), 0.3), trait


def sunspots(rng: Rng, count: int, time: int) -> Sequences:
    """Returns autoregressions with Yule's coefficients of the yearly sunspot numbers; the trait is the noise.

    Reference:
        Yule, 1927, https://doi.org/10.1098/rsta.1927.0007
    """
    trait = rng.uniform(-1, 1, count)
    series = autoregression(rng, count, time, np.full(count, 1.3425), -0.6550, 1.0)
    return series * (1 + 0.8 * trait)[:, None], trait


def seasons(rng: Rng, count: int, time: int) -> Sequences:
    """Returns a weekly profile that starts on any day, on a level, with noise; the trait is the level."""
    trait, start = rng.uniform(-1, 1, count), rng.integers(0, 7, count)
    profile = np.array([0.2, 0.6, 1.0, 0.7, 0.4, -1.2, -1.7])
    values = profile[(start[:, None] + np.arange(time)) % 7] + 0.7 * trait[:, None]
    return values + 0.1 * rng.normal(size=values.shape), trait


def logistic(rng: Rng, count: int, time: int) -> Sequences:
    """Returns orbits of the logistic map, which is chaotic but determined by one step; the trait is its parameter."""
    trait = rng.uniform(-1, 1, count)
    series = np.empty((count, time))
    now = rng.uniform(0.1, 0.9, count)
    for step in range(-20, time):
        now = (3.8 + 0.2 * trait) * now * (1 - now)
        if step >= 0:
            series[:, step] = now
    return series, trait


def squares(rng: Rng, count: int, time: int) -> Sequences:
    """Returns square waves of period 4 to 8; the trait is the share of a period in which they are up."""
    trait, period = rng.uniform(-1, 1, count), rng.integers(4, 9, count)[:, None]
    place = (rng.integers(0, 8, count)[:, None] + np.arange(time)) % period / period
    return np.where(place < (0.5 + 0.25 * trait)[:, None], 1.0, -1.0) + 0.05 * rng.normal(size=(count, time)), trait


TEXTS: dict[str, Callable[[Rng, int, int, int], Sequences]] = {"chain": chain, "motifs": motifs, "letters": letters}
SERIES: dict[str, Callable[[Rng, int, int], Sequences]] = {
    "sines": sines, "resonance": resonance, "sunspots": sunspots, "seasons": seasons, "logistic": logistic,
    "squares": squares,
}  # fmt: skip


def scale(values: np.ndarray, scaling: str) -> np.ndarray:
    """Returns series as users scale them: variance 1, between 0 and 1, or variance 2 around 1."""
    if scaling == "unit":
        return (values - values.min()) / (values.max() - values.min())
    standard = (values - values.mean()) / values.std()
    return standard if scaling == "standard" else np.sqrt(2) * standard + 1
