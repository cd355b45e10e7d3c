"""The numbers of a run: metrics.jsonl, and TensorBoard's files if they are wanted."""

import importlib.util
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any


class MetricsLog:
    """Appends one JSON object a line, each with its `step` and its `kind`: "train", "evaluation", "final" or "doctor".

    A resumed run first drops the lines after the step it resumes from. So the file is what an uninterrupted run would
    have written, but for times and speeds, for what compiling took, and for the stretch of steps that a signal cut in
    two lines.

    Args:
        workdir: folder of `metrics.jsonl` and `tensorboard/`.
        step: step that the run resumes from; 0 for a new one.
        tensorboard: whether to write TensorBoard's files as well.

    Raises:
        ValueError: if TensorBoard is wanted and tensorboardX is not installed.
    """

    def __init__(self, workdir: Path, step: int, tensorboard: bool) -> None:
        check_tensorboard(tensorboard)
        path = workdir / "metrics.jsonl"
        kept = [line for line in read_lines(path) if line["step"] <= step] if step else []
        self.complete: bool = bool(kept) and kept[-1]["kind"] == "final" and kept[-1]["step"] == step
        """Whether the run had made its final evaluation at that step."""
        self.causes: list[str] = [line["cause"] for line in kept if line["kind"] == "doctor"]
        """What the doctor spoke of before that step."""
        fresh = path.with_suffix(".tmp")
        fresh.write_text("".join(map(dump, kept)), encoding="utf-8")
        os.replace(fresh, path)
        self._file = path.open("a", encoding="utf-8")
        self._board = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """Appends a line, which is on the disk when this returns; a number that is not finite becomes null."""
        self._file.write(dump({"step": step, "kind": kind} | values))
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)


def check_tensorboard(wanted: bool) -> None:
    """Raises a ValueError if TensorBoard's files are wanted and nothing is installed to write them."""
    if wanted and importlib.util.find_spec("tensorboardX") is None:
        raise ValueError(
            "train.tensorboard must be off without tensorboardX, got on. Install it: pip install hae_jax[tensorboard]."
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a journal; one that was cut off while being written is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def dump(values: dict[str, Any]) -> str:
    """Writes one line of JSON.

    Example:
        >>> dump({"step": 3, "loss": float("nan")})
        '{"step": 3, "loss": null}\\n'
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"
