"""Trees and objects that hold arrays, as flat lists of arrays and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Arrays = list[Any]


@dataclass(frozen=True)
class Structure:
    """How a list of arrays becomes what the user's functions take.

    Attributes:
        build: makes the user's object from arrays.
        names: paths of the arrays.
    """

    build: Callable[[Arrays], Any]
    names: tuple[str, ...]


def flatten(tree: Any, wanted: Callable[[Any], bool]) -> tuple[Arrays, Structure]:
    """Takes the arrays out of a tree, or out of an object that is not registered as one.

    Args:
        tree: a tree, or an object with arrays as attributes.
        wanted: which leaves to take; the others are kept by the structure.

    Returns:
        The arrays, and the structure that puts them back.

    Example:
        >>> arrays, structure = flatten({"x": np.ones(2), "name": "a"}, is_numeric)
        >>> structure.names, structure.build([0])
        (('x',), {'name': 'a', 'x': 0})
    """
    if _is_plain_object(tree):
        arrays, structure = flatten(dict(vars(tree)), wanted)

        def rebuild(values: Arrays) -> Any:
            parts = structure.build(values)
            if isinstance(tree, SimpleNamespace):
                return SimpleNamespace(**parts)
            copy = object.__new__(type(tree))
            copy.__dict__.update(parts)
            return copy

        return arrays, Structure(rebuild, structure.names)
    paths, treedef = jax.tree.flatten_with_path(tree)
    leaves = [leaf for _, leaf in paths]
    taken = [at for at, leaf in enumerate(leaves) if wanted(leaf)]
    names = tuple(jax.tree_util.keystr(paths[at][0], simple=True, separator="/") or "batch" for at in taken)

    def build(values: Arrays) -> Any:
        full = list(leaves)
        for at, value in zip(taken, values, strict=True):
            full[at] = value
        return jax.tree.unflatten(treedef, full)

    return [leaves[at] for at in taken], Structure(build, names)


def _is_plain_object(tree: Any) -> bool:
    """Returns whether JAX takes an object with attributes for a leaf."""
    if isinstance(tree, (Mapping, list, tuple)) or hasattr(tree, "shape"):
        return False
    leaves = jax.tree.leaves(tree)
    return len(leaves) == 1 and leaves[0] is tree and hasattr(tree, "__dict__")


def is_array(leaf: Any) -> bool:
    """Returns whether a leaf is an array that NumPy can hold, of numbers or texts; a random key is not."""
    return hasattr(leaf, "shape") and hasattr(leaf, "__array__") and isinstance(getattr(leaf, "dtype", None), np.dtype)


def is_numeric(leaf: Any) -> bool:
    """Returns whether a leaf is an array of numbers or booleans."""
    return is_array(leaf) and (leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number))


def is_trainable(leaf: Any) -> bool:
    """Returns whether a leaf is an array of real numbers."""
    return is_numeric(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
