"""Weights with which the untrained hierarchy reconstructs its input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tolerance import assert_close

from hae_jax import models
from hae_jax.batch import EOD, EOS, Batch
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.layers.mirror_init import GATE_GAIN, INPUT_STD, block_shift
from hae_jax.layers.recurrent import LSTM
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


def test_the_encoder_is_a_shift_register():
    feat, hidden, time = 3, 12, 9
    x = 0.01 * jax.random.normal(jax.random.key(0), (2, time, feat))
    lstm = LSTM(ModelConfig(initializer="mirror"), hidden, feat)
    params = lstm.init(jax.random.key(1), x, jnp.ones((2, time), bool))
    _, output = lstm.apply(params, x, jnp.ones((2, time), bool))
    memory, step = np.zeros((2, hidden)), block_shift(hidden, feat).astype(np.float64)
    for t in range(time):
        memory = memory @ step
        memory[:, :feat] += GATE_GAIN * INPUT_STD * np.asarray(x[:, t], np.float64)
    # A closed forget gate multiplies the cell by 1/20, at every step.
    assert np.corrcoef(np.ravel(output[:, -1]), memory.ravel())[0, 1] > 0.9
    assert 0.8 < np.linalg.norm(output[:, -1]) / np.linalg.norm(memory) < 1.25


def test_gradients_neither_vanish_nor_explode():
    hidden, time = 12, 50
    lstm = LSTM(ModelConfig(initializer="mirror"), hidden, 3)
    mask = jnp.ones((1, time), bool)
    params = lstm.init(jax.random.key(1), jnp.zeros((1, time, 3)), mask)

    def last(first):
        x = jnp.zeros((1, time, 3)).at[0, 0].set(first)
        return lstm.apply(params, x, mask)[1][0, -1]

    values = np.linalg.svd(jax.jacobian(last)(jnp.zeros(3)), compute_uv=False) / (GATE_GAIN * INPUT_STD)
    # Fifty steps of a default LSTM take ten decades. Here each multiplies by |Q + f I|, at most 1 + f and at least
    # 1 - f, where f is the closed forget gate.
    f = 1 / (1 + np.exp(3))
    assert (1 - f) ** time < values.min()
    assert values.max() < (1 + f) ** time


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reverse": False}, "model.reverse must be"),
        ({"layer_norm": "cell"}, "model.layer_norm must be"),
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
