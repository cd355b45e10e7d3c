"""Tokens per second by the sizes of batch, model and text; see `speed`."""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import compare
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.quickstart import as_json
from benchmarks.speed.table import format_amount
from benchmarks.speed.workload import MEASURED, QUICK, config_of, step, workload
from hae_jax.config import Config
from hae_jax.config.presets import preset

SIZES: dict[str, tuple[str, tuple[int, ...]]] = {
    "documents a batch": ("batch_size", (8, 32, 128)),
    "units": ("hidden_dim", (128, 256, 512)),
    "words a sentence, at most": ("max_tokens", (8, 16, 32)),
    "layers": ("layers", (1, 2, 4)),
    "vocabulary": ("vocab_size", (1000, 4000, 16_000)),
}
"""The varied field and its values, which include those of the preset `small` with batches of 32."""


def scaled(config: Config, field: str, value: int) -> Config:
    """Returns a config of another size; the widths of word vectors and of the sentence level scale with the units."""
    if field == "hidden_dim":
        sizes = {
            name: getattr(config.model, name) * value // config.model.hidden_dim
            for name in ("embed_dim", "hidden_dim", "sentence_dim")
        }
        return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes))
    section = "model" if field == "layers" else "data"
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{field: value})})


def cells(quick: bool) -> list[Cell]:
    """Returns every size that is not the preset's own; one if `quick`."""
    small = with_fields(preset("small"), MEASURED)
    config = dataclasses.replace(small, data=dataclasses.replace(small.data, batch_size=32))
    if quick:
        return [_cell("layers", "layers", 2, QUICK, True)]
    return [
        _cell(name, field, value, config, False)
        for name, (field, values) in SIZES.items()
        for value in values
        if scaled(config, field, value) != config
    ]


def _cell(name: str, field: str, value: int, config: Config, quick: bool) -> Cell:
    settings = {"field": field, "value": value, "rounds": 2 if quick else 4, "babble": quick}
    return Cell(f"{name}: {value:,}", config=settings | as_json(config))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Times the step of another size and the preset's; times are per real token."""
    config = config_of(cell)
    other = scaled(config, cell.config["field"], cell.config["value"])
    loads = [workload(each, folder.parents[1], cell.config["babble"]) for each in (config, other)]
    contenders = [step(name, load) for name, load in zip(("preset", "scaled"), loads, strict=True)]
    return {"rows": compare(contenders, cell.config["rounds"]), "words": [load.size.words for load in loads]}


def render(records: list[Record]) -> str:
    """Renders tokens per second and memory relative to the preset, by varied field."""
    lines = [
        "| | | tokens per second, preset = 1 | peak memory, preset = 1 | seconds to compile |",
        "|---|---|---|---|---|",
    ]
    measured = {record["cell"]: record["numbers"]["rows"] for record in records}
    for name, (_, values) in SIZES.items():
        for index, value in enumerate(values):
            label = f"| {'' if index else name} | {value:,} |"
            if f"{name}: {value:,}" in measured:
                preset, other = measured[f"{name}: {value:,}"]
                lines.append(
                    f"{label} {1 / other['ratio']:.2f} | {other['memory'] / preset['memory']:.2f} "
                    f"| {format_amount(other['compile_seconds'], '.1f')} |"
                )
            else:
                lines.append(f"{label} 1 | 1 | |")
    return "\n".join(lines)


TABLE = Benchmark("speed_scaling", cells, measure, render)
