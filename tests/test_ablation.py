"""The ablation: rows that differ, and a table with the computation per step of each."""

import json

import pytest

from benchmarks.learning.ablation import SEEDS, VARIANTS, cells, render
from hae_jax.config import Config


def record(name, seed, bleu, work, device="one"):
    curve = [{"step": 100, "code_gap": 1.0, "bleu": bleu / 2}, {"step": 200, "code_gap": 2.0, "bleu": bleu}]
    numbers = {"loss": 1.0, "code_gap": 2.0, "bleu": bleu, "work": work, "curve": curve}
    return {"cell": f"{name}, seed {seed}", "device": {"name": device}, "numbers": numbers}


def test_cells_are_all_rows_seed_by_seed():
    chosen = cells(False)
    assert [cell.seeds[0] for cell in chosen] == [seed for seed in SEEDS for _ in VARIANTS]
    assert len({cell.name for cell in chosen}) == len(chosen)
    configs = {json.dumps(cell.config) for cell in chosen}
    assert len(configs) == len(chosen)
    for cell in chosen:
        config = Config.from_json(json.dumps(cell.config))
        assert config.train.seed == cell.seeds[0]
        assert config.train.steps == 300


@pytest.mark.parametrize("name", ["naive", "the recipe"])
def test_the_naive_model_has_no_ingredient_of_the_recipe(name):
    raw = next(cell.config for cell in cells(False) if cell.name == f"{name}, seed 0")
    config = Config.from_json(json.dumps(raw))
    model = config.model
    assert {
        model.layer_norm == "output", model.initializer == "mirror", model.reverse, model.tie_embeddings,
        model.vector_loss > 0,
        model.sentence_loss > 0, model.feedback == "none", config.optim.sentence_lr_scale < 1,
    } == {name == "the recipe"}  # fmt: skip


def test_work_is_relative_to_the_recipe():
    records = [record("the recipe", 0, 50.0, 0.2), record("the recipe", 1, 60.0, 0.4), record("naive", 0, 0.25, 0.6)]
    lines = render(records).splitlines()[2:]
    assert lines[0] == "| the recipe | 1.00 | 2.00 [2.00, 2.00] | 55.0 [-8.5, 118.5] | 1.0 | 2.00 | 55.0 | 2 |"
    assert lines[1:] == ["| naive | 1.00 | 2.00 | 0.2 | 2.0 | 1.00 | 0.1 | 1 |"]


def test_equal_time_is_the_duration_of_the_fastest_row():
    records = [record("the recipe", 0, 40.0, 0.3), record("code of 512", 0, 8.0, 0.1), record("naive", 0, 4.0, 0.4)]
    scores = [line.split(" | ")[5:7] for line in render(records).splitlines()[2:]]
    # A third of 200 steps, all of them, a quarter of them; before the first evaluation scores are interpolated from 0.
    assert scores == [["0.67", "13.3"], ["2.00", "8.0"], ["0.50", "1.0"]]


def test_work_is_compared_with_the_recipe_on_the_same_processor():
    records = [
        record("the recipe", 0, 50.0, 0.2, "one"), record("the recipe", 1, 50.0, 0.4, "two"),
        record("naive", 0, 0.0, 0.4, "one"), record("naive", 1, 0.0, 0.8, "two"), record("naive", 2, 0.0, 0.6, "three"),
    ]  # fmt: skip
    assert [line.split(" | ")[4] for line in render(records).splitlines()[2:]] == ["1.0", "2.0"]
