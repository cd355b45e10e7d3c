"""Measurements and their provenance: records in JSON files, one file per table and device."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FOLDERS = ROOT / "runs" / "benchmarks"
"""One folder per cell, from which an interrupted measurement is resumed."""
PACKAGES = ("jax", "jaxlib", "flax", "optax")

Record = dict[str, Any]
"""`cell`, `config`, `seeds`, `numbers`, and provenance: `versions`, `device`, `revision`, `started`, `finished`."""


@dataclass(frozen=True)
class Cell:
    """One measurement, the unit at which a benchmark is interrupted and resumed.

    Attributes:
        name: key of the cell in its table's file, and name of its folder.
        seeds: all seeds that are used.
        config: all other settings of the measurement; JSON values.
    """

    name: str
    seeds: tuple[int, ...] = (0,)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A table and the measurement of its cells.

    Attributes:
        table: name of the table, of its result files, and of its place in the README; letters and underscores.
        cells: returns the cells, given whether the run is a quick one.
        measure: measures one cell, in a folder of its own that is kept between runs; returns JSON values.
        render: renders records as a Markdown table.
        draw: draws figures of records into a folder; None if there are none.
        peers: packages that are compared if installed, by their names on PyPI.
    """

    table: str
    cells: Callable[[bool], list[Cell]]
    measure: Callable[[Cell, Path], dict[str, Any]]
    render: Callable[[list[Record]], str]
    draw: Callable[[list[Record], Path], None] | None = None
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A table computed from the records of several benchmarks.

    Attributes:
        table: its name.
        sources: tables whose records are used; the first determines the devices.
        render: renders the records of all of them as a table.
        draw: draws figures of them into a folder; None if there are none.
        excerpt: whether it repeats numbers of a table that is shown elsewhere with their provenance.
    """

    table: str
    sources: tuple[str, ...]
    render: Callable[[list[Record]], str]
    draw: Callable[[list[Record], Path], None] | None = None
    excerpt: bool = False


def now() -> str:
    """Returns the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def device() -> dict[str, Any]:
    """Describes the first device and the processor cores available to this process."""
    first = jax.devices()[0]
    name = first.device_kind if first.platform != "cpu" else _processor()
    return {"platform": first.platform, "name": name, "count": jax.device_count(), "cores": _cores()}


def slug() -> str:
    """Returns the device as part of a file name, as in `cpu-2cores`."""
    info = device()
    name = f"cpu-{info['cores']}cores" if info["platform"] == "cpu" else f"{info['name']}-x{info['count']}"
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def versions(peers: tuple[str, ...] = ()) -> dict[str, str]:
    """Returns the versions of Python, of the packages that the numbers depend on, and of installed peers."""
    result = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    for name in peers:
        with suppress(PackageNotFoundError):
            result[name] = version(name)
    return result


def revision() -> dict[str, Any]:
    """Returns the commit, and whether the code differs from it; results and pages may differ."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md", ":!docs")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def read(path: Path) -> list[Record]:
    """Returns the records of a file, none if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def write(path: Path, record: Record) -> None:
    """Writes a record to a file, replacing that of the same cell; a crash leaves the file unchanged."""
    records = {old["cell"]: old for old in read(path)} | {record["cell"]: record}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(list(records.values()), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _git(*arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search("^model name\\s*: (.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return match[1] if match else platform.processor() or platform.machine()
