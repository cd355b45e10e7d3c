"""The autoencoders against their oracle, forward and backward."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import DOCUMENTS, batch
from support.model_grid import SIZES, VARIANTS, by_sentence, compiled, differentiated, drawn
from support.oracle_models import Oracle, nats
from support.tolerance import assert_close

from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss

WORDS = sum(len(sentence) for document in DOCUMENTS for sentence in document)


def combination(feedback, bridge, conditioning):
    """Options that spread over the combinations, so that each meets each of the others somewhere."""
    sizes = SIZES | ({"sentence_dim": SIZES["hidden_dim"]} if bridge == "all_states" else {})
    attention = feedback != "word" or conditioning == "initial_state"
    layers = 2 if (feedback, bridge) in (("none", "all_states"), ("sentence", "top_hidden")) else 1
    options = {"feedback": feedback, "bridge": bridge, "conditioning": conditioning}
    return ModelConfig(**sizes, **options, attention=attention, layers=layers)


CONFIGS = {
    f"{feedback}-{bridge}-{conditioning}": combination(feedback, bridge, conditioning)
    for feedback, bridge, conditioning in product(
        ("none", "sentence", "word"), ("top_hidden", "all_states"), ("initial_state", "every_step")
    )
} | {
    "flat-last-every": ModelConfig(**SIZES, kind="flat"),
    "flat-all-start": ModelConfig(**SIZES, kind="flat", bridge="all_states", conditioning="initial_state", layers=2),
    "layer norm": ModelConfig(**SIZES, layer_norm="cell", feedback="sentence", layers=2),
    "layer norm of outputs": ModelConfig(**SIZES, layer_norm="output", feedback="word", layers=2, attention=True),
    "layer norm of outputs, sentence, no biases": ModelConfig(
        **SIZES, layer_norm="output", feedback="sentence", use_bias=False
    ),
    "layer norm, no biases": ModelConfig(**SIZES, layer_norm="cell", use_bias=False),
    "flat, layer norm of outputs": ModelConfig(**SIZES, kind="flat", layer_norm="output"),
    "tied, no biases, no sentence loss": ModelConfig(
        embed_dim=3, hidden_dim=3, sentence_dim=7, tie_embeddings=True, use_bias=False, sentence_loss=0
    ),
    "untied, forwards": ModelConfig(**SIZES, tie_embeddings=False, reverse=False),
    "noise that must be silent": ModelConfig(
        **SIZES, feedback="word", input_dropout=0.3, recurrent_dropout=0.2, word_dropout=0.4,
        zoneout_cell=0.5, zoneout_hidden=0.1,
    ),
}  # fmt: skip


def oracle_of(config, params):
    return Oracle(config, jax.tree.map(lambda x: np.asarray(x, np.float64), params))


def summed(rows):
    return np.float64(sum(sum(map(sum, nats(r, d))) for r, d in zip(rows, DOCUMENTS, strict=True)))


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_equal_the_oracles(name):
    config = CONFIGS[name]
    oracle = oracle_of(config, drawn(config)[1])
    losses, code, scores = compiled(config)(batch())
    codes = [oracle.encode(document) for document in DOCUMENTS]
    rows = [oracle.decode(*c, document) for c, document in zip(codes, DOCUMENTS, strict=True)]
    assert_close(code.document[: len(DOCUMENTS)], np.array([c for c, _ in codes]))
    assert_close(losses.reconstruction, Loss(summed(rows), np.float64(WORDS)), slack=10)
    if config.kind == "flat" or config.sentence_loss == 0:
        assert losses.sentence is None
    else:
        sentence_loss = summed([oracle.decode_from_encoder_vectors(document) for document in DOCUMENTS])
        assert_close(losses.sentence, Loss(sentence_loss, np.float64(WORDS)), slack=10)
    expected, likeliest = {}, {}
    for number, (document, r) in enumerate(zip(DOCUMENTS, rows, strict=True)):
        for place, (sentence, values) in enumerate(zip(nats(r, document), r, strict=True)):
            expected[number, place] = np.array(sentence)
            likeliest[number, place] = [np.argmax(v) == w for v, w in zip(values, document[place], strict=True)]
    assert_close(by_sentence(scores), expected, slack=10)
    assert_close(by_sentence(scores._replace(nll=scores.correct)), {k: np.array(v) for k, v in likeliest.items()})


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_equal_the_oracles_slope(name):
    """Moving all parameters a little changes the float64 loss as the float32 gradient predicts."""
    config = VARIANTS[name]
    _, params = drawn(config)
    _, gradient = differentiated(config)(batch())
    # One direction for each top-level module, so that none can hide behind another.
    for part in params:
        way = jax.tree.map(jnp.zeros_like, params) | {part: jax.tree.map(jnp.sign, gradient[part])}

        def loss(amount, way=way):
            moved = jax.tree.map(lambda p, w: np.asarray(p, np.float64) + amount * np.asarray(w), params, way)
            oracle = Oracle(config, moved)
            through = summed([oracle.decode(*oracle.encode(document), document) for document in DOCUMENTS])
            if config.kind == "flat":
                return through
            return through + 0.3 * summed([oracle.decode_from_encoder_vectors(document) for document in DOCUMENTS])

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        predicted = sum(np.abs(np.asarray(g, np.float64)).sum() for g in jax.tree.leaves(gradient[part]))
        assert predicted > 0.1
        np.testing.assert_allclose(predicted, slope, rtol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_decoding_word_by_word_gives_the_scores(name):
    """`start` and `step`, fed the document's own words, give each word the nats that `score` gives it."""
    config = VARIANTS[name]
    model, params = drawn(config)
    _, code, scores = compiled(config)(batch())
    expected = by_sentence(scores)
    texts = [[word for sentence in document for word in sentence] for document in (*DOCUMENTS, [])]
    state = model.apply({"params": params}, code, max(map(len, texts)), method="start")
    step = jax.jit(lambda state, token: model.apply({"params": params}, state, token, method="step"))
    nats_of = [[] for _ in texts]
    token = jnp.zeros(len(texts), jnp.int32)
    for time in range(max(map(len, texts))):
        state, logits = step(state, token)
        nll = -np.asarray(jax.nn.log_softmax(logits))
        words = [text[time] if time < len(text) else 0 for text in texts]
        for row, word in enumerate(words):
            nats_of[row].append(nll[row, word])
        token = jnp.asarray(words, jnp.int32)
    for row, document in enumerate(DOCUMENTS):
        wanted = np.concatenate([expected[row, place] for place in range(len(document))])
        assert_close(np.array(nats_of[row][: len(wanted)]), wanted, slack=10)
