"""Batches of PyTorch as dictionaries of NumPy arrays, and back."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from hae_jax.doctor.frameworks.torch_environment import to_numpy
from hae_jax.doctor.inputs.batches import MAX_BATCHES
from hae_jax.doctor.inputs.setup import SetupError, format_error

Fields = dict[str, Any]


@dataclass(frozen=True)
class TensorTree:
    """How the fields of a batch become the batch.

    Attributes:
        assemble: makes the batch of tensors by name.
    """

    assemble: Callable[[Fields], Any]

    def build(self, fields: Fields) -> Any:
        """Returns the batch, with NumPy arrays as tensors."""
        return self.assemble(
            {
                name: torch.from_numpy(wide(value)) if isinstance(value, np.ndarray) else value
                for name, value in fields.items()
            }
        )


def wide(array: np.ndarray) -> np.ndarray:
    """Returns integers with 64 bits, which PyTorch requires of ids."""
    return array.astype(np.int64) if array.dtype == np.int32 else np.array(array)


def take_batches(batches: Any) -> tuple[TensorTree, list[Fields]]:
    """Takes batches from a DataLoader or a list.

    Returns:
        How fields become a batch, and the fields of each batch that has those of the first one.

    Raises:
        SetupError: if there are none.
    """
    if isinstance(batches, torch.Tensor | Mapping) or (
        isinstance(batches, tuple) and all(isinstance(each, torch.Tensor) for each in batches)
    ):
        batches = [batches]
    if not isinstance(batches, Iterable):
        raise SetupError(
            "no-batches", f"batches must be iterable, got {type(batches).__name__}. Give a DataLoader or a list."
        )
    with torch.random.fork_rng(devices=[]):
        try:
            loaded = list(itertools.islice(batches, MAX_BATCHES))
        except Exception as error:
            raise SetupError(
                "no-batches", f"batches must yield tensors, got {format_error(error)}. Iterate over them by hand."
            ) from error
    taken = []
    for batch in loaded:
        fields: Fields = {}
        assemble = disassembled(batch, "", fields)
        if fields:
            taken.append((assemble, fields))
    if not taken:
        raise SetupError("no-batches", f"batches must yield tensors, got none in {len(loaded)}. Give a list of them.")
    assemble, first = taken[0]
    renamed = lengths_by_content([fields for _, fields in taken if fields.keys() == first.keys()])
    arrays = [
        {renamed.get(name, name): value for name, value in fields.items()}
        for _, fields in taken
        if fields.keys() == first.keys()
    ]
    return TensorTree(lambda fields: assemble({name: fields[renamed.get(name, name)] for name in first})), arrays


def disassembled(value: Any, name: str, fields: Fields) -> Callable[[Fields], Any]:
    """Puts the arrays of a batch into `fields`, and returns how they are put together again."""

    def inner(key: Any) -> str:
        return f"{name}/{key}" if name else str(key)

    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        put = disassembled((padded, lengths), name, fields)
        return lambda given: repacked(*put(given))
    if isinstance(value, torch.Tensor | np.ndarray):
        own = name or "batch"
        fields[own] = to_numpy(value) if isinstance(value, torch.Tensor) else value
        if fields[own].dtype.kind not in "fiub":
            del fields[own]
            return lambda given: value
        return lambda given: given[own]
    if isinstance(value, Mapping):
        parts = {key: disassembled(each, inner(key), fields) for key, each in value.items()}
        return lambda given: {key: part(given) for key, part in parts.items()}
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        items = [disassembled(each, inner(key), fields) for key, each in zip(names, value, strict=True)]
        make = value._make if hasattr(value, "_make") else type(value)
        return lambda given: make(part(given) for part in items)
    if hasattr(value, "__dataclass_fields__"):
        own_parts = {key: disassembled(getattr(value, key), inner(key), fields) for key in value.__dataclass_fields__}
        kind = type(value)
        return lambda given: kind(**{key: part(given) for key, part in own_parts.items()})
    return lambda given: value


def repacked(padded: Any, lengths: Any) -> Any:
    """Returns a packed sequence, in the order of the batch."""
    return pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)


def lengths_by_content(batches: list[Fields]) -> dict[str, str]:
    """Returns new names of fields that hold lengths, by their numbers: those of steps before zeros end each row.

    Example:
        >>> lengths_by_content([{"0": np.array([[3, 4, 0], [5, 0, 0]]), "1": np.array([2, 1])}])
        {'1': 'lengths'}
    """
    first = batches[0]
    for name, value in first.items():
        if value.ndim != 1 or value.dtype.kind not in "iu" or "len" in name:
            continue
        for padded in first.values():
            if padded.ndim < 2 or len(padded) != len(value):
                continue
            real = padded.reshape(*padded.shape[:2], -1).any(-1)
            counts = padded.shape[1] - real[:, ::-1].argmax(1)
            if (counts == value).all() and len(set(counts.tolist())) > 1:
                return {name: "lengths"}
    return {}
