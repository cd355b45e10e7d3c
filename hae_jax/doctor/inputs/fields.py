"""Finds what the fields of a batch hold (ids, masks, lengths or real numbers) and which positions are real."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hae_jax.doctor.inputs.normalize import NormalizedSetup

SAMPLED = 8
"""Batches whose contents decide about the role of a field."""


@dataclass(frozen=True)
class Fields:
    """Indices of a batch's arrays by role.

    Attributes:
        words: ids along time, the field named by the user first.
        values: real numbers along time.
        masks: true or 1 at real positions.
        lengths: number of real positions of each example.
        batch_size: number of examples in a batch.
        pad: id of padding; None if there is none, or none was found.
    """

    words: tuple[int, ...]
    values: tuple[int, ...]
    masks: tuple[int, ...]
    lengths: tuple[int, ...]
    batch_size: int
    pad: int | None

    @property
    def main(self) -> int | None:
        """The field that holds the sequences."""
        return next(iter((*self.words, *self.values)), None)


def read_fields(setup: NormalizedSetup) -> Fields:
    """Finds the roles of a batch's arrays from their names, dtypes and contents."""
    first, original, sampled = setup.batches[0], setup.original, setup.batches[:SAMPLED]
    axis = original.batch_axis
    sizes = [leaf.shape[axis] for leaf in first if leaf.ndim > axis]
    batch_size = max(set(sizes), key=lambda n: (sizes.count(n), n)) if sizes else 1
    longest = max((max(leaf.shape) for leaf in first if leaf.ndim > 1), default=0)
    names = [name.rsplit("/", 1)[-1] for name in setup.batch_structure.names]
    words: list[int] = []
    values: list[int] = []
    masks: list[int] = []
    lengths: list[int] = []
    for at, (name, leaf) in enumerate(zip(names, first, strict=True)):
        if not leaf.size:
            continue
        contents = np.concatenate([np.ravel(batch[at]) for batch in sampled])
        name = name.lower()
        integer = np.issubdtype(leaf.dtype, np.integer)
        binary = leaf.dtype == bool or bool(np.isin(contents, (0, 1)).all())
        if name == original.mask or (leaf.ndim > 1 and (leaf.dtype == bool or (binary and "mask" in name))):
            masks.append(at)
        elif name == original.words or (integer and leaf.ndim > 1):
            words.append(at)
        elif integer and leaf.ndim == 1 and "len" in name and contents.max() <= longest:
            lengths.append(at)
        elif name == original.values or (np.issubdtype(leaf.dtype, np.floating) and leaf.ndim > 1):
            # Weights of positions are zeros and ones of two axes, a series of real numbers is not.
            is_weight = binary and leaf.ndim == 2 and ("weight" in name or "valid" in name)
            (masks if is_weight else values).append(at)
    words.sort(key=lambda at: names[at] != (original.words or original.values))
    pad = original.pad
    if pad is None and words:
        rows = [batch[words[0]].reshape(-1, batch[words[0]].shape[-1]) for batch in sampled]
        pad = find_padding(np.concatenate(rows))
    return Fields(tuple(words), tuple(values), tuple(masks), tuple(lengths), batch_size, pad)


def find_padding(rows: np.ndarray) -> int | None:
    """Returns the id that pads rows: it occurs in runs at their ends only, of different lengths.

    Example:
        >>> find_padding(np.array([[5, 3, 0, 0], [4, 2, 2, 0], [1, 2, 3, 4]]))
        0
        >>> find_padding(np.array([[5, 3, 9], [4, 2, 9]]))
    """
    for ordered in (rows, rows[:, ::-1]):
        for candidate in dict.fromkeys((0, *ordered[:, -1].tolist())):
            same = ordered == candidate
            run = np.cumprod(same[:, ::-1], axis=1).sum(1)
            # An end-of-sentence id occurs once in every row; padding more often or never in some.
            varied = len(set(run.tolist())) > 1 and (run.max() > 1 or candidate == 0)
            if same.sum() == run.sum() and varied:
                return int(candidate)
    return None


def real_positions(fields: Fields, batch: list[Any]) -> np.ndarray | None:
    """Returns which positions of the main field are real, bool; None if nothing indicates it."""
    main = fields.main
    if main is None:
        return None
    field = batch[main]
    if main in fields.words and fields.pad is not None:
        return field != fields.pad
    shape = field.shape[:-1] if main in fields.values and field.ndim > 2 else field.shape
    for at in fields.masks:
        if batch[at].shape == shape:
            return batch[at].astype(bool)
    for at in fields.lengths:
        return np.arange(shape[1]) < batch[at][:, None] if len(shape) == 2 else None
    if main in fields.values and field.ndim == 3:
        # Zeros in every channel up to the end of a row are padding, unless there are others, which are data.
        zero = (field == 0).all(-1)
        padding = np.cumprod(zero[:, ::-1], axis=1)[:, ::-1].astype(bool)
        only_padding = padding.sum() > 1 and (zero & ~padding).sum() <= 0.05 * padding.sum()
        return ~padding if only_padding else np.ones(shape, bool)
    return np.ones(shape, bool)
