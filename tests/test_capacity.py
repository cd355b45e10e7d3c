"""Autoencoding of random sequences: data, metrics, and that an interrupted run is resumed."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from benchmarks.__main__ import run
from benchmarks.harness.matched_size import count_parameters, match_size
from benchmarks.harness.record import read, slug
from benchmarks.learning import capacity, random_sequences
from benchmarks.learning.random_sequences import (
    SYMBOLS,
    VOCAB,
    Setting,
    draw,
    end_marks,
    evaluate_sequences,
    matching_symbols,
    train,
)
from hae_jax import models
from hae_jax.batch import EOD, EOS, PAD, SPECIALS
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.inference.generate import split
from hae_jax.inference.teacher_forcing import encode, score

HIERARCHICAL = ModelConfig(embed_dim=7, hidden_dim=11, sentence_dim=13)
FLAT = dataclasses.replace(HIERARCHICAL, kind="flat")
OPTIM = OptimConfig(learning_rate=1e-2, warmup=3)


def setting(model, length=12, minutes=1.0):
    return Setting(length, 5, 8, minutes, model, OPTIM)


@pytest.mark.parametrize(("length", "segment"), [(20, 5), (23, 5), (3, 5), (5, 5), (1, 1)])
def test_sequences_are_cut_into_sentences_and_marked(length, segment):
    batch = draw(jax.random.key(0), 7, length, segment)
    (table,) = batch.buckets
    rows = np.asarray(table)[np.asarray(batch.row_index)]
    for document, ids in zip(split(rows.reshape(7, -1)), rows.reshape(7, -1), strict=True):
        assert [len(sentence) for sentence in document[:-1]] == [segment] * (len(document) - 1)
        assert sum(map(len, document)) == length
        assert all(len(SPECIALS) <= symbol < VOCAB for sentence in document for symbol in sentence)
        real = ids[ids != PAD]
        assert real[-1] == EOD
        assert (real == EOS).sum() == len(document) - 1


def test_symbols_are_independent_and_uniform():
    batch = draw(jax.random.key(1), 2000, 10, 10)
    symbols = np.asarray(batch.buckets[0])[:, :10] - len(SPECIALS)
    share = np.bincount(symbols.ravel(), minlength=SYMBOLS) / symbols.size
    assert len(share) == SYMBOLS
    assert abs(share * SYMBOLS - 1).max() < 0.25
    assert abs((symbols[:, 1:] == symbols[:, :-1]).mean() * SYMBOLS - 1) < 0.2


@pytest.mark.parametrize("config", [HIERARCHICAL, FLAT, dataclasses.replace(HIERARCHICAL, feedback="word")])
def test_end_marks_are_found_whatever_the_order_of_the_scores(config):
    model, batch = models.build(config, VOCAB), draw(jax.random.key(2), 3, 12, 5)
    params = model.init(jax.random.key(0), batch)["params"]
    scores = jax.device_get(score(model, params, encode(model, params, batch), batch))
    marks = end_marks(scores)
    assert marks.sum() == 3 * 3
    assert (scores.mask & ~marks).sum() == 3 * 12
    # With a large bias for end marks, only the scores at these positions become small.
    biased = {"words": params["words"] | {"bias": params["words"]["bias"].at[np.array([EOS, EOD])].set(50.0)}}
    after = jax.device_get(score(model, params | biased, encode(model, params, batch), batch))
    assert after.nll[marks].max() < 5
    assert after.nll[scores.mask & ~marks].min() > 20


def test_a_model_with_zero_parameters_recovers_no_bits():
    model = models.build(FLAT, VOCAB)
    params = model.init(jax.random.key(0), draw(jax.random.key(0), 2, 12, 5))["params"]
    zeros = jax.tree.map(lambda leaf: 0 * leaf, params)
    scores = evaluate_sequences(model, zeros, setting(FLAT), 64)
    # 54 equally probable words: log2 54 bits per symbol are more than log2 50.
    assert scores == {"forced": 0, "free": 0, "exact": 0, "bits": 0}


def test_bits_are_the_entropy_of_the_symbols_minus_the_cross_entropy():
    batch = draw(jax.random.key(0), 2, 12, 5)
    model = models.build(dataclasses.replace(FLAT, tie_embeddings=False), VOCAB)
    params = model.init(jax.random.key(0), batch)["params"]
    # Only special ids are excluded: all symbols are equally probable.
    bias = np.zeros(VOCAB, np.float32)
    bias[: len(SPECIALS)] = -1e4
    words = jax.tree.map(lambda leaf: 0 * leaf, params["words"]) | {"bias": jax.numpy.asarray(bias)}
    scores = evaluate_sequences(model, params | {"words": words}, setting(FLAT), 64)
    assert scores["bits"] == pytest.approx(0, abs=1e-3)
    assert scores["forced"] == pytest.approx(1 / SYMBOLS, abs=0.02)


def test_symbols_are_compared_by_position():
    assert matching_symbols([5, 6, 7], [5, 6, 7]) == 3
    assert matching_symbols([5, 6, 7], [6, 7]) == 0
    assert matching_symbols([5, 6], [5, 6, 7]) == 2


def test_a_large_code_learns_short_sequences_exactly(tmp_path):
    (tmp_path / "steps.json").write_text("400")
    model = ModelConfig(embed_dim=32, hidden_dim=64, sentence_dim=64)
    numbers = train(Setting(2, 2, 32, 0.5, model, OptimConfig(learning_rate=1e-2, warmup=20)), 0, tmp_path)
    assert numbers["free"] > 0.95
    assert numbers["bits"] > 0.9 * 2 * math.log2(SYMBOLS)
    assert numbers["bits"] <= 2 * math.log2(SYMBOLS)
    assert numbers["code"] == 64


def test_a_resumed_run_has_the_same_result(tmp_path, monkeypatch):
    monkeypatch.setattr(random_sequences, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(random_sequences, "CURVE_POINTS", 2)
    monkeypatch.setattr(random_sequences, "EVAL_SEQUENCES", 64)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "steps.json").write_text("40")
    wanted = train(setting(HIERARCHICAL), 3, whole)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(random_sequences, "evaluate_sequences", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(setting(HIERARCHICAL), 3, cut)
    assert json.loads((cut / "curve.json").read_text()) == []
    assert any((cut / "checkpoints").iterdir())
    got = train(setting(HIERARCHICAL), 3, cut)
    timeless = ("steps", "forced", "free", "exact", "bits", "skipped_updates")
    assert {name: got[name] for name in timeless} == {name: wanted[name] for name in timeless}
    assert [at["step"] for at in got["curve"]] == [20, 40]
    assert not (cut / "checkpoints").exists()


def test_a_measurement_becomes_a_record(tmp_path, monkeypatch):
    monkeypatch.setattr(random_sequences, "EVAL_SEQUENCES", 64)
    table = next(each for each in capacity.BENCHMARKS if each.table == "capacity")
    (cell,) = table.cells(True)
    assert run(table, True, False, tmp_path, tmp_path / "work") == 0
    (record,) = read(tmp_path / f"capacity-{slug()}-quick.json")
    assert record["cell"] == cell.name
    assert 0 <= record["numbers"]["free"] <= 1
    assert "code of 16" in table.render([record])


def test_a_run_takes_the_planned_steps_on_a_slow_machine(tmp_path, monkeypatch):
    (tmp_path / "steps.json").write_text("4")
    ticks = iter(np.arange(1000) * 3600.0)
    monkeypatch.setattr(random_sequences, "compute_seconds", lambda: next(ticks))
    numbers = train(setting(FLAT, minutes=1e-3), 0, tmp_path)
    assert numbers["steps"] == 4
    assert numbers["minutes"] >= 60


@pytest.mark.parametrize("code", [64, 1024])
def test_both_models_have_as_many_parameters(code):
    ours, theirs = (count_parameters(make(code), VOCAB) for make in (capacity.hierarchical, capacity.flat))
    assert abs(ours / theirs - 1) < 0.01


def test_parameters_are_those_of_the_model_that_is_built():
    batch = draw(jax.random.key(0), 2, 12, 5)
    for config in (HIERARCHICAL, FLAT, dataclasses.replace(HIERARCHICAL, attention=True)):
        params = models.build(config, VOCAB).init(jax.random.key(0), batch)["params"]
        assert count_parameters(config, VOCAB) == sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("field", ["hidden_dim", "sentence_dim"])
def test_the_width_found_is_the_nearest(field):
    target = 20_000
    matched = match_size(HIERARCHICAL, VOCAB, target, (field,))
    width = getattr(matched, field)
    errors = [
        abs(count_parameters(dataclasses.replace(matched, **{field: other}), VOCAB) - target)
        for other in (width - 1, width, width + 1)
    ]
    assert errors[1] == min(errors)


def test_widths_keep_their_proportions():
    model = dataclasses.replace(HIERARCHICAL, hidden_dim=10, embed_dim=5, sentence_dim=40)
    matched = match_size(model, VOCAB, 50_000, ("hidden_dim", "embed_dim", "sentence_dim"))
    assert matched.hidden_dim > 12
    assert (2 * matched.embed_dim, matched.sentence_dim) == (
        pytest.approx(matched.hidden_dim, abs=1),
        4 * matched.hidden_dim,
    )


def test_a_model_that_is_too_large_at_any_width_is_refused():
    with pytest.raises(ValueError, match=r"target must be at least [\d,]+ parameters, got 10\. Shrink"):
        match_size(FLAT, VOCAB, 10)


def numbers(code):
    at = {"forced": 0.75, "free": 0.5, "exact": 0.25, "bits": 32.0}
    curve = [{"step": 1, "minutes": 2.0, **at, "free": 0.25}, {"step": 2, "minutes": 4.0, **at}]
    return at | {"steps": 2, "minutes": 4.0, "parameters": 1234, "code": code, "skipped_updates": 0, "curve": curve}


@pytest.mark.parametrize("benchmark", capacity.BENCHMARKS, ids=lambda benchmark: benchmark.table)
def test_tables_and_figures_show_the_measurements(benchmark, tmp_path):
    cells = benchmark.cells(False)
    assert len({cell.name for cell in cells}) == len(cells) == (6 if benchmark.table == "memory" else 24)
    records = [json.loads(json.dumps({"cell": c.name, "config": c.config, "numbers": numbers(64)})) for c in cells]
    text = benchmark.render(records)
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    if benchmark.table == "memory":
        assert "| 1,234 | 64 | 75.0% | 50.0% | 25.0% | 0.50 | 4 min | - | - | 2 | 4 |" in text
    else:
        assert text.count("50% / 25%, 0.50") == 24
        # An unmeasured cell is empty.
        assert "|  |" in benchmark.render(records[:-1])
    benchmark.draw(records, tmp_path)
    assert (tmp_path / f"{benchmark.table}.png").stat().st_size > 10_000


def test_a_flat_model_reads_one_sentence_and_a_hierarchical_one_ten():
    for cell in capacity.cells(False):
        setting = Setting.of(json.loads(json.dumps(cell.config)))
        assert -(-setting.length // setting.segment) == (1 if setting.model.kind == "flat" else 10)
        assert setting.to_dict() == cell.config
