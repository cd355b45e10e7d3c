"""The spec of a small model: its sizes, its optimizer, its data and its fault."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optax


@dataclass(frozen=True)
class Spec:
    """What determines a model and its training.

    Attributes:
        style: module of the model.
        fault: slug of its cause; "healthy" without a fault.
        seed: of weights, data and sizes.
        hidden: number of units.
        vocab: number of ids, padding included.
        length: positions of the longest sequence.
        batch: examples in a batch.
        rate: learning rate of Adam.
        clip: largest global norm of the gradient; None without clipping.
        forget_bias: initial bias of forget gates.
        layer_norm: whether the output of recurrences is normalized.
        severity: of the fault, between 0 and 1.
    """

    style: str
    fault: str = "healthy"
    seed: int = 0
    hidden: int = 32
    vocab: int = 30
    length: int = 10
    batch: int = 16
    rate: float = 5e-3
    clip: float | None = 1.0
    forget_bias: float = 1.0
    layer_norm: bool = False
    severity: float = 0.5

    def has(self, *faults: str) -> bool:
        """Returns whether the fault is one of the given ones."""
        return self.fault in faults

    def between(self, low: float, high: float) -> float:
        """Returns a number between a mild and a severe one, interpolated logarithmically by severity."""
        return float(low * (high / low) ** self.severity)


def optimizer(spec: Spec) -> optax.GradientTransformation:
    """Returns Adam, with the fault if it concerns the optimizer."""
    rate, clip, adam = spec.rate, spec.clip, optax.adam
    parts: list[Any] = []
    if spec.has("learning-rate-too-high"):
        rate *= spec.between(60, 600)
    if spec.has("learning-rate-too-low"):
        rate *= spec.between(1e-3, 1e-5)
    if spec.has("clip-too-tight"):
        clip = spec.between(1e-3, 1e-5)
    if spec.has("low-precision") and spec.seed % 2:
        rate *= 0.03
    if spec.has("over-regularised"):
        if spec.seed % 3 == 0:
            adam = lambda rate: optax.adamw(rate, weight_decay=spec.between(20, 100))  # noqa: E731
        elif spec.seed % 3 == 1:
            adam = lambda rate: optax.adam(rate, eps=spec.between(1, 10))  # noqa: E731
    if clip is not None:
        parts.append(optax.clip_by_global_norm(clip))
    if spec.has("clip-too-tight") and spec.seed % 2:
        parts.append(optax.sgd(0.5))
    else:
        parts.append(adam(rate))
    return optax.chain(*parts)


def markov_sentences(spec: Spec, count: int, salt: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples sentences of a Markov chain in which each word has three successors; id 0 is padding, 1 ends a sentence.

    Returns:
        Ids `[count, length]`, and the number of real ones in each row.
    """
    rng = np.random.default_rng((spec.seed, salt))
    successors = np.random.default_rng(spec.seed).integers(2, spec.vocab, (spec.vocab, 3))
    lengths = rng.integers(max(2, spec.length // 3), spec.length, count)
    ids = np.zeros((count, spec.length), np.int32)
    word = rng.integers(2, spec.vocab, count)
    for step in range(spec.length):
        ids[:, step] = np.where(step < lengths, word, np.where(step == lengths, 1, 0))
        word = successors[word, rng.integers(0, 3, count)]
    if spec.has("vocabulary-collapse"):
        rare = ids > 2 + (spec.vocab - 2) * (1 - spec.between(0.5, 0.85))
        ids = np.where(rare, 2, ids)
    return ids, np.minimum(lengths + 1, spec.length)


def markov_documents(spec: Spec, count: int) -> np.ndarray:
    """Samples documents of one to four sentences: ids `[count, sentence, word]`, blank sentences at the ends."""
    ids, _ = markov_sentences(spec, count * 4)
    ids = ids.reshape(count, 4, -1)
    number = np.random.default_rng((spec.seed, 1)).integers(1, 5, count)
    return np.where(np.arange(4)[None, :, None] < number[:, None, None], ids, 0)


def sine_series(spec: Spec, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples series of two channels: sines, zeros after their ends.

    Returns:
        Values `[count, length, 2]`, and a mask `[count, length]`.
    """
    rng = np.random.default_rng((spec.seed, 2))
    time = np.arange(spec.length)[None, :, None]
    pitch, phase = rng.uniform(0.2, 1.0, (count, 1, 2)), rng.uniform(0, 6.3, (count, 1, 2))
    values = np.sin(pitch * time + phase) + 0.3 * rng.normal(size=(count, 1, 2))
    lengths = rng.integers(spec.length // 2, spec.length + 1, count)
    mask = np.arange(spec.length) < lengths[:, None]
    if spec.has("inputs-unscaled"):
        values = values * (spec.between(20, 1000) if spec.seed % 2 else 1 / spec.between(50, 1000)) + (
            10 if spec.seed % 4 == 1 else 0
        )
    return (values * mask[..., None]).astype(np.float32), mask


def into_batches(spec: Spec, *arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Cuts examples into batches, sorted by their contents if that is the fault."""
    if spec.has("data-not-shuffled"):
        first = arrays[0].reshape(len(arrays[0]), -1)
        order = np.argsort(first[:, 0], kind="stable")
        arrays = tuple(each[order] for each in arrays)
    cut = range(0, len(arrays[0]) - spec.batch + 1, spec.batch)
    return [tuple(each[at : at + spec.batch] for each in arrays) for at in cut]
