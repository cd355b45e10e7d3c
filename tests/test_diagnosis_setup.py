"""This package's models as training setups: functions agree with the text, and faults of the models would be found."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.documents import DOCUMENTS, VOCAB, batch

from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.data import Corpus
from hae_jax.diagnosis.setup import as_documents, training_setup
from hae_jax.doctor.examine import BEFORE_TRAINING
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.leakage import mixed
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.tracing.traced_loss import trace_loss
from hae_jax.inference.generate import greedy
from hae_jax.models import build

DATA = DataConfig(max_sentences=4, max_tokens=7, batch_size=5, min_sentences=1)


def setup_of(kind="hierarchical"):
    config = Config(ModelConfig(kind=kind, embed_dim=5, hidden_dim=5, sentence_dim=7), DATA)
    corpus = Corpus.from_documents([[sentence[:-1] for sentence in document] for document in DOCUMENTS] * 3)
    model, rng = build(config.model, VOCAB), np.random.default_rng(3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), shapes)
    data = SimpleNamespace(train=corpus, tokenizer=SimpleNamespace(vocab_size=VOCAB))
    return training_setup(config, model, params, data, batches=2), model


def probed(setup):
    normalized = normalize(setup)
    context = ProbeContext(normalized, read_fields(normalized), ShortTraining(normalized))
    context.traced_loss = trace_loss(normalized, context.fields.batch_size)
    for name in ("weights", "padding", "blank"):
        context.run(name, BEFORE_TRAINING[name])
    assert context.not_run == {}
    return context


@pytest.mark.parametrize("kind", ["hierarchical", "flat"])
def test_logits_are_in_the_order_of_the_text(kind):
    setup, model = setup_of(kind)
    params, first, key = setup.params, setup.batches[0], jax.random.key(0)
    words, logits = first["words"], setup.logits(params, first, key)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, words)
    code = setup.encode(params, first, key)
    np.testing.assert_allclose(setup.decode_loss(params, code, first, key), nll[words != 0].mean(), rtol=1e-5)
    if kind == "flat":
        ids = setup.free_run(params, first, key)
        assert ids.shape == words.shape
        np.testing.assert_array_equal(ids, as_documents(np.asarray(greedy(model, params, code, 32)), words.shape))


def test_padding_is_neither_counted_nor_encoded():
    context = probed(setup_of()[0])
    found = context.evidence
    assert found["padding_counted"] == found["padding_noise_code"] == found["blank_appended_code"] == 0
    assert found["real_counted"] == 1
    # The loss leaves out documents at random; whether they are mixed is then measured by their codes.
    assert mixed(context)["mixed_share"] == 0


def test_counted_and_encoded_padding_and_blank_sentences_are_detected(monkeypatch):
    monkeypatch.setattr("hae_jax.models.encoder.PAD", -1)
    monkeypatch.setattr("hae_jax.models.embedding.PAD", -1)
    monkeypatch.setattr("hae_jax.models.encoder.sentence_mask", lambda batch: jnp.ones(batch.row_index.shape, bool))
    found = probed(setup_of()[0]).evidence
    assert found["padding_counted"] == 1
    assert found["padding_noise_code"] > 1e-3
    assert found["blank_appended_code"] > 0.02
