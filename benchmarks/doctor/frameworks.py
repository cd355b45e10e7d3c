"""Faulty and healthy models as users of Keras and of PyTorch write them: is the right cause reported, or nothing?

    python -m benchmarks run doctor_frameworks

Each is examined as its users would: by `examine(model, x, y)` in Keras, and by `examine(module, loss_fn, batches,
optimizer)` in PyTorch. Weights are the same each time.

Device: one CPU core takes about half a minute a model.
Expected: the right cause first for ten of twelve faults, no finding for a healthy model.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.statistics import format_rate

Example = tuple[str, Callable[[], Any], str]
"""Name, function that builds the arguments of `examine`, and the cause to be reported, or "healthy"."""


def examples(framework: str) -> list[Example]:
    """Returns the models of a framework, "keras" or "torch", which is not needed to list the benchmarks."""
    faulty, healthy = (import_module(f"benchmarks.doctor.{framework}_{part}") for part in ("faulty", "healthy"))
    return [*faulty.FAULTY, *healthy.HEALTHY]


def cells(framework: str, quick: bool) -> list[Cell]:
    """Returns one cell for each model; the first one if `quick`."""
    return [Cell(name, config={"cause": cause}) for name, _, cause in examples(framework)[: 1 if quick else None]]


def measure(framework: str, seed: Callable[[], None], cell: Cell, folder: Path) -> dict[str, Any]:
    """Builds a model after `seed`, and examines it."""
    from hae_jax.doctor import examine

    seed()
    given = next(make for name, make, _ in examples(framework) if name == cell.name)()
    *arguments, options = given if framework == "torch" else (*given, {})
    report = examine(*arguments, **options)
    causes = [finding.cause for finding in report.findings]
    return {"verdict": report.verdict, "kind": report.kind, "causes": causes, "seconds": round(report.seconds, 1)}


def seed_keras() -> None:
    """Seeds Python, NumPy and Keras."""
    import keras

    keras.utils.set_random_seed(1)


def seed_torch() -> None:
    """Seeds PyTorch."""
    import torch

    torch.manual_seed(0)


def is_right(record: Record) -> bool:
    """Returns whether the right cause is first, or the verdict on a healthy model is healthy."""
    expected, numbers = record["config"]["cause"], record["numbers"]
    return numbers["verdict"] == "healthy" if expected == "healthy" else numbers["causes"][:1] == [expected]


def render(records: list[Record]) -> str:
    """Renders one row per model, and the shares that are right."""
    lines = ["| model | right | verdict | kind |", "|---|---|---|---|"]
    for record in records:
        numbers = record["numbers"]
        verdict = numbers["causes"][0] if numbers["causes"] else numbers["verdict"]
        lines.append(f"| {record['cell']} | {record['config']['cause']} | {verdict} | {numbers['kind']} |")
    for label, chosen in (
        ("faulty", [each for each in records if each["config"]["cause"] != "healthy"]),
        ("healthy", [each for each in records if each["config"]["cause"] == "healthy"]),
    ):
        if chosen:
            lines.append(f"| **{label}, right** | | **{format_rate(sum(map(is_right, chosen)), len(chosen))}** | |")
    return "\n".join(lines)


BENCHMARKS = tuple(
    Benchmark(f"doctor_{framework}", partial(cells, framework), partial(measure, framework, seed), render, peers=peers)
    for framework, seed, peers in (("keras", seed_keras, ("keras",)), ("torch", seed_torch, ("torch", "torchax")))
)
