"""What was measured, and on what: records in JSON files, one file for each table and device."""

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
"""Where each cell has a folder of its own, in which a measurement that was stopped can go on."""
PACKAGES = ("jax", "jaxlib", "flax", "optax")

Record = dict[str, Any]
"""`cell`, `config`, `seeds`, `numbers`, and where they come from: `versions`, `device`, `revision`, `started`,
`finished`."""


@dataclass(frozen=True)
class Cell:
    """One thing to measure, the unit in which a benchmark stops and goes on.

    Attributes:
        name: stands for the cell in its table's file, and names its folder.
        seeds: all seeds that play a part.
        config: what else decides about the numbers; JSON values.
    """

    name: str
    seeds: tuple[int, ...] = (0,)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A table and how its cells are measured.

    Attributes:
        table: name of the table, of its result files, and of its place in the README; letters and underscores.
        cells: what to measure, given whether it has to be quick.
        measure: measures one cell in a folder that is its own and kept between runs; returns JSON values.
        render: turns records into the table, as Markdown.
        draw: draws pictures of records into a folder; None for a table without.
        peers: other people's packages that take part where they are installed, as pip names them.
    """

    table: str
    cells: Callable[[bool], list[Cell]]
    measure: Callable[[Cell, Path], dict[str, Any]]
    render: Callable[[list[Record]], str]
    draw: Callable[[list[Record], Path], None] | None = None
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A table made of what several benchmarks have measured.

    Attributes:
        table: its name.
        sources: tables whose records it is made of, the deciding one first.
        render: turns the records of all of them into the table.
        draw: draws pictures of them into a folder; None for a table without.
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
    """Describes the first device and the processor cores that this process may use."""
    first = jax.devices()[0]
    name = first.device_kind if first.platform != "cpu" else _processor()
    return {"platform": first.platform, "name": name, "count": jax.device_count(), "cores": _cores()}


def slug() -> str:
    """Returns the device as part of a file name, as in `cpu-2cores`."""
    this = device()
    name = f"cpu-{this['cores']}cores" if this["platform"] == "cpu" else f"{this['name']}-x{this['count']}"
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def versions(peers: tuple[str, ...] = ()) -> dict[str, str]:
    """Returns the versions of Python, of the packages that the numbers depend upon, and of peers that are installed."""
    found = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    for name in peers:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def revision() -> dict[str, Any]:
    """Returns the commit, and whether the code differs from it; results and pages may differ."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md", ":!docs")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def read(path: Path) -> list[Record]:
    """Returns the records of a file, none if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def write(path: Path, record: Record) -> None:
    """Puts a record into a file, in the place of any of the same cell; a crash leaves the file as it was."""
    records = {old["cell"]: old for old in read(path)} | {record["cell"]: record}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(list(records.values()), indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search("^model name\\s*: (.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()
