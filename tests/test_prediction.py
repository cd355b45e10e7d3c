"""Prediction of success from initial weights: recipes of two tables are joined, grouped and drawn."""

import pytest
from scipy.stats import bootstrap, spearmanr

from benchmarks.gradients import initialization, prediction, trainability
from benchmarks.gradients.schemes import SCHEMES
from benchmarks.gradients.summary import TASK


def initial(recipe, slope, forget, norm="none", inputs="noise"):
    numbers = {"predicted": {"mean": slope}, "forget": {"mean": forget}}
    return {"config": {"recipe": recipe, "layer_norm": norm, "inputs": inputs}, "numbers": numbers}


def trained(scheme, learned, loss, norm="none", task=TASK, later=()):
    arrival = [300] * learned + [None] * (10 - learned)
    numbers = {"arrival": arrival, "curve": [[each] * 10 for each in (2.9, loss, *later)]}
    return {"config": {"scheme": scheme, "norm": norm, "task": task}, "numbers": numbers}


RECORDS = [
    initial("flax, forget bias 0", -0.44, 0.5),
    initial("orthogonal, forget bias 2", -0.06, 0.84),
    initial("glorot, no bias", 0.05, 0.5, "cell, gain 1"),
    initial("orthogonal, forget bias 2", 0.5, 0.1, inputs="text"),
    trained("flax default", 0, 2.8, later=(1.0,)),
    trained("orthogonal, forget bias 2", 10, 1.7),
    trained("glorot, no bias", 1, 2.5, "cell"),
    # These are not in table A.
    trained("glorot, no bias", 9, 1.0, "output"),
    trained("orthogonal, forget bias 2", 10, 0.1, task="adding 200")
    | {"numbers": {"arrival": [300] * 10, "curve": [[0.1] * 10]}},
]


def test_every_scheme_with_two_names_is_in_both_tables():
    names = {prediction.TABLE_A_NAMES.get(scheme, scheme) for scheme in SCHEMES}
    assert set(prediction.TABLE_A_NAMES) <= set(SCHEMES)
    assert names - set(initialization.RECIPES) == {"glorot, forget bias 1"}
    norms = {cell.config["norm"] for cell in trainability.cells(False)}
    assert norms - set(prediction.TABLE_A_NORMS) == {"output"}


def test_recipes_of_both_tables_are_joined():
    found = prediction.points(RECORDS)
    assert [(p.name, p.norm, p.slope, p.forget, p.learned, p.seeds, p.loss) for p in found] == [
        ("flax default", "none", -0.44, 0.5, 0, 10, 2.8),
        ("orthogonal, forget bias 2", "none", -0.06, 0.84, 10, 10, 1.7),
        ("glorot, no bias", "cell", 0.05, 0.5, 1, 10, 2.5),
    ]


def test_each_recipe_is_counted_once_and_the_rank_correlation_is_scipys():
    text = prediction.render(RECORDS)
    rows = [
        [part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| slope")
    ]
    assert [row[1] for row in rows] == ["1", "1", "1"]
    assert [row[2].split()[0] for row in rows] == ["0/10", "1/10", "10/10"]
    assert [row[3] for row in rows] == ["0", "0", "1"]
    assert f"{spearmanr([0.44, 0.06, 0.05], [2.8, 1.7, 2.5])[0]:.2f}" in text


def test_adjacent_points_share_a_label_and_normalized_cells_have_none(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(prediction, "draw_success", lambda groups, labels, path: drawn.update(groups))
    adjacent = [initial("torch", -0.45, 0.5), trained("torch default", 0, 2.8)]
    prediction.draw([*RECORDS, *adjacent], tmp_path)
    names = {slope: name for name, slope, *_ in drawn["no layer norm"]}
    assert names == {-0.44: "", -0.45: "torch default / flax default", -0.06: "orthogonal, forget bias 2"}
    assert drawn["layer norm in the cell"] == [("", 0.05, 0.5, 0.1)]


def test_the_interval_of_a_group_is_the_bootstrap_interval_over_recipes():
    rates = [0.0, 0.0, 0.1, 0.4, 0.9, 1.0, 1.0, 0.2]
    expected = bootstrap((rates,), lambda x, axis: x.mean(axis), method="percentile", rng=1).confidence_interval
    assert prediction.bootstrap_interval(rates) == pytest.approx(tuple(expected), abs=0.02)
    records = [
        *(initial(name, -number / 1000, 0.8) for number, name in enumerate(initialization.RECIPES)),
        *(trained(name, 10 * (number % 2), number / 10) for number, name in enumerate(SCHEMES)),
    ]
    (line,) = (line for line in prediction.render(records).splitlines() if line.startswith("| slope"))
    low, high = (int(end) for end in line.split("(")[1].split(" %")[0].split("-"))
    assert high - low > 35, "16 recipes that always or never learn are not 160 independent trials"


def test_recipes_with_exploding_gradients_are_counted():
    records = [initial("glorot, no bias", 0.3, 0.5), trained("glorot, no bias", 4, 2.0)]
    assert "| slope above 0.11 | 1 | 4/10 " in prediction.render(records)
