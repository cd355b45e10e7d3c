"""Renders results into the pages: each table is generated between `<!-- table:NAME -->` and `<!-- end -->`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.harness.record import Benchmark, Record, Summary, read

PAGES = (
    "README.md",
    "docs/results.md",
    "docs/usefulness.md",
    "docs/mirror.md",
    "docs/gradients.md",
    "docs/remedies.md",
    "docs/series.md",
    "docs/causes.md",
    "docs/torch.md",
    "docs/keras.md",
    "docs/performance.md",
)
"""Pages that contain tables."""
_TABLE = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(table: Benchmark | Summary, results: Path) -> str:
    """Renders one table per device, each followed by the provenance of its numbers unless it is an excerpt."""
    parts = []
    for records in measured(table, results):
        parts.append(table.render(records))
        if not (isinstance(table, Summary) and table.excerpt):
            parts.append(origin(records))
    return "\n\n".join(parts) or "*Not measured yet.*"


def measured(table: Benchmark | Summary, results: Path) -> Iterator[list[Record]]:
    """Yields the records of each device, without those of quick runs."""
    first, *others = table.sources if isinstance(table, Summary) else (table.table,)
    for path in sorted(results.glob(f"{first}-*.json")):
        if not path.stem.endswith("-quick"):
            paths = [path, *(path.with_name(path.name.replace(first, other, 1)) for other in others)]
            if records := [record for each in paths for record in read(each)]:
                yield records


def origin(records: list[Record]) -> str:
    """Returns one line with the device, versions, revisions and seeds of the records."""
    ordered = sorted(records, key=lambda record: record["finished"])
    where = ordered[-1]["device"]
    # Processors with as many cores share a file.
    names = ", ".join(dict.fromkeys(record["device"]["name"] for record in records))
    device = names if where["platform"] == "cpu" else f"{where['count']} x {names}"
    # Peers and package versions may differ between cells, and between the tables of a summary.
    versions: dict[str, dict[str, None]] = {}
    for each in ordered:
        for name, number in each["versions"].items():
            versions.setdefault(name, {})[number] = None
    packages = ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in versions.items())
    commits = dict.fromkeys(
        f"{(record['revision']['commit'] or 'untable')[:10]}{', changed' if record['revision']['dirty'] else ''}"
        for record in records
    )
    commit = f"revision{'s' * (len(commits) > 1)} {', '.join(commits)}"
    seeds = sorted({seed for record in records for seed in record["seeds"]})
    numbers = f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 3 else ", ".join(map(str, seeds))
    return (
        f"<sub>{device}, {where['cores']} cores; {packages}; {commit}; seed{'s' * (len(seeds) > 1)} "
        f"{numbers}; {ordered[-1]['finished'][:10]}.</sub>"
    )


def fill(text: str, all_tables: Mapping[str, Benchmark | Summary], results: Path) -> str:
    """Returns the text of a page with all of its tables rendered anew.

    Args:
        text: Markdown with table markers.
        all_tables: benchmarks and summaries by table name.
        results: folder of the records.

    Raises:
        ValueError: if a marker names an unknown table.
    """

    def replace(marked: re.Match[str]) -> str:
        start, name, end = marked.groups()
        if name not in all_tables:
            raise ValueError(f"table must be one of {', '.join(all_tables)}, got {name}. Correct the marker.")
        return f"{start}{tables(all_tables[name], results)}\n{end}"

    return _TABLE.sub(replace, text)


def update(root: Path, all_tables: Mapping[str, Benchmark | Summary], results: Path) -> None:
    """Writes the current results into all pages, and their figures into `docs/`."""
    for page in (root / name for name in PAGES):
        page.write_text(fill(page.read_text(encoding="utf-8"), all_tables, results), encoding="utf-8")
    for table in all_tables.values():
        if table.draw is not None:
            for records in measured(table, results):
                table.draw(records, root / "docs")
