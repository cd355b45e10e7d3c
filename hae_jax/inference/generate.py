"""Codes to token ids, greedily and by sampling.

Two methods of a model suffice, `start(code, max_tokens) -> state` and `step(state, token) -> (state, logits)`, so every
autoencoder can be decoded. The whole loop runs on the device. Where a model can decode whole sentences, several of a
document in parallel or one after the other, greedy decoding does so; see `parallel_greedy`.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.inference.parallel_greedy import parallel_greedy
from hae_jax.models.outputs import Code


def check_max_tokens(max_tokens: int) -> None:
    """Raises a ValueError unless `max_tokens` is positive."""
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}. The end mark is a token.")


def unroll(
    model: nn.Module,
    params: PyTree,
    code: Code,
    max_tokens: int,
    choose: Callable[[Float[Array, "doc vocab"], Int[Array, ""]], Int[Array, " doc"]],
) -> Int[Array, "doc token"]:
    """Generates token by token; `choose` maps the logits and the position to the next token."""
    step = bind(model, params, "step")
    docs = code.document.shape[0]

    def advance(carry, position):
        state, token, ended = carry
        state, logits = step(state, token)
        token = jnp.where(ended, PAD, choose(mask_pad(logits), position).astype(jnp.int32))
        return (state, token, ended | (token == EOD)), token

    carry = bind(model, params, "start")(code, max_tokens), jnp.full(docs, PAD, jnp.int32), jnp.zeros(docs, bool)
    _, tokens = scan_until(advance, lambda carry: carry[2].all(), carry, max_tokens)
    return tokens.T


@partial(jax.jit, static_argnums=(0, 3))
def _greedy(model: nn.Module, params: PyTree, code: Code, max_tokens: int) -> Int[Array, "doc token"]:
    def sequential():
        return unroll(model, params, code, max_tokens, lambda logits, _: logits.argmax(-1))

    sentences = getattr(model, "parallel_sentences", 0)
    if sentences == 0:
        return sequential()
    tokens, complete = parallel_greedy(model, params, code, max_tokens)
    return tokens if sentences == 1 else jax.lax.cond(complete, lambda: tokens, sequential)


def greedy(model: nn.Module, params: PyTree, code: Code, max_tokens: int) -> Int[Array, "doc token"]:
    """Decodes codes, choosing the most probable token at each step.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        code: the codes, as returned by the model's `encode`.
        max_tokens: maximum length of a document in tokens, end marks included; at this length it stops without EOD.

    Returns:
        Token ids, with EOS after each sentence, EOD at the end of the document, and PAD after it.

    Raises:
        ValueError: if `max_tokens` is not positive.
    """
    check_max_tokens(max_tokens)
    return _greedy(model, params, code, max_tokens)


def nucleus(
    key: Key[Array, ""],
    logits: Float[Array, "doc vocab"],
    temperature: float | Float[Array, ""],
    top_p: float | Float[Array, ""],
) -> Int[Array, " doc"]:
    """Draws a token from the smallest set of most probable tokens whose probabilities sum to `top_p`.

    The set is a prefix of the sorted tokens, so of equally probable tokens at its edge only as many are kept as needed.

    Example:
        >>> logits = jnp.log(jnp.array([[0.1, 0.5, 0.4]]))
        >>> draws = [int(nucleus(jax.random.key(seed), logits, 1.0, 0.9)[0]) for seed in range(30)]
        >>> sorted(set(draws))
        [1, 2]
    """
    order = jnp.argsort(-logits, axis=-1)
    logits = jnp.take_along_axis(logits, order, axis=-1)
    # Relative to the maximum: near temperature 0 all others overflow to -inf, which leaves the greedy choice.
    logits = (logits - logits[:, :1]) / jnp.maximum(temperature, 1e-30)
    probability = jax.nn.softmax(logits, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    # With top_p = 1, rounding of the sum must not cut the tail of the distribution.
    kept = jnp.where((before < top_p) | (top_p >= 1), logits, -jnp.inf)
    rank = jax.random.categorical(key, kept, axis=-1)
    return jnp.take_along_axis(order, rank[:, None], axis=-1)[:, 0]


@partial(jax.jit, static_argnums=(0, 6))
def _sample(
    model: nn.Module,
    params: PyTree,
    code: Code,
    key: Key[Array, ""],
    temperature: Float[Array, ""],
    top_p: Float[Array, ""],
    max_tokens: int,
) -> Int[Array, "doc token"]:
    def choose(logits, position):
        return nucleus(jax.random.fold_in(key, position), logits, temperature, top_p)

    return unroll(model, params, code, max_tokens, choose)


def sample(
    model: nn.Module,
    params: PyTree,
    code: Code,
    key: Key[Array, ""],
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> Int[Array, "doc token"]:
    """Decodes codes, sampling each token.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        code: what `encode` returned.
        key: PRNG key.
        temperature: divisor of the logits; 0 is greedy, 1 the model's distribution.
        top_p: total probability of the most probable tokens that are sampled from; 1 samples from all.
        max_tokens: tokens a document, end marks included, at which to stop without EOD.

    Returns:
        Token ids as from `greedy`.

    Raises:
        ValueError: if `temperature` is negative or infinite, `top_p` outside (0, 1], or `max_tokens` not positive.

    Reference:
        Holtzman et al., 2020, https://arxiv.org/abs/1904.09751
    """
    check_max_tokens(max_tokens)
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be finite and at least 0, got {temperature}. Use 0 for greedy decoding.")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {top_p}. Use 1 to sample from all tokens.")
    return _sample(model, params, code, key, jnp.float32(temperature), jnp.float32(top_p), max_tokens)


def sentences(ids: Iterable[int]) -> list[list[int]]:
    """Splits the ids of a document into sentences, without end marks and padding.

    A last sentence without an end mark is kept.

    Example:
        >>> sentences([7, EOS, 8, 9, EOD, PAD]), sentences([5, 6, EOS, 4, 7, 8])
        ([[7], [8, 9]], [[5, 6], [4, 7, 8]])
    """
    finished: list[list[int]] = []
    sentence: list[int] = []
    for token in ids:
        if token in (EOS, EOD):
            finished.append(sentence)
            sentence = []
        elif token != PAD:
            sentence.append(token)
    return [*finished, sentence] if sentence else finished


def split(ids: Int[Array | np.ndarray, "doc token"]) -> list[list[list[int]]]:
    """Splits generated ids into documents of sentences; see `sentences`."""
    return [sentences(row) for row in np.asarray(ids).tolist()]
