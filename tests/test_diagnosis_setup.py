"""This package's models as patients: what they offer is what they say, and their own faults would be seen."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.documents import DOCUMENTS, VOCAB, batch

from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.data import Corpus
from hae_jax.diagnosis.setup import laid_out, training_setup
from hae_jax.doctor.examine import BEFORE
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.leakage import mixed
from hae_jax.doctor.tracing.traced_loss import trace_loss
from hae_jax.inference.generate import greedy
from hae_jax.models import build

DATA = DataConfig(max_sentences=4, max_tokens=7, batch_size=5, min_sentences=1)


def own(kind="hierarchical"):
    config = Config(ModelConfig(kind=kind, embed_dim=5, hidden_dim=5, sentence_dim=7), DATA)
    corpus = Corpus.from_documents([[sentence[:-1] for sentence in document] for document in DOCUMENTS] * 3)
    model, rng = build(config.model, VOCAB), np.random.default_rng(3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), shapes)
    data = SimpleNamespace(train=corpus, tokenizer=SimpleNamespace(vocab_size=VOCAB))
    return training_setup(config, model, params, data, batches=2), model


def looked_at(given):
    case = normalize(given)
    chart = ProbeContext(case, read_fields(case), None)
    chart.look = trace_loss(case, chart.fields.size)
    for name in ("weights", "padding", "blank"):
        chart.probe(name, BEFORE[name])
    assert chart.not_run == {}
    return chart


@pytest.mark.parametrize("kind", ["hierarchical", "flat"])
def test_offered_logits_are_those_of_the_words_of_the_text(kind):
    given, model = own(kind)
    params, first, key = given.params, given.batches[0], jax.random.key(0)
    words, logits = first["words"], given.logits(params, first, key)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, words)
    code = given.encode(params, first, key)
    np.testing.assert_allclose(given.decode_loss(params, code, first, key), nll[words != 0].mean(), rtol=1e-5)
    if kind == "flat":
        said = given.free_run(params, first, key)
        assert said.shape == words.shape
        np.testing.assert_array_equal(said, laid_out(np.asarray(greedy(model, params, code, 32)), words.shape))


def test_a_sound_model_counts_no_padding_and_reads_none():
    chart = looked_at(own()[0])
    found = chart.evidence
    assert found["padding_counted"] == found["padding_noise_code"] == found["blank_appended_code"] == 0
    assert found["real_counted"] == 1
    # Training leaves documents out, drawn at random; their codes tell as well whether they are mixed.
    assert mixed(chart)["mixed_share"] == 0


def test_padding_that_is_read_and_counted_and_blank_sentences_are_seen(monkeypatch):
    monkeypatch.setattr("hae_jax.models.encoder.PAD", -1)
    monkeypatch.setattr("hae_jax.models.embedding.PAD", -1)
    monkeypatch.setattr("hae_jax.models.encoder.sentence_mask", lambda batch: jnp.ones(batch.row_index.shape, bool))
    found = looked_at(own()[0]).evidence
    assert found["padding_counted"] == 1
    assert found["padding_noise_code"] > 1e-3
    assert found["blank_appended_code"] > 0.02
