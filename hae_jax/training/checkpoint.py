"""Checkpoints, written asynchronously and atomically, and verified by checksums when they are read.

Orbax writes and commits them. Two things are added here: a checksum for every array, since Orbax does not detect a
flipped bit on the disk, and the fallback to the newest intact checkpoint.
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

from hae_jax.training.step import TrainState, named_leaves

Log = Callable[[str], None]
"""Reports a line to the user."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another model."""


@dataclass(frozen=True)
class CheckpointInfo:
    """Metadata of a checkpoint.

    Attributes:
        step: number of training steps.
        loss: evaluation loss at that step; None without an evaluation.
        seconds: training time so far, over all resumes.
    """

    step: int
    loss: float | None
    seconds: float


class Checkpoints:
    """The checkpoints of a training run: the newest few and the best one are kept.

    Args:
        folder: folder of the checkpoints, with one subfolder per step.
        keep: number of newest checkpoints to keep, besides the one with the lowest evaluation loss.
        log: called for each damaged checkpoint that is skipped.
    """

    def __init__(self, folder: Path, keep: int, log: Log) -> None:
        self._folder, self._keep, self._log = folder.absolute(), keep, log
        self._saving: ocp.AsyncResponse[None] | None = None
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*tmp*"):
            shutil.rmtree(leftover)
        self._losses = {step: loss_of(self._folder, step) for step in steps(self._folder)}

    def save(self, state: TrainState, info: CheckpointInfo) -> None:
        """Copies the state to the host and starts writing it, after the previous write is complete.

        Raises:
            OSError: if the previous write failed, for example because the disk is full.
        """
        self.finish()
        # A copy, since the next step reuses the buffers of the state, and on a CPU the host's view shares them.
        params = {name: np.array(leaf) for name, leaf in named_leaves(state.params).items()}
        rest = {name: np.array(leaf) for name, leaf in named_leaves(state._replace(params=None)).items()}
        sums = {"checksums": {"params": checksums(params), "rest": checksums(rest)}}
        metadata = dataclasses.asdict(info) | sums
        self._saving = ocp.save_checkpointables_async(
            self._folder / str(info.step),
            {"params": params, "rest": rest},
            overwrite=True,
            custom_metadata=metadata | {"checksum": digest(metadata)},
        )
        self._losses[info.step] = info.loss

    def finish(self) -> None:
        """Waits until the last write is complete, and removes checkpoints that are neither newest nor best."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()
            self._prune()

    def restore(self, like: TrainState) -> tuple[TrainState, CheckpointInfo] | None:
        """Reads the newest intact checkpoint; newer, damaged ones are removed.

        Args:
            like: a state of the same structure.

        Returns:
            The state, as NumPy arrays, and its metadata; None if there is no checkpoint.

        Raises:
            CheckpointError: if all are damaged, or the newest intact one does not match `like`.
        """
        order = steps(self._folder)[::-1]
        found = first_intact(self._folder, order, ("params", "rest"), self._log)
        if found is None:
            return None
        info, arrays = found
        params = unflatten_like(like.params, arrays["params"], info.step)
        rest = unflatten_like(like._replace(params=None), arrays["rest"], info.step)
        for damaged in (step for step in order if step > info.step):
            # Otherwise they would count as the newest and displace intact ones.
            self._remove(damaged)
        return rest._replace(params=params), info

    def _prune(self) -> None:
        kept = {*sorted(self._losses)[-self._keep :], *best(self._losses)}
        for step in self._losses.keys() - kept:
            self._remove(step)

    def _remove(self, step: int) -> None:
        shutil.rmtree(self._folder / str(step))
        del self._losses[step]


def load_params(folder: Path, like: PyTree, log: Log | None = None) -> tuple[PyTree, CheckpointInfo]:
    """Reads the parameters of the best checkpoint, or of the newest intact one if there is no intact best.

    Args:
        folder: folder of the checkpoints.
        like: parameters, or their shapes, of the same structure.
        log: called for each damaged checkpoint that is skipped; prints to standard error by default.

    Returns:
        The parameters, as NumPy arrays, and the metadata of the checkpoint.

    Raises:
        CheckpointError: if there is no checkpoint, if all are damaged, or if it does not match `like`.
    """
    folder = folder.absolute()
    log = log or (lambda line: print(line, file=sys.stderr))
    newest = steps(folder)[::-1]
    preferred = best({step: loss_of(folder, step, log) for step in newest})
    order = [*preferred, *(step for step in newest if step not in preferred)]
    found = first_intact(folder, order, ("params",), log)
    if found is None:
        raise CheckpointError(f"{folder} must hold a checkpoint, got none. Train a while longer.")
    info, arrays = found
    return unflatten_like(like, arrays["params"], info.step), info


def steps(folder: Path) -> list[int]:
    """Returns the steps of all checkpoints, in ascending order."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()) if folder.is_dir() else []


