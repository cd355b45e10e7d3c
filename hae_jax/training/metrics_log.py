"""The log of a run: metrics.jsonl, and optionally event files of TensorBoard."""

import importlib.util
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any


class MetricsLog:
    """Appends one JSON object per line, with its `step` and `kind`: "train", "evaluation", "final" or "doctor".

    A resumed run first drops the lines after the step that it resumes from. The file is then that of an uninterrupted
    run, except for times and speeds, the cost of compilation, and the window of steps that a signal split into two
    lines.

    Args:
        workdir: folder of `metrics.jsonl` and `tensorboard/`.
        step: step that the run resumes from; 0 for a new one.
        tensorboard: whether to write event files of TensorBoard as well.

    Attributes:
        complete: whether the final evaluation at that step is logged.
        causes: causes that the doctor reported up to that step.

    Raises:
        ValueError: if TensorBoard is enabled and tensorboardX is not installed.
    """

    def __init__(self, workdir: Path, step: int, tensorboard: bool) -> None:
        check_tensorboard(tensorboard)
        path = workdir / "metrics.jsonl"
        kept = [line for line in read_lines(path) if line["step"] <= step] if step else []
        self.complete: bool = bool(kept) and kept[-1]["kind"] == "final" and kept[-1]["step"] == step
        self.causes: list[str] = [line["cause"] for line in kept if line["kind"] == "doctor"]
        fresh = path.with_suffix(".tmp")
        fresh.write_text("".join(map(dump, kept)), encoding="utf-8")
        os.replace(fresh, path)
        self._file = path.open("a", encoding="utf-8")
        self._writer = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """Appends a line and flushes it; a number that is not finite becomes null."""
        self._file.write(dump({"step": step, "kind": kind} | values))
        self._file.flush()
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)


def check_tensorboard(enabled: bool) -> None:
    """Raises a ValueError if TensorBoard is enabled and tensorboardX is not installed."""
    if enabled and importlib.util.find_spec("tensorboardX") is None:
        raise ValueError(
            "train.tensorboard must be off without tensorboardX, got on. Install it: pip install hae_jax[tensorboard]."
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of metrics.jsonl; an incomplete line, and all after it, are dropped."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def dump(values: dict[str, Any]) -> str:
    """Formats one line of JSON; a number that is not finite becomes null.

    Example:
        >>> dump({"step": 3, "loss": float("nan")})
        '{"step": 3, "loss": null}\\n'
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"
