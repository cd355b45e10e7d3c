"""Trees of arrays, and objects that hold some, as flat lists of arrays and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Arrays = list[Any]


@dataclass(frozen=True)
class Form:
    """How a list of arrays becomes what the user's functions expect.

    Attributes:
        build: makes the user's object out of arrays.
        names: of the arrays.
    """

    build: Callable[[Arrays], Any]
    names: tuple[str, ...]


def flatten(given: Any, wanted: Callable[[Any], bool]) -> tuple[Arrays, Form]:
    """Takes the arrays out of a tree, or out of an object that is none.

    Args:
        given: a tree, or an object with arrays as attributes.
        wanted: which leaves to take; the others stay in the form.
    """
    if (
        not isinstance(given, (Mapping, list, tuple))
        and len(jax.tree.leaves(given)) == 1
        and not hasattr(given, "shape")
    ):
        (leaf,) = jax.tree.leaves(given)
        if leaf is given and hasattr(given, "__dict__"):
            arrays, form = flatten(dict(vars(given)), wanted)

            def rebuild(values: Arrays) -> Any:
                parts = form.build(values)
                if isinstance(given, SimpleNamespace):
                    return SimpleNamespace(**parts)
                copy = object.__new__(type(given))
                copy.__dict__.update(parts)
                return copy

            return arrays, Form(rebuild, form.names)
    paths, tree = jax.tree.flatten_with_path(given)
    leaves = [leaf for _, leaf in paths]
    taken = [at for at, leaf in enumerate(leaves) if wanted(leaf)]
    names = tuple(jax.tree_util.keystr(paths[at][0], simple=True, separator="/") or "batch" for at in taken)

    def build(values: Arrays) -> Any:
        full = list(leaves)
        for at, value in zip(taken, values, strict=True):
            full[at] = value
        return jax.tree.unflatten(tree, full)

    return [leaves[at] for at in taken], Form(build, names)


def held(leaf: Any) -> bool:
    """Says whether a leaf is an array that NumPy can hold, be it of texts; a random key is none."""
    return hasattr(leaf, "shape") and hasattr(leaf, "__array__") and isinstance(getattr(leaf, "dtype", None), np.dtype)


def array(leaf: Any) -> bool:
    """Says whether a leaf is an array of numbers."""
    return held(leaf) and (leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number))


def trainable(leaf: Any) -> bool:
    """Says whether a leaf is an array of real numbers."""
    return array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
