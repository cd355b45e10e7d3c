"""Are long texts reconstructed as well as short ones?

    python -m benchmarks run whole_texts

Trains the preset `small` on the State of the Union addresses, as `first_run` does, and reconstructs every text of the
held-out addresses as a whole, as `hae reconstruct` does: each paragraph, of any length, and each address, of hundreds
of codes. A text longer than one code is divided into windows, and the decoded windows are joined. BLEU-4 and exact
matches compare whole texts, in which a run of white space counts as one space.

Device: two CPU cores, at most 15 minutes of training and 3 of measuring.
Expected: no row is more than 2 points of BLEU-4 below the paragraphs of one code.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from hae_jax.data import Dataset, read
from hae_jax.data.cache import group_number
from hae_jax.inference.metrics import bleu, exact_match
from hae_jax.inference.texts import Reconstruction, iter_reconstruct
from hae_jax.trained import TrainedModel

RANGES = {"1": (1, 1), "2": (2, 2), "3-5": (3, 5), "6 or more": (6, None)}
"""Numbers of codes of a paragraph by row of the table, from the least to the greatest."""
TOLERANCE = 2.0
"""BLEU-4 by which a longer text may be worse than the short ones."""


def held_out_addresses(model: TrainedModel) -> list[list[str]]:
    """Returns the paragraphs of each held-out address, in order, including those too short for the training text."""
    groups = Dataset.load(model.workdir / "data").heldout.groups
    assert groups is not None, "a corpus without groups is of a version before 0.5"
    held_out = set(map(int, np.unique(groups)))
    addresses: dict[str, list[str]] = {}
    for document in read(model.config.data.corpus):
        if group_number(document.group) in held_out:
            addresses.setdefault(document.group, []).append(document.text)
    return list(addresses.values())


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains as `first_run` does, and reconstructs paragraphs and whole addresses."""
    scores = quickstart.measure(cell, folder)
    model = TrainedModel.load(folder / "workdir")
    addresses = held_out_addresses(model)
    paragraphs = list(iter_reconstruct(model, (text for address in addresses for text in address)))
    rows = {}
    for name, (low, high) in RANGES.items():
        found = [each for each in paragraphs if low <= each.windows and (high is None or each.windows <= high)]
        if found:
            rows[f"paragraphs, {name} code{'s' * (name != '1')}"] = row(found)
    rows["whole addresses"] = row(iter_reconstruct(model, map("\n\n".join, addresses)))
    return {"rows": rows, "steps": scores["steps"], "minutes": scores["minutes"]}


def row(found: Iterable[Reconstruction]) -> dict[str, float]:
    """Returns the scores of reconstructed texts."""
    found = list(found)
    sources = [" ".join(each.source.split()) for each in found]
    outputs = [each.reconstruction for each in found]
    windows = [each.windows for each in found]
    return {
        "texts": len(found), "codes": float(np.mean(windows)), "most": max(windows),
        "tokens": float(np.mean([each.words for each in found])),
        "bleu": bleu(sources, outputs), "exact": exact_match(sources, outputs),
        "lowest": min(bleu([source], [output]) for source, output in zip(sources, outputs, strict=True)),
    }  # fmt: skip


def render(records: list[Record]) -> str:
    """Renders one row per range of lengths, and whether the longer texts are as good as the short ones."""
    parts = []
    for record in records:
        rows = record["numbers"]["rows"]
        short, *longer = rows.values()
        worst = min(other["bleu"] for other in longer) - short["bleu"]
        parts += [
            "| held-out texts | number | codes a text | at most | tokens a text | BLEU-4 | lowest of a text | exact |",
            "|---" * 8 + "|",
            *(
                f"| {name} | {n['texts']:,} | {n['codes']:.1f} | {n['most']:,} | {n['tokens']:,.0f} | {n['bleu']:.1f} "
                f"| {n['lowest']:.1f} | {n['exact']:.1%} |"
                for name, n in rows.items()
            ),
            "",
            f"The lowest row of longer texts minus paragraphs of one code: {worst:+.1f} points of BLEU-4 "
            f"({'met' if worst >= -TOLERANCE else 'missed'}: at least {-TOLERANCE:.0f}).",
        ]
    return "\n".join(parts)


BENCHMARKS = (Benchmark("whole_texts", quickstart.cells, measure, render),)
