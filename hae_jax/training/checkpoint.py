"""Checkpoints that are written beside the training, appear whole or not at all, and are checked when they are read.

Orbax writes and commits them. What it lacks is added here: a checksum for every array, because a flipped bit on the
disk is otherwise loaded in silence, and the way back to the newest checkpoint that is whole.
"""

import dataclasses
import json
import math
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from hae_jax.training.step import TrainState, named

Log = Callable[[str], None]
"""Takes a line for the user."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What is noted beside the arrays.

    Attributes:
        step: batches seen.
        loss: evaluation loss at that step; None where there was no evaluation.
        seconds: training time so far, over all resumes.
    """

    step: int
    loss: float | None
    seconds: float


class Checkpoints:
    """The checkpoints of a run that is being trained: the newest few and the best one are kept.

    Args:
        folder: where they are, one folder a step.
        keep: how many of the newest are kept; besides, the one of the lowest evaluation loss.
        say: told when a damaged checkpoint is left aside.
    """

    def __init__(self, folder: Path, keep: int, say: Log) -> None:
        self._folder, self._keep, self._say = folder.absolute(), keep, say
        self._saving: ocp.AsyncResponse[None] | None = None
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*tmp*"):
            shutil.rmtree(leftover)
        self._losses = {step: loss_of(self._folder, step) for step in steps(self._folder)}

    def save(self, state: TrainState, record: CheckpointInfo) -> None:
        """Copies the state to the host and starts to write it; waits first for the write before it, if need be.

        Raises:
            OSError: if the write before it failed, by a full disk for example.
        """
        self.finish()
        # A copy: the buffers of the state are soon donated to the next step, and on a CPU the host's view is no copy.
        params = {name: np.array(leaf) for name, leaf in named(state.params).items()}
        rest = {name: np.array(leaf) for name, leaf in named(state._replace(params=None)).items()}
        note = dataclasses.asdict(record) | {"checksums": {"params": checksums(params), "rest": checksums(rest)}}
        self._saving = ocp.save_checkpointables_async(
            self._folder / str(record.step),
            {"params": params, "rest": rest},
            overwrite=True,
            custom_metadata=note | {"checksum": digest(note)},
        )
        self._losses[record.step] = record.loss

    def finish(self) -> None:
        """Waits until all is written, and removes checkpoints that are neither new nor best."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()
            self._prune()

    def restore(self, like: TrainState) -> tuple[TrainState, CheckpointInfo] | None:
        """Reads the newest checkpoint that is whole; newer ones, damaged, are removed.

        Args:
            like: a state of the same structure.

        Returns:
            The state, as NumPy arrays, and what was noted with it; None if there is no checkpoint yet.

        Raises:
            CheckpointError: if all are damaged, or the newest whole one does not fit `like`.
        """
        order = steps(self._folder)[::-1]
        found = first_whole(self._folder, order, ("params", "rest"), self._say)
        if found is None:
            return None
        record, arrays = found
        params = fit_to(like.params, arrays["params"], record.step)
        rest = fit_to(like._replace(params=None), arrays["rest"], record.step)
        for damaged in (step for step in order if step > record.step):
            # Left in place they would count as the newest, and push whole ones out.
            self._remove(damaged)
        return rest._replace(params=params), record

    def _prune(self) -> None:
        kept = {*sorted(self._losses)[-self._keep :], *best(self._losses)}
        for step in self._losses.keys() - kept:
            self._remove(step)

    def _remove(self, step: int) -> None:
        shutil.rmtree(self._folder / str(step))
        del self._losses[step]


def load_params(folder: Path, like: PyTree, say: Log | None = None) -> tuple[PyTree, CheckpointInfo]:
    """Reads the parameters of the best checkpoint; if that is damaged or none was evaluated, of the newest whole one.

    Args:
        folder: what was given to `Checkpoints`.
        like: parameters, or their shapes, of the same structure.
        say: told when a damaged checkpoint is left aside; prints to standard error by default.

    Returns:
        The parameters, as NumPy arrays, and what was noted with them.

    Raises:
        CheckpointError: if there is no checkpoint, if all are damaged, or if it does not fit `like`.
    """
    folder = folder.absolute()
    say = say or (lambda line: print(line, file=sys.stderr))
    newest = steps(folder)[::-1]
    preferred = best({step: loss_of(folder, step, say) for step in newest})
    order = [*preferred, *(step for step in newest if step not in preferred)]
    found = first_whole(folder, order, ("params",), say)
    if found is None:
        raise CheckpointError(f"{folder} must hold a checkpoint, got none. Train a while longer.")
    record, arrays = found
    return fit_to(like, arrays["params"], record.step), record


def steps(folder: Path) -> list[int]:
    """Lists the steps of which there is a checkpoint, oldest first."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()) if folder.is_dir() else []


