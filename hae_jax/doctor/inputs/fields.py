"""What a batch's fields hold: ids, masks, lengths or numbers, and which of their positions are real."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hae_jax.doctor.inputs.normalize import NormalizedSetup


@dataclass(frozen=True)
class Fields:
    """Roles of the arrays of a batch, by their positions.

    Attributes:
        words: those of ids along time, the patient's own choice first.
        values: those of real numbers along time.
        masks: those that say what is real.
        lengths: those that say how many positions are.
        size: number of examples in a batch.
        pad: the id that fills up sequences; None if there is none, or none was found.
    """

    words: tuple[int, ...]
    values: tuple[int, ...]
    masks: tuple[int, ...]
    lengths: tuple[int, ...]
    size: int
    pad: int | None

    @property
    def main(self) -> int | None:
        """The field that sequences are read from."""
        return next(iter((*self.words, *self.values)), None)


def read_fields(case: NormalizedSetup) -> Fields:
    """Finds the roles of a batch's arrays from their names, types and contents."""
    first, names = case.batches[0], case.batch_form.names
    axis = case.patient.batch_axis
    sizes = [leaf.shape[axis] for leaf in first if leaf.ndim > axis]
    size = max(set(sizes), key=lambda n: (sizes.count(n), n)) if sizes else 1
    words: list[int] = []
    values: list[int] = []
    masks: list[int] = []
    lengths: list[int] = []
    longest = max((max(leaf.shape) for leaf in first if leaf.ndim > 1), default=0)
    for at, (name, leaf) in enumerate(zip(names, first, strict=True)):
        if not leaf.size:
            continue
        every = np.concatenate([np.ravel(batch[at]) for batch in case.batches[:8]])
        last = name.rsplit("/", 1)[-1].lower()
        whole = np.issubdtype(leaf.dtype, np.integer)
        binary = leaf.dtype == bool or bool(np.isin(every, (0, 1)).all())
        if last == case.patient.mask or (leaf.ndim > 1 and (leaf.dtype == bool or (binary and "mask" in last))):
            masks.append(at)
        elif last == case.patient.words or (whole and leaf.ndim > 1):
            words.append(at)
        elif whole and leaf.ndim == 1 and "len" in last and every.max() <= longest:
            lengths.append(at)
        elif last == case.patient.values or (np.issubdtype(leaf.dtype, np.floating) and leaf.ndim > 1):
            # Weights of positions are zeros and ones, though no name says so; a series is not.
            (masks if binary and leaf.ndim == 2 and ("weight" in last or "valid" in last) else values).append(at)
    chosen = case.patient.words or case.patient.values
    front = [at for at in words if names[at].rsplit("/", 1)[-1] == chosen]
    words = front + [at for at in words if at not in front]
    pad = case.patient.pad
    if pad is None and words:
        pad = filler(
            np.concatenate([batch[words[0]].reshape(-1, batch[words[0]].shape[-1]) for batch in case.batches[:8]])
        )
    return Fields(tuple(words), tuple(values), tuple(masks), tuple(lengths), size, pad)


def filler(rows: np.ndarray) -> int | None:
    """Returns the id that fills up rows: it stands in runs at their ends only, of different lengths.

    Example:
        >>> filler(np.array([[5, 3, 0, 0], [4, 2, 2, 0], [1, 2, 3, 4]]))
        0
        >>> filler(np.array([[5, 3, 9], [4, 2, 9]]))
    """
    for ordered in (rows, rows[:, ::-1]):
        for each in dict.fromkeys((0, *ordered[:, -1].tolist())):
            same = ordered == each
            run = np.cumprod(same[:, ::-1], axis=1).sum(1)
            # A mark that ends every sentence stands there once; padding, in some rows, more often or never.
            varied = len(set(run.tolist())) > 1 and (run.max() > 1 or each == 0)
            if same.sum() == run.sum() and varied:
                return int(each)
    return None


def real(fields: Fields, batch: list[Any]) -> np.ndarray | None:
    """Says which positions of the main field are real; None if nothing says so."""
    main = fields.main
    if main is None:
        return None
    field = batch[main]
    if main in fields.words and fields.pad is not None:
        return field != fields.pad
    shape = field.shape if main in fields.words else field.shape[:-1] if field.ndim > 2 else field.shape
    for at in fields.masks:
        if batch[at].shape == shape:
            return batch[at].astype(bool)
    for at in fields.lengths:
        return np.arange(shape[1]) < batch[at][:, None] if len(shape) == 2 else None
    if main in fields.values and field.ndim == 3:
        # Zeros to the end of a row, in every channel, are no measurement.
        empty = (field == 0).all(-1)
        run = np.cumprod(empty[:, ::-1], axis=1)[:, ::-1].astype(bool)
        return ~run if run.any() else np.ones(shape, bool)
    return np.ones(shape, bool)
