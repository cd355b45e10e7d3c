"""How much does each technique contribute? From the naive step to ours, one after the other; see `speed`.

To add a technique, add a field to `Techniques`, its replacement to `workload.substituted`, and a row to `LADDER`.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import compare
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.quickstart import as_json
from benchmarks.speed.table import format_amount, format_interval
from benchmarks.speed.workload import MEASURED, QUICK, Techniques, config_of, step, workload
from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.config.presets import preset

NAIVE = Techniques(scan="loop", loss="full", layout="dense", donate=False)
"""The step without any technique."""
LADDER: tuple[tuple[str, str, str, Any], ...] = (
    ("inputs of all steps multiplied at once", "setting", "scan", "hoisted"),
    ("a gradient of the recurrence of our own", "setting", "scan", "own"),
    ("cross-entropy in tiles, gradients in the same visit", "setting", "loss", "tiled"),
    ("sentences as rows of a table in place of dense documents", "setting", "layout", "tables"),
    ("two tables by length", "data", "buckets", 2),
    ("the old state's memory for the new one", "setting", "donate", True),
)
"""By name: a section, a field of it, and the value that enables the technique."""
ALTERNATIVES: tuple[tuple[str, str, str, Any], ...] = (
    ("optax.clip_by_global_norm in place of the fused clip", "setting", "clip", "optax"),
    ("four tables by length", "data", "buckets", 4),
    ("bfloat16", "model", "dtype", "bfloat16"),
    ("gates and cells found again in place of kept", "model", "remat", True),
    ("sentences decoded in turn, as published (another model)", "model", "feedback", "word"),
)
"""Alternatives that are not part of our step: options of the config."""
FIRST = {"buckets": 1}
"""Fields of the data config of the naive step."""

Run = tuple[Config, Techniques]


def change(run: Run, section: str, field: str, value: Any) -> Run:
    """Returns a run with one field of its setting, or of its config, changed."""
    config, setting = run
    if section == "setting":
        return config, dataclasses.replace(setting, **{field: value})
    return dataclasses.replace(
        config, **{section: dataclasses.replace(getattr(config, section), **{field: value})}
    ), setting


def ladder(config: Config) -> list[tuple[str, Run, Run | None]]:
    """Returns for each technique its name, the naive run with all techniques up to it, and our run without it."""
    run: Run = (change((config, NAIVE), "data", "buckets", FIRST["buckets"])[0], NAIVE)
    steps: list[tuple[str, Run, Run | None]] = [("naive", run, None)]
    ours: Run = (config, Techniques())
    for name, section, field, value in LADDER:
        owner = run[1] if section == "setting" else getattr(run[0], section)
        without = change(ours, section, field, getattr(owner, field))
        run = change(run, section, field, value)
        steps.append((name, run, without))
    return steps


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per technique with the preset `small`; one with a small model and random words if `quick`."""
    config = QUICK if quick else with_fields(preset("small"), MEASURED)
    shared = {"rounds": 2 if quick else 10, "babble": quick} | as_json(config)
    names = [name for name, *_ in ladder(config)] + [name for name, *_ in ALTERNATIVES]
    return [Cell(name, config=shared) for name in (names[:1] if quick else names)]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Times our step, the step with all techniques up to this one, and our step without it."""
    config = config_of(cell)
    ours: Run = (config, Techniques())
    runs = {"ours": ours}
    for name, so_far, without in ladder(config):
        if name == cell.name:
            runs |= {"so far": so_far} | ({"without": without} if without else {})
    for name, *changed in ALTERNATIVES:
        if name == cell.name:
            runs["instead"] = change(ours, *changed)
    loads = {run[0]: workload(run[0], folder.parents[1], cell.config["babble"]) for run in runs.values()}
    contenders = [step(name, loads[run[0]], run[1]) for name, run in runs.items() if name == "ours" or run != ours]
    return {"rows": compare(contenders, cell.config["rounds"])}


def render(records: list[Record]) -> str:
    """Renders the cumulative speedup over the naive step, and the slowdown of our step without each technique."""
    found = {
        record["cell"]: {row["name"]: row for row in record["numbers"]["rows"]} | {"record": record}
        for record in records
    }
    naive = found.get("naive", {}).get("so far")
    lines = [
        "| technique | cumulative tokens per second, naive = 1 | time of ours without it, ours = 1 (interval) "
        "| cumulative peak memory, MB | seconds to compile |",
        "|---|---|---|---|---|",
    ]
    for name in ["naive", *(name for name, *_ in LADDER)]:
        if name in found and naive:
            rows = found[name]
            so_far, without = rows.get("so far", rows["ours"]), rows.get("without")
            lines.append(
                f"| {'+ ' * (name != 'naive')}{name} | {naive['ratio'] / so_far['ratio']:.2f} "
                f"| {format_ratio(without) if without else '-'} | {format_amount(so_far['memory'], ',.0f', 1e6)} "
                f"| {format_amount(so_far['compile_seconds'], '.1f')} |"
            )
    for name, *_ in ALTERNATIVES:
        if name in found:
            row = found[name]["instead"]
            speedup, memory = naive and naive["ratio"] / row["ratio"], row["memory"]
            if naive and step_config(found[name]["record"]) != step_config(found["naive"]["record"]):
                speedup = memory = None
            lines.append(
                f"| not ours: {name} | {format_amount(speedup, '.2f')} "
                f"| {format_ratio(row)} | {format_amount(memory, ',.0f', 1e6)} "
                f"| {format_amount(row['compile_seconds'], '.1f')} |"
            )
    return "\n".join(lines)


def step_config(record: Record) -> tuple[ModelConfig, DataConfig] | None:
    """Returns what determines the step of a record, None if unknown: a preset may change between two measurements, and
    rows of different steps cannot be compared."""
    if "config" not in record:
        return None
    config = config_of(Cell("", config=record["config"]))
    return config.model, config.data


def format_ratio(row: dict[str, Any]) -> str:
    """Formats a time relative to ours with its interval; if that contains 1, the difference is not significant.

    Example:
        >>> format_ratio({"ratio": 1.25, "interval": [1.19, 1.31]})
        '1.25 (1.19-1.31)'
    """
    return f"{row['ratio']:.2f} ({format_interval(row)})"


TABLE = Benchmark("speed_techniques", cells, measure, render)
