"""Collects batches of one shape from whatever yields some."""

import inspect
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays, Structure, flatten, is_array, is_numeric
from hae_jax.doctor.inputs.setup import SetupError, format_error

MAX_BATCHES = 64
"""Number of batches that are kept."""
MAX_SECONDS = 15.0
"""Time spent on loading batches."""


def collect(given: Any, notes: list[str]) -> tuple[list[Arrays], Structure]:
    """Takes batches of the most frequent shape, in their order.

    Args:
        given: the setup's `batches`.
        notes: remarks for the user are appended.

    Returns:
        The arrays of each batch, and the structure of a batch.

    Raises:
        SetupError: if there are none.
    """
    loaded, started, failure = [], time.monotonic(), ""
    try:
        for batch in itertools.islice(stream(given), MAX_BATCHES):
            loaded.append(flatten(batch, is_numeric))
            if time.monotonic() - started > MAX_SECONDS:
                notes.append(f"loading batches is slow: {len(loaded)} in {MAX_SECONDS:.0f} s")
                break
    except Exception as error:
        # Whatever a user's loader raises is for the report; the batches before it are used.
        failure = f" ({format_error(error, 200)})"
    batches = [(signature(arrays), arrays, structure) for arrays, structure in loaded if arrays]
    if not batches:
        raise SetupError(
            "no-batches",
            f"batches must yield arrays of numbers, got none{failure}. Give a list of batches of NumPy arrays.",
        )
    if not any(leaf.size for _, arrays, _ in batches for leaf in arrays):
        shapes = ", ".join(str(np.shape(leaf)) for leaf in batches[0][1])
        raise SetupError(
            "no-batches", f"batches must hold numbers, got arrays of shape {shapes}. Check what fills them."
        )
    if failure:
        notes.append(f"loading batches failed after {len(loaded)}{failure}")
    elif len(loaded) < MAX_BATCHES:
        notes.append(f"batches ended after {len(loaded)}; they are repeated")
    (shape, number), *_ = Counter(each for each, _, _ in batches).most_common(1)
    if number < len(batches):
        notes.append(f"batches have several shapes; the {number} of {len(batches)} with the most frequent one are used")
    chosen = [(arrays, structure) for each, arrays, structure in batches if each == shape]
    first, structure = chosen[0]
    notes += [
        f"{name} is empty: its shape is {np.shape(leaf)}"
        for name, leaf in zip(structure.names, first, strict=True)
        if not leaf.size
    ]
    _, other = flatten(structure.build(first), lambda leaf: is_array(leaf) and not is_numeric(leaf))
    notes += [f"{name} holds no numbers; the loss always gets the first batch's" for name in other.names]
    return [[np.asarray(leaf) for leaf in arrays] for arrays, _ in chosen], structure


def signature(arrays: Arrays) -> tuple[Any, ...]:
    """Returns shapes and dtypes of arrays."""
    return tuple((np.shape(leaf), str(leaf.dtype)) for leaf in arrays)


def stream(given: Any) -> Iterable[Any]:
    """Makes an iterable of batches of an iterable, a function of the step, a function of nothing, or one batch."""
    if callable(given) and not hasattr(given, "__iter__"):
        try:
            required = [each for each in inspect.signature(given).parameters.values() if each.default is each.empty]
        except (TypeError, ValueError):
            required = []
        if required:
            return (given(step) for step in itertools.count())
        first = given()
        if hasattr(first, "__next__") or isinstance(first, list):
            return first
        return itertools.chain([first], (given() for _ in itertools.count()))
    is_batch = isinstance(given, Mapping) or is_numeric(given)
    if isinstance(given, tuple):
        # A named tuple, or a tuple of arrays, is one batch; any other tuple holds batches.
        is_batch = hasattr(given, "_fields") or all(is_numeric(part) for part in given)
    return [given] if is_batch else given
