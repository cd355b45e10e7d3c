"""The healthy twin: which config it is, and that a code that only the twin reads is a finding."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hae_jax.batch import EOD, EOS
from hae_jax.cli.options import fresh
from hae_jax.config import Config, DataConfig, ModelConfig, TrainConfig, preset
from hae_jax.data import Corpus
from hae_jax.diagnosis import examination, twin
from hae_jax.diagnosis.setup import training_setup
from hae_jax.diagnosis.twin import Trained, cause_of, changes, compare_twins, healthy_twin, reads_too_little
from hae_jax.doctor import Report, TrainingSetup
from hae_jax.doctor.rules import RULES

STEPS, VOCAB = 40, 30
TINY = preset("tiny")
SMALL = Config(
    replace(TINY.model, embed_dim=24, hidden_dim=24, sentence_dim=48, topic_dim=0),
    DataConfig(max_sentences=2, max_tokens=4, batch_size=8, min_sentences=1, buckets=1),
    replace(TINY.optim, warmup=0),
    TrainConfig(steps=200),
)
"""The preset "tiny" for documents of two sentences of three words."""


def changed(config, **fields):
    """Returns a config with other fields, named as `model__initializer`."""
    for name, value in fields.items():
        section, field = name.split("__")
        config = replace(config, **{section: replace(getattr(config, section), **{field: value})})
    return config


@pytest.fixture(scope="module")
def untrained():
    words = np.random.default_rng(0).integers(4, VOCAB, (60, 2, 3))
    documents = [[[*document[0], EOS], [*document[1], EOD]] for document in words.tolist()]
    corpus = Corpus.from_documents([[sentence[:-1] for sentence in document] for document in documents])
    data = SimpleNamespace(train=corpus, tokenizer=SimpleNamespace(vocab_size=VOCAB))
    return lambda config: training_setup(config, *fresh(config, data), data, 4)


def report(**evidence):
    return Report([], [], {}, evidence, [], 1.0, STEPS)


def test_the_twin_has_the_sizes_and_the_data_of_the_model_and_the_recipe_of_the_preset():
    sick = changed(TINY, model__initializer="flax", model__hidden_dim=48, data__batch_size=5, optim__learning_rate=1.0)
    healthy = healthy_twin(sick, TINY)
    assert (healthy.model.initializer, healthy.model.hidden_dim, healthy.data.batch_size) == ("mirror", 48, 5)
    assert healthy.optim == TINY.optim
    assert changes(sick, healthy) == "model.initializer flax -> mirror, optim.learning_rate 1.0 -> 0.0003"


def test_a_preset_is_its_own_twin_and_some_sizes_have_none():
    assert healthy_twin(TINY, TINY) is None
    assert healthy_twin(changed(TINY, optim__accumulate=4), TINY) is None
    attends = Config(ModelConfig(attention=True))
    assert healthy_twin(attends, TINY).model.attention
    # A recipe that passes on all states needs equal sizes.
    assert healthy_twin(attends, preset("paper")) is None


@pytest.mark.slow
def test_a_code_that_only_the_twin_reads_is_a_finding_with_both_measured(untrained):
    sick = changed(SMALL, model__initializer="flax")
    found = compare_twins(report(forget_least=0.7), sick, healthy_twin(sick, SMALL), untrained, retrain=True)
    (finding,) = found.findings
    e = finding.evidence
    assert finding.cause == "code-ignored"
    assert found.exit_code == 1
    assert e["code_gap_of_healthy_twin"] > 1 > 10 * abs(e["code_gap"])
    assert e["nll_per_token_of_healthy_twin"] < e["nll_per_token"]
    assert e["steps_of_each"] == STEPS
    assert finding.repair["change"] == "model.initializer flax -> mirror"
    assert found.repair.healed
    assert len(found.repair.losses["sick"]) == len(found.repair.losses["repaired"]) == STEPS
    assert found.repair.left["repaired"] < found.repair.left["sick"]


@pytest.mark.parametrize(
    ("sick", "healthy", "found"),
    [
        (Trained([5.0, 4.0], 0.01, 3.0, True), Trained([5.0, 2.0], 4.0, 2.0, True), True),
        (Trained([5.0, 90.0], math.nan, math.nan, False), Trained([5.0, 2.0], 4.0, 2.0, True), True),
        (Trained([5.0, 4.0], 0.01, 3.0, True), Trained([5.0, 4.0], 0.1, 3.0, True), False),
        (Trained([5.0, 3.0], 2.0, 2.5, True), Trained([5.0, 2.0], 4.0, 2.0, True), False),
        (Trained([5.0, 4.0], 0.01, 3.0, True), None, False),
        (None, Trained([5.0, 2.0], 4.0, 2.0, True), False),
    ],
    ids=["unread", "diverged", "neither reads", "both read", "cut before", "cut after"],
)
def test_only_a_twin_that_reads_its_code_makes_a_finding(monkeypatch, sick, healthy, found):
    config = changed(SMALL, model__initializer="flax")
    runs = {config: sick, SMALL: healthy}
    monkeypatch.setattr(twin, "train", lambda config, steps, deadline: runs[config])
    result = compare_twins(report(), config, SMALL, lambda config: config, retrain=True)
    assert bool(result.findings) == bool(result.repair) == found
    if sick and not found:
        evidence = {"curve": sick.loss, "last_code_permuted": sick.gap, "last_code_loss": sick.nll}
        evidence["trained_finite"] = sick.finite
        again = compare_twins(report(**evidence), config, SMALL, lambda config: config, retrain=False)
        assert not again.findings


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"last_code_permuted": 4.2, "last_code_loss": 2.9}, False),
        ({"last_code_permuted": 0.03, "last_code_loss": 6.1}, True),
        ({"last_code_permuted": float("nan"), "last_code_loss": 6.1}, True),
        ({}, True),
    ],
)
def test_nothing_is_trained_for_a_model_that_reads_its_code(evidence, expected):
    assert reads_too_little(evidence) == expected
    never = report(**evidence)
    if not expected:
        assert compare_twins(never, SMALL, SMALL, lambda config: None, retrain=True) is never


@pytest.mark.parametrize(
    ("fields", "evidence", "cause"),
    [
        ({"optim__learning_rate": 3.0}, {}, "learning-rate-too-high"),
        ({"optim__learning_rate": 1e-9}, {}, "learning-rate-too-low"),
        ({"optim__clip": "value"}, {}, "clip-too-tight"),
        ({"optim__b1": 0.5}, {}, "code-ignored"),
        ({"model__initializer": "flax", "model__forget_bias": 1.0}, {"forget_least": 0.7}, "code-ignored"),
        ({"model__initializer": "flax"}, {"forget_least": 0.49}, "forget-gate-closed"),
        ({"model__reverse": False, "model__initializer": "keras"}, {}, "code-ignored"),
    ],
)
def test_the_cause_is_that_of_the_fields_that_differ(fields, evidence, cause):
    sick = replace(SMALL, model=replace(SMALL.model, initializer="orthogonal")) if "model__reverse" in fields else SMALL
    sick = changed(sick, **fields)
    assert cause_of(evidence, sick, SMALL) == cause
    assert cause in {rule.cause for rule in RULES}


def test_a_healthy_twin_is_trained_only_if_nothing_was_found(monkeypatch):
    calls, setup = [], TrainingSetup(sum, [], [])
    monkeypatch.setattr(examination, "examine", lambda *given, **options: report(last_code_loss=1.0))
    monkeypatch.setattr(examination, "compare_twins", lambda found, *given, **options: calls.append(options) or found)
    examination.diagnose(SMALL, setup, SMALL, lambda config: setup)
    assert calls == [], "a preset is its own healthy twin"
    sick = changed(SMALL, optim__learning_rate=2.0)
    examination.diagnose(sick, setup, SMALL, lambda config: setup, trained=True, seconds=9.0)
    assert calls[0]["retrain"]
    assert 0 < calls[0]["seconds"] <= 9
    examination.diagnose(sick, setup, SMALL, lambda config: setup, seconds=1e-9)
    assert len(calls) == 1, "no time is left"
