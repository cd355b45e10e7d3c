"""Results to the pages: tables stand between `<!-- table:NAME -->` and `<!-- end -->`, and nobody types a number."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.harness.record import Benchmark, Record, Summary, read

PAGES = (
    "README.md",
    "docs/gradients.md",
    "docs/remedies.md",
    "docs/series.md",
    "docs/causes.md",
    "docs/performance.md",
)
"""Where tables are shown."""
_TABLE = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(known: Benchmark | Summary, results: Path) -> str:
    """Renders the records of all devices, each table over a line that says where its numbers come from."""
    parts = [f"{known.render(records)}\n\n{origin(records)}" for records in measured(known, results)]
    return "\n\n".join(parts) or "*Not measured yet.*"


def measured(known: Benchmark | Summary, results: Path) -> Iterator[list[Record]]:
    """Returns the records of each device, quick ones left aside."""
    first, *others = known.sources if isinstance(known, Summary) else (known.table,)
    for path in sorted(results.glob(f"{first}-*.json")):
        if not path.stem.endswith("-quick"):
            paths = [path, *(path.with_name(path.name.replace(first, other, 1)) for other in others)]
            if records := [record for each in paths for record in read(each)]:
                yield records


def origin(records: list[Record]) -> str:
    """Says on what the records were measured, in one line."""
    ordered = sorted(records, key=lambda record: record["finished"])
    where = ordered[-1]["device"]
    # Processors with as many cores share a file.
    names = ", ".join(dict.fromkeys(record["device"]["name"] for record in records))
    device = names if where["platform"] == "cpu" else f"{where['count']} x {names}"
    # Not every cell, or table of a summary, has every peer, nor all of a package the same version.
    versions: dict[str, dict[str, None]] = {}
    for each in ordered:
        for name, number in each["versions"].items():
            versions.setdefault(name, {})[number] = None
    packages = ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in versions.items())
    commits = dict.fromkeys(
        f"{(record['revision']['commit'] or 'unknown')[:10]}{', changed' if record['revision']['dirty'] else ''}"
        for record in records
    )
    commit = f"revision{'s' * (len(commits) > 1)} {', '.join(commits)}"
    seeds = sorted({seed for record in records for seed in record["seeds"]})
    numbers = f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 3 else ", ".join(map(str, seeds))
    return (
        f"<sub>{device}, {where['cores']} cores; {packages}; {commit}; seed{'s' * (len(seeds) > 1)} "
        f"{numbers}; {ordered[-1]['finished'][:10]}.</sub>"
    )


def fill(text: str, known: Mapping[str, Benchmark | Summary], results: Path) -> str:
    """Returns a text with the tables that it asks for.

    Args:
        text: a page.
        known: benchmarks and summaries by the names of their tables.
        results: folder of the records.

    Raises:
        ValueError: if it asks for a table that no benchmark makes.
    """

    def replace(found: re.Match[str]) -> str:
        start, name, end = found.groups()
        if name not in known:
            raise ValueError(f"table must be one of {', '.join(known)}, got {name}. Correct the marker.")
        return f"{start}{tables(known[name], results)}\n{end}"

    return _TABLE.sub(replace, text)


def update(root: Path, known: Mapping[str, Benchmark | Summary], results: Path) -> None:
    """Puts the newest results into the pages, and their pictures beside the pages of the docs."""
    for page in (root / name for name in PAGES):
        page.write_text(fill(page.read_text(encoding="utf-8"), known, results), encoding="utf-8")
    for each in known.values():
        if each.draw is not None:
            for records in measured(each, results):
                each.draw(records, root / "docs")
