"""Batches as Keras' `fit` takes them from arrays or from a dataset, as dictionaries."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import keras
import numpy as np

from hae_jax.doctor.inputs.setup import SetupError

MAX_BATCHES = 64
"""Number of batches that are made of arrays."""
NAMES = ("x", "y", "sample_weight")
"""Parts of a batch."""


def of_arrays(parts: tuple[Any, ...], size: int, shuffle: bool, seed: int) -> list[dict[str, Any]]:
    """Makes batches of one size of arrays, as `fit` does.

    Args:
        parts: inputs, targets and sample weights: arrays, lists or dictionaries of arrays, or None.
        size: examples in a batch.
        shuffle: whether the examples are shuffled first, as by `fit`.
        seed: of the order.

    Raises:
        SetupError: if the arrays have different numbers of examples.
    """
    whole = as_batch(parts)
    lengths = {len(leaf) for leaf in jax.tree.leaves(whole)}
    if len(lengths) != 1:
        raise SetupError(
            "no-batches",
            f"x and y must have as many examples, got {' and '.join(map(str, sorted(lengths)))}. "
            "Give an array of targets with a row for each example.",
        )
    (number,) = lengths
    size = min(size, number)
    order = np.random.default_rng(seed).permutation(number) if shuffle else np.arange(number)
    rows = [order[at : at + size] for at in range(0, number - size + 1, max(1, size))[:MAX_BATCHES]]
    return [jax.tree.map(lambda leaf, at=at: leaf[at], whole) for at in rows]


def of_dataset(dataset: Any) -> Iterator[dict[str, Any]]:
    """Yields the batches of a generator, a list, a `keras.utils.PyDataset`, or any other iterable.

    Raises:
        SetupError: if the dataset cannot be iterated.
    """
    if callable(dataset) and not hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__"):
        dataset = dataset()
    if isinstance(dataset, keras.utils.PyDataset):
        pages, count = dataset, min(MAX_BATCHES, dataset.num_batches or MAX_BATCHES)
        dataset = (pages[at] for at in range(count))
    elif not hasattr(dataset, "__iter__"):
        raise SetupError(
            "no-batches", f"dataset must yield batches (x, y), got {type(dataset).__name__}. Give x and y as arrays."
        )
    for batch in dataset:
        yield as_batch(batch if isinstance(batch, (tuple, list)) else (batch,))


class Kept:
    """Batches that can be iterated over more than once; each is taken from its source once, when it is needed.

    Args:
        source: where batches come from.
    """

    def __init__(self, source: Iterator[dict[str, Any]]):
        self.source, self.kept = source, list[dict[str, Any]]()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.kept
        for batch in self.source:
            self.kept.append(batch)
            yield batch


def as_batch(parts: Any) -> dict[str, Any]:
    """Returns a batch as a dictionary of NumPy arrays, without the parts that are None."""
    parts = tuple(parts)
    if len(parts) > len(NAMES):
        raise SetupError(
            "no-batches",
            f"a batch must be (x, y) or (x, y, sample_weight), got {len(parts)} parts. Leave out the rest.",
        )
    return {
        name: jax.tree.map(as_array, list(part) if isinstance(part, tuple) else part)
        for name, part in zip(NAMES, parts, strict=False)
        if part is not None
    }


def as_array(leaf: Any) -> np.ndarray:
    """Returns an array, a tensor of another library or a table as a NumPy array; float64 becomes Keras' float."""
    array = np.asarray(leaf)
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array


def convert(batch: dict[str, Any], looks_up: bool | None, mask_value: float | None) -> dict[str, Any]:
    """Returns a batch whose inputs have the types with which the model uses them: Keras converts them itself.

    If padded steps are marked by a value, the batch has a `mask`, true at real steps.

    Args:
        batch: what `as_batch` returned.
        looks_up: whether inputs are ids, since the model has embeddings; None if that is unknown.
        mask_value: what fills padded steps of real numbers; None if nothing does.
    """

    def cast(leaf: np.ndarray) -> np.ndarray:
        if looks_up and leaf.dtype.kind == "f" and leaf.ndim > 1 and np.array_equal(leaf, np.round(leaf)):
            return leaf.astype(np.int32)
        return leaf.astype(keras.config.floatx()) if looks_up is False and leaf.dtype.kind in "iu" else leaf

    x = jax.tree.map(cast, batch["x"])
    marked = mask_value is not None and hasattr(x, "ndim") and x.ndim == 3
    return {**batch, "x": x} | ({"mask": (x != mask_value).any(-1)} if marked else {})


def is_dataset(x: Any) -> bool:
    """Returns whether what is given as inputs yields batches.

    Example:
        >>> is_dataset(np.zeros((2, 3))), is_dataset([np.zeros((2, 3))]), is_dataset([(np.zeros(2), np.zeros(2))])
        (False, False, True)
    """
    if isinstance(x, Mapping) or hasattr(x, "shape"):
        return False
    if isinstance(x, (list, tuple)):
        return not x or any(isinstance(each, (list, tuple, Mapping)) for each in x)
    return True
