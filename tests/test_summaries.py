"""Tables computed from other tables."""

from benchmarks.gradients import clipping, common_advice, dropout, initialization, summary, trainability
from benchmarks.gradients.schemes import SCHEMES
from benchmarks.harness.record import Summary, write
from benchmarks.harness.report import tables


def test_advice_compares_cells_that_exist():
    names = {cell.name for table in (trainability, clipping, dropout) for cell in table.cells(False)}
    for *_, cell, without, given in common_advice.PAIRS:
        assert {cell.format(without), cell.format(given)} <= names
        assert without != given


def test_the_summary_refers_to_schemes_that_exist():
    cells = {cell.name for cell in trainability.cells(False)}
    for recipe, scheme, norm in summary.ROWS.values():
        assert recipe in initialization.RECIPES
        assert scheme in SCHEMES
        assert {f"{task} | {scheme} | {norm}" for task in (summary.TASK, summary.LONG)} <= cells


def test_a_summary_is_made_of_the_records_of_one_device(tmp_path):
    origin = {"versions": {}, "device": {"platform": "cpu", "name": "X", "count": 1, "cores": 2}, "seeds": [0],
              "revision": {"commit": "c0ffee", "dirty": False}, "finished": "2026-01-01"}  # fmt: skip
    for table, slug, cell in (
        ("a", "here", "one"),
        ("b", "here", "two"),
        ("a", "there", "three"),
        ("a", "here-quick", "no"),
    ):
        write(tmp_path / f"{table}-{slug}.json", {"cell": cell} | origin)
    summary = Summary("both", ("a", "b"), lambda records: " ".join(record["cell"] for record in records))
    assert [part.split("\n")[0] for part in tables(summary, tmp_path).split("\n\n")[::2]] == ["one two", "three"]


def test_only_measured_pairs_are_rendered():
    numbers = {"arrival": [3, None], "loss": [0.5, 0.7], "gap": [1.0, 2.0]}
    records = [{"cell": f"text | glorot, no bias | {norm}", "numbers": numbers} for norm in ("none", "cell")]
    lines = common_advice.render(records).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| layer norm in the cell | text, no bias | 1/2 ")


def test_losses_are_compared_at_the_same_step():
    """A cell that stopped early has a shorter curve, one entry per check, with all seeds in each."""
    short = {"curve": [[3.0, 2.5], [2.0, 1.5]], "loss": [1.0, 1.0], "arrival": [90, 80]}
    long = {"curve": [[3.0, 2.9], [2.8, 2.7], [1.0, 1.0]], "loss": [0.5, 0.5], "arrival": [None, None]}
    assert common_advice.losses_at_shared_step(long, short) == [2.8, 2.7]
    assert common_advice.losses_at_shared_step(short, long) == [2.0, 1.5]
    assert common_advice.losses_at_shared_step({"gap": [1.0], "loss": [3.0]}, {"gap": [2.0], "loss": [2.0]}) == [3.0]