def first_intact(
    folder: Path, order: list[int], parts: tuple[str, ...], log: Log
) -> tuple[CheckpointInfo, dict[str, dict[str, np.ndarray]]] | None:
    """Reads parts of the first intact checkpoint in the given order; None if the order is empty.

    Raises:
        CheckpointError: if all of them are damaged.
    """
    for step in order:
        try:
            return read(folder / str(step), parts)
        except CheckpointError as error:
            log(f"checkpoint {step} is damaged and skipped: {error}")
    if order:
        raise CheckpointError(
            f"{folder} must hold an intact checkpoint, got {len(order)} damaged. "
            "Restore one from a backup, or start again in a new workdir."
        )
    return None


def read(path: Path, parts: tuple[str, ...]) -> tuple[CheckpointInfo, dict[str, dict[str, np.ndarray]]]:
    """Reads parts of one checkpoint, as arrays by name, and verifies their checksums.

    Raises:
        CheckpointError: if it is damaged.
    """
    metadata = metadata_of(path)
    try:
        # One by one: if one of several fails, Orbax never awaits the coroutines of the others.
        arrays = {part: ocp.load_checkpointables(path, {part: None})[part] for part in parts}
    # Orbax and TensorStore raise many types of errors for a damaged file.
    except Exception as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise CheckpointError(f"{path} must be readable, got {type(error).__name__}: {reason[:200]}.") from error
    for part in parts:
        wanted, got = metadata["checksums"][part], checksums(arrays[part])
        wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
        if wrong:
            raise CheckpointError(f"{path} must have the checksums it was saved with, got others for {wrong[0]}.")
    return CheckpointInfo(metadata["step"], metadata["loss"], metadata["seconds"]), arrays


def metadata_of(path: Path) -> dict:
    """Reads the metadata of a checkpoint.

    Raises:
        CheckpointError: if it is damaged.
    """
    try:
        metadata = dict(ocp.checkpointables_metadata(path).custom_metadata or {})
        intact = metadata.pop("checksum", None) == digest(metadata)
    except Exception:
        intact = False
    if not intact:
        raise CheckpointError(f"{path} must have the metadata it was saved with, got something else.")
    return metadata


def loss_of(folder: Path, step: int, log: Log = lambda line: None) -> float | None:
    """Returns the evaluation loss of a checkpoint; None without one, or if the metadata is damaged, which is logged."""
    try:
        return metadata_of(folder / str(step))["loss"]
    except CheckpointError as error:
        log(f"checkpoint {step} is damaged and skipped: {error}")
        return None


def best(losses: Mapping[int, float | None]) -> list[int]:
    """Returns the step with the lowest loss, as a list of one; an empty list if none was evaluated.

    Example:
        >>> best({10: 3.5, 20: None, 30: 3.25, 40: float("nan")})
        [30]
    """
    evaluated = {step: loss for step, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return sorted(evaluated, key=evaluated.__getitem__)[:1]


def unflatten_like(like: PyTree, arrays: Mapping[str, np.ndarray], step: int) -> PyTree:
    """Arranges arrays by their names in the structure of `like`.

    Raises:
        CheckpointError: if an array is missing or superfluous, or has another shape or type.
    """
    wanted = {name: (leaf.shape, np.dtype(leaf.dtype)) for name, leaf in named_leaves(like).items()}
    got = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    for name in sorted(wanted.keys() | got.keys()):
        if wanted.get(name) != got.get(name):
            raise CheckpointError(
                f"checkpoint {step} must match the model: {name} must be {describe(wanted.get(name))}, "
                f"got {describe(got.get(name))}. Use the config and the vocabulary it was trained with."
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def describe(array: tuple[tuple[int, ...], np.dtype] | None) -> str:
    """Formats a type and a shape, as in float32[3, 5]."""
    return "absent" if array is None else f"{array[1]}{list(array[0])}"


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Returns the CRC-32 of every array's bytes."""
    return {
        name: zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data) for name, array in arrays.items()
    }


def digest(metadata: Mapping) -> int:
    """Returns the CRC-32 of metadata as canonical JSON."""
    return zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
