"""What did each technique pay? From the naive step to ours, one after the other; see `speed`.

To add a technique, give `Setting` a field, teach `workload.switched` to turn it off, and put a line into `LADDER`.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import compare
from benchmarks.learning.quickstart import as_json
from benchmarks.speed.table import format_amount, interval
from benchmarks.speed.workload import QUICK, Setting, config_of, step, workload
from hae_jax.config import Config
from hae_jax.config.presets import preset

NAIVE = Setting(scan="loop", loss="full", layout="dense", donate=False)
"""How one writes it first."""
LADDER: tuple[tuple[str, str, str, Any], ...] = (
    ("inputs of all steps multiplied at once", "setting", "scan", "hoisted"),
    ("a gradient of the recurrence of our own", "setting", "scan", "own"),
    ("cross-entropy in tiles, gradients in the same visit", "setting", "loss", "tiled"),
    ("sentences as rows of a table in place of dense documents", "setting", "layout", "tables"),
    ("two tables by length", "data", "buckets", 2),
    ("the old state's memory for the new one", "setting", "donate", True),
)
"""By name: a section, a field of it, and the value with the technique on; what stood there before is off."""
BESIDE: tuple[tuple[str, str, str, Any], ...] = (
    ("optax.clip_by_global_norm in place of the fused clip", "setting", "clip", "optax"),
    ("four tables by length", "data", "buckets", 4),
    ("bfloat16", "model", "dtype", "bfloat16"),
    ("gates and cells found again in place of kept", "model", "remat", True),
    ("sentences decoded in turn, as published (another model)", "model", "feedback", "word"),
)
"""What is not part of our step: choices of the config that a reader may wonder about."""
FIRST = {"buckets": 1}
"""Where the ladder begins in the config."""

Run = tuple[Config, Setting]


def change(run: Run, section: str, field: str, value: Any) -> Run:
    """Returns a run with one field of its setting, or of its config, changed."""
    config, setting = run
    if section == "setting":
        return config, dataclasses.replace(setting, **{field: value})
    return dataclasses.replace(
        config, **{section: dataclasses.replace(getattr(config, section), **{field: value})}
    ), setting


def climb(config: Config) -> list[tuple[str, Run, Run | None]]:
    """Lists names, the naive run with all techniques so far, and our run without this one."""
    run: Run = (change((config, NAIVE), "data", "buckets", FIRST["buckets"])[0], NAIVE)
    steps: list[tuple[str, Run, Run | None]] = [("naive", run, None)]
    ours: Run = (config, Setting())
    for name, section, field, value in LADDER:
        owner = run[1] if section == "setting" else getattr(run[0], section)
        without = change(ours, section, field, getattr(owner, field))
        run = change(run, section, field, value)
        steps.append((name, run, without))
    return steps


def cells(quick: bool) -> list[Cell]:
    """The preset `small`; a small model over random words if it has to be quick."""
    config = QUICK if quick else preset("small")
    shared = {"rounds": 2 if quick else 10, "babble": quick} | as_json(config)
    names = [name for name, *_ in climb(config)] + [name for name, *_ in BESIDE]
    return [Cell(name, config=shared) for name in (names[:1] if quick else names)]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Races our step with the ladder's up to this technique, and with our own without it."""
    config = config_of(cell)
    ours: Run = (config, Setting())
    runs = {"ours": ours}
    for name, so_far, without in climb(config):
        if name == cell.name:
            runs |= {"so far": so_far} | ({"without": without} if without else {})
    for name, *changed in BESIDE:
        if name == cell.name:
            runs["instead"] = change(ours, *changed)
    loads = {run[0]: workload(run[0], folder.parents[1], cell.config["babble"]) for run in runs.values()}
    entrants = [step(name, loads[run[0]], run[1]) for name, run in runs.items() if name == "ours" or run != ours]
    return {"rows": compare(entrants, cell.config["rounds"])}


def render(records: list[Record]) -> str:
    """The ladder: how many times faster than the naive step so far, and what ours loses without each."""
    found = {
        record["cell"]: {row["name"]: row for row in record["numbers"]["rows"]} | {"record": record}
        for record in records
    }
    naive = found.get("naive", {}).get("so far")
    lines = [
        "| technique | words a second so far, naive = 1 | time of ours without it, ours = 1 (interval) "
        "| peak memory so far, MB | seconds to compile |",
        "|---|---|---|---|---|",
    ]
    for name in ["naive", *(name for name, *_ in LADDER)]:
        if name in found and naive:
            rows = found[name]
            so_far, without = rows.get("so far", rows["ours"]), rows.get("without")
            lines.append(
                f"| {'+ ' * (name != 'naive')}{name} | {naive['ratio'] / so_far['ratio']:.2f} "
                f"| {ratio(without) if without else '-'} | {format_amount(so_far['memory'], ',.0f', 1e6)} "
                f"| {format_amount(so_far['compile_seconds'], '.1f')} |"
            )
    for name, *_ in BESIDE:
        if name in found:
            row = found[name]["instead"]
            lines.append(
                f"| not ours: {name} | {format_amount(naive and naive['ratio'] / row['ratio'], '.2f')} | {ratio(row)} "
                f"| {format_amount(row['memory'], ',.0f', 1e6)} | {format_amount(row['compile_seconds'], '.1f')} |"
            )
    return "\n".join(lines)


def ratio(row: dict[str, Any]) -> str:
    """Writes a time over that of ours with its interval; if that holds 1, nobody knows who is faster.

    Example:
        >>> ratio({"ratio": 1.25, "interval": [1.19, 1.31]})
        '1.25 (1.19-1.31)'
    """
    return f"{row['ratio']:.2f} ({interval(row)})"


TABLE = Benchmark("speed_techniques", cells, measure, render)