def first_whole(
    folder: Path, order: list[int], parts: tuple[str, ...], say: Log
) -> tuple[CheckpointInfo, dict[str, dict[str, np.ndarray]]] | None:
    """Reads parts of the first checkpoint, in the given order, that is whole; None if the order is empty.

    Raises:
        CheckpointError: if none of them is whole.
    """
    for step in order:
        try:
            return read(folder / str(step), parts)
        except CheckpointError as error:
            say(f"checkpoint {step} is damaged and left aside: {error}")
    if order:
        raise CheckpointError(
            f"{folder} must hold a checkpoint that is whole, got {len(order)} that are damaged. "
            "Restore one from a backup, or start again in a new workdir."
        )
    return None


def read(path: Path, parts: tuple[str, ...]) -> tuple[CheckpointInfo, dict[str, dict[str, np.ndarray]]]:
    """Reads parts of one checkpoint, by the names of their arrays, and compares all checksums.

    Raises:
        CheckpointError: if it is damaged.
    """
    note = metadata_of(path)
    try:
        # One by one: together, Orbax would leave the others' coroutines behind when one fails.
        arrays = {part: ocp.load_checkpointables(path, {part: None})[part] for part in parts}
    # What a broken file makes Orbax and TensorStore raise is not to be foreseen.
    except Exception as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise CheckpointError(f"{path} must be readable, got {type(error).__name__}: {reason[:200]}.") from error
    for part in parts:
        wanted, got = note["checksums"][part], checksums(arrays[part])
        wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
        if wrong:
            raise CheckpointError(f"{path} must have the checksums it was saved with, got others for {wrong[0]}.")
    return CheckpointInfo(note["step"], note["loss"], note["seconds"]), arrays


def metadata_of(path: Path) -> dict:
    """Reads what was noted beside the arrays of a checkpoint.

    Raises:
        CheckpointError: if it is damaged.
    """
    try:
        note = dict(ocp.checkpointables_metadata(path).custom_metadata or {})
        whole = note.pop("checksum", None) == digest(note)
    except Exception:
        whole = False
    if not whole:
        raise CheckpointError(f"{path} must have the metadata it was saved with, got something else.")
    return note


def loss_of(folder: Path, step: int, say: Log = lambda line: None) -> float | None:
    """Returns the evaluation loss noted with a checkpoint; None if there is none or, as is said, none to trust."""
    try:
        return metadata_of(folder / str(step))["loss"]
    except CheckpointError as error:
        say(f"checkpoint {step} is damaged and left aside: {error}")
        return None


def best(losses: Mapping[int, float | None]) -> list[int]:
    """Returns the step of the lowest loss, alone in a list; an empty list if none was evaluated.

    Example:
        >>> best({10: 3.5, 20: None, 30: 3.25, 40: float("nan")})
        [30]
    """
    known = {step: loss for step, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return sorted(known, key=known.__getitem__)[:1]


def fit_to(like: PyTree, arrays: Mapping[str, np.ndarray], step: int) -> PyTree:
    """Arranges arrays by their names in the structure of `like`.

    Raises:
        CheckpointError: if an array is missing or too many, or has another shape or type.
    """
    wanted = {name: (leaf.shape, np.dtype(leaf.dtype)) for name, leaf in named(like).items()}
    got = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    for name in sorted(wanted.keys() | got.keys()):
        if wanted.get(name) != got.get(name):
            raise CheckpointError(
                f"checkpoint {step} must fit the model: {name} must be {describe(wanted.get(name))}, "
                f"got {describe(got.get(name))}. Use the config and the vocabulary it was trained with."
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def describe(array: tuple[tuple[int, ...], np.dtype] | None) -> str:
    """Writes a type and a shape, as in float32[3, 5]."""
    return "absent" if array is None else f"{array[1]}{list(array[0])}"


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Returns the CRC-32 of every array's bytes."""
    return {
        name: zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data) for name, array in arrays.items()
    }


def digest(note: Mapping) -> int:
    """Returns the CRC-32 of the note as canonical JSON."""
    return zlib.crc32(json.dumps(note, sort_keys=True).encode())
