"""Weights with which the untrained hierarchy reconstructs its input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tolerance import assert_close

from hae_jax import models
from hae_jax.batch import EOD, EOS, Batch
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.layers.mirror_init import GATE_GAIN, SIGNAL, Register, block_shift
from hae_jax.layers.model_init import model_init
from hae_jax.layers.recurrent import LSTM
from hae_jax.models.registers import word_register
from hae_jax.training import optim

DOCS, SENTS, WORDS, VOCAB = 7, 3, 5, 89
SIZES = {"embed_dim": 64, "hidden_dim": 320, "sentence_dim": 960}
"""Memory for every word of a sentence and for every sentence of a document, but not for the end marks."""


def documents() -> Batch:
    """Independent random words."""
    words = np.asarray(jax.random.randint(jax.random.key(3), (DOCS * SENTS, WORDS), 4, VOCAB, jnp.int32))
    marks = np.full((DOCS * SENTS, 1), EOS, np.int32)
    marks[SENTS - 1 :: SENTS] = EOD
    slots = np.arange(DOCS * SENTS, dtype=np.int32).reshape(DOCS, SENTS)
    return Batch((jnp.asarray(np.concatenate([words, marks], 1)),), jnp.asarray(slots))


def accuracy(**options) -> float:
    """Returns the teacher-forced accuracy of an untrained model."""
    model, batch = models.build(ModelConfig(**SIZES | options), VOCAB), documents()
    params = model.init(jax.random.key(1), batch)
    scores = model.apply(params, model.apply(params, batch, method="encode"), batch, method="score")
    return float((scores.correct & scores.mask).sum() / scores.mask.sum())


@pytest.mark.parametrize(
    "options",
    [
        {"layer_norm": "output"},
        {"layer_norm": "none"},
        {"layer_norm": "output", "layers": 2},
        {"layer_norm": "output", "conditioning": "initial_state"},
        {"layer_norm": "output", "feedback": "word"},
        {"layer_norm": "output", "attention": True},
        {"layer_norm": "output", "embed_dim": 320},
        {"layer_norm": "output", "kind": "flat", "hidden_dim": 1280},
    ],
    ids=str,
)
def test_an_untrained_model_reconstructs_its_input(options):
    assert accuracy(initializer="mirror", **options) > 0.9


def test_with_other_weights_an_untrained_model_is_at_chance():
    assert accuracy(initializer="orthogonal", layer_norm="output") < 0.1


@pytest.mark.parametrize(("hidden", "block"), [(12, 3), (11, 3), (5, 5), (7, 9)])
def test_the_permutation_shifts_blocks_and_rotates_the_last(hidden, block):
    matrix, x, block = block_shift(hidden, block), np.arange(1.0, hidden + 1), min(block, hidden)
    number = hidden // block
    assert_close(matrix @ matrix.T, np.eye(hidden, dtype=np.float32))
    moved = x @ matrix
    for k in range(1, number):
        np.testing.assert_array_equal(moved[k * block : (k + 1) * block], x[(k - 1) * block : k * block])
    np.testing.assert_array_equal(moved[:block], np.roll(x[(number - 1) * block : number * block], 1))
    np.testing.assert_array_equal(moved[number * block :], x[number * block :])


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_the_encoder_is_a_shift_register(gain):
    feat, hidden, time = 3, 12, 9
    x = 0.01 * jax.random.normal(jax.random.key(0), (2, time, feat))
    register = Register(feat, gain=gain)
    lstm, mask = encoder(register, hidden), jnp.ones((2, time), bool)
    _, output = lstm.apply(lstm.init(jax.random.key(1), x, mask), x, mask)
    memory, step = np.zeros((2, hidden)), gain * block_shift(hidden, feat).astype(np.float64)
    for t in range(time):
        memory = memory @ step
        memory[:, :feat] += GATE_GAIN * SIGNAL * np.asarray(x[:, t], np.float64)
    # Nothing leaks through the closed forget gate, and tanh is linear for such small states.
    np.testing.assert_allclose(output[:, -1], memory, rtol=0, atol=1e-4 * np.abs(memory).max())


def test_without_the_correction_the_forget_gate_leaks():
    feat, time = 3, 9
    x, mask = 0.01 * jax.random.normal(jax.random.key(0), (2, time, feat)), jnp.ones((2, time), bool)
    outputs = [
        lstm.apply(lstm.init(jax.random.key(1), x, mask), x, mask)[1][:, -1]
        for lstm in (encoder(Register(feat, exact=exact), 12) for exact in (True, False))
    ]
    assert np.linalg.norm(outputs[0] - outputs[1]) > 0.1 * np.linalg.norm(outputs[0])


def test_gradients_neither_vanish_nor_explode():
    hidden, time = 12, 50
    lstm = LSTM(ModelConfig(initializer="mirror"), hidden, 3)
    mask = jnp.ones((1, time), bool)
    params = lstm.init(jax.random.key(1), jnp.zeros((1, time, 3)), mask)

    def last(first):
        x = jnp.zeros((1, time, 3)).at[0, 0].set(first)
        return lstm.apply(params, x, mask)[1][0, -1]

    values = np.linalg.svd(jax.jacobian(last)(jnp.zeros(3)), compute_uv=False) / (GATE_GAIN * SIGNAL)
    # Fifty steps of a default LSTM take ten decades.
    np.testing.assert_allclose(values, 1, atol=1e-3)


def encoder(register: Register, hidden: int) -> LSTM:
    config = ModelConfig(initializer="mirror")
    return LSTM(config, hidden, register.block, schemes=model_init(config).encoder_layers(register, 1))


SUPERPOSED = {
    "initializer": "mirror", "layer_norm": "output", "conditioning": "initial_state", "embed_dim": 128,
    "hidden_dim": 128,
}  # fmt: skip
"""All words of a sentence share the units of its vector."""


@pytest.mark.parametrize(
    "options", [{"sentence_dim": 3 * 128}, {"sentence_dim": 256, "feedback": "sentence", "sentence_gain": 0.5}], ids=str
)
def test_superposed_vectors_are_decoded_one_after_the_other(options):
    assert accuracy(**SUPERPOSED | options) > 0.95


@pytest.mark.parametrize(("kind", "tokens"), [("hierarchical", 16), ("flat", 64)])
def test_the_decoder_amplifies_the_earliest_word_little(kind, tokens):
    assert 1 < word_register(ModelConfig(kind=kind)).gain ** -tokens < 5
    assert word_register(ModelConfig(kind=kind, word_gain=0.9)).gain == 0.9


def test_decoded_vectors_have_to_be_removed(monkeypatch):
    narrow = SUPERPOSED | {"embed_dim": 64, "hidden_dim": 64, "sentence_dim": 3 * 64}
    full = accuracy(**narrow)
    monkeypatch.setattr(Register, "latest_std", lambda register, hidden: 0.0)
    assert accuracy(**narrow) < full - 0.1


def test_sentences_that_share_units_need_another_permutation_than_words(monkeypatch):
    narrow = {"embed_dim": 64, "hidden_dim": 64, "sentence_dim": 64, "feedback": "sentence", "sentence_gain": 0.7}
    full, shift = accuracy(**SUPERPOSED | narrow), Register.shift
    monkeypatch.setattr(Register, "shift", lambda register, hidden: shift(register._replace(seed=None), hidden))
    assert accuracy(**SUPERPOSED | narrow) < full


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reverse": False}, "model.reverse must be"),
        ({"layer_norm": "cell"}, "model.layer_norm must be"),
        ({"sentence_gain": 0.5}, "model.sentence_gain must be 1 without"),
        ({"bridge": "all_states", "sentence_dim": 256}, "model.bridge must be"),
        ({"use_bias": False}, "model.use_bias must be"),
    ],
)
def test_incompatible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(initializer="mirror", **options)


def test_the_sentence_level_has_its_own_learning_rate():
    optimizer = optim.build(OptimConfig(warmup=0, sentence_lr_scale=0.25, clip="none"), 10)
    params = {"encoder": {"word": jnp.zeros(2), "sentence": jnp.zeros(2)}, "sentence_decoder": jnp.zeros(2)}
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    assert_close(updates["encoder"]["sentence"], 0.25 * updates["encoder"]["word"])
    assert_close(updates["sentence_decoder"], updates["encoder"]["sentence"])


def test_a_learning_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"optim\.sentence_lr_scale must be positive, got 0"):
        OptimConfig(sentence_lr_scale=0.0)
