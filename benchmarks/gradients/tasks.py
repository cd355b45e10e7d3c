"""Synthetic tasks that require memory, each with the loss of a model without memory.

Batches are pure functions of a key and every batch is new, so that nothing can be memorized and training losses are
losses on new data.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from hae_jax.config import ModelConfig
from hae_jax.layers.recurrent import LSTM

SENTENCES, WORDS, SYMBOLS = 8, 16, 16
"""Sentences, words per sentence and vocabulary of the recall task."""
ORDER = 0.08
"""Nats by which a loss has to be lower than that of a model that predicts the right set of words in no order."""
OUTPUT, DECODER = "say", "teller"
"""Scope names of submodules. Flax folds them into random keys: another name would change a seed's initial weights."""
COPIED, LETTERS = 10, 8
"""Symbols to copy, and the alphabet they are drawn from, without the blank and the delimiter."""


class Sample(NamedTuple):
    """A batch of inputs and targets."""

    inputs: Array
    targets: Array


class Task(NamedTuple):
    """A task for an LSTM.

    Attributes:
        name: of the task's rows or columns.
        model: builds the module from a config; called with `inputs` and `train`, it returns predictions.
        draw: returns a batch of the given number of sequences, from a key.
        loss: mean loss of predictions and targets.
        chance: the loss of the best model without memory.
        threshold: a loss that cannot be reached without memory; a run below it has succeeded.
        timescale: steps over which information has to be retained.
    """

    name: str
    model: Callable[[ModelConfig], nn.Module]
    draw: Callable[[Key[Array, ""], int], Sample]
    loss: Callable[[Array, Array], Float[Array, ""]]
    chance: float
    threshold: float
    timescale: int


def copy_memory(gap: int) -> Task:
    """Copy memory: ten symbols of eight, `gap` blanks of which the last is a delimiter; the symbols are the targets.

    The baseline predicts blanks up to the delimiter and symbols uniformly then: 10 ln 8 / (gap + 20) nats per step.

    Reference:
        Hochreiter & Schmidhuber, 1997; in this form Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464
    """
    blank, delimiter = LETTERS, LETTERS + 1

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        symbols = jax.random.randint(key, (batch, COPIED), 0, LETTERS)
        blanks = jnp.full((batch, gap + COPIED), blank)
        return Sample(
            jnp.concatenate([symbols, blanks.at[:, gap - 1].set(delimiter)], axis=1),
            jnp.concatenate([blanks, symbols], axis=1),
        )

    chance = COPIED * math.log(LETTERS) / (gap + 2 * COPIED)
    return Task(f"copy {gap}", lambda config: Copy(config), draw, cross_entropy, chance, chance / 2, gap + COPIED)


def adding(length: int) -> Task:
    """Adding: the sum of two of `length` uniform numbers, which a second channel marks, one in each half.

    The baseline always predicts 1; its error is the variance of the sum of two uniform numbers, 1/6.

    Reference:
        Hochreiter & Schmidhuber, 1997; Le, Jaitly & Hinton, 2015, https://arxiv.org/abs/1504.00941
    """

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        numbers, first, second = jax.random.split(key, 3)
        x = jax.random.uniform(numbers, (batch, length))
        half = length // 2
        marks = jax.nn.one_hot(jax.random.randint(first, (batch,), 0, half), length)
        marks += jax.nn.one_hot(jax.random.randint(second, (batch,), half, length), length)
        return Sample(jnp.stack([x, marks], axis=-1), (x * marks).sum(axis=1))

    return Task(f"adding {length}", lambda config: Adding(config), draw, squared_error, 1 / 6, 1 / 60, length)


def recall(sentences: int = SENTENCES, words: int = WORDS) -> Task:
    """Recall: the first word of each sentence of a document, predicted in order from the document's code.

    Chance is ln 16. The first words of a document are all different, so that a model that stores them without their
    order has to choose among eight: its loss is at least ln 8, and success is a loss clearly below that.
    """
    name = f"recall of {sentences} x {words}"
    threshold = math.log(sentences) - ORDER

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        first, others = jax.random.split(key)
        targets = jnp.argsort(jax.random.uniform(first, (batch, SYMBOLS)), axis=-1)[:, :sentences]
        documents = jax.random.randint(others, (batch, sentences, words), 0, SYMBOLS)
        return Sample(documents.at[..., 0].set(targets), targets)

    return Task(name, lambda config: Recall(config), draw, cross_entropy, math.log(SYMBOLS), threshold, words)


def cross_entropy(logits: Float[Array, "*batch vocab"], targets: Int[Array, "*batch"]) -> Float[Array, ""]:
    """Returns the mean negative log-likelihood of the targets."""
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - chosen).mean()


def squared_error(predictions: Float[Array, "batch"], targets: Float[Array, "batch"]) -> Float[Array, ""]:
    """Returns the mean squared difference."""
    return jnp.square(predictions - targets).mean()


class Copy(nn.Module):
    """One LSTM layer with a prediction at every step."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Int[Array, "batch time"], train: bool = False) -> Float[Array, "batch time letter"]:
        x = jax.nn.one_hot(inputs, LETTERS + 2)
        lstm = LSTM(self.config, self.config.hidden_dim, x.shape[-1], name="lstm")
        _, hidden = lstm(x, jnp.ones(inputs.shape, bool), train=train)
        return nn.Dense(LETTERS + 1, use_bias=self.config.use_bias, name=OUTPUT)(hidden)


class Adding(nn.Module):
    """One LSTM layer with one output number, from the last state."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch time two"], train: bool = False) -> Float[Array, "batch"]:
        lstm = LSTM(self.config, self.config.hidden_dim, 2, name="lstm")
        _, hidden = lstm(inputs, jnp.ones(inputs.shape[:2], bool), train=train)
        return nn.Dense(1, use_bias=self.config.use_bias, name=OUTPUT)(hidden[:, -1])[:, 0]


class Recall(nn.Module):
    """Encodes words into sentence vectors and those into a code; decodes one word per sentence from the code.

    The bare hierarchy: without the components that make the full model train (sentence loss, vector loss, reversed
    input), so that success depends on how far gradients reach.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Int[Array, "doc sent word"], train: bool = False) -> Float[Array, "doc sent symbol"]:
        config, (docs, sents, _) = self.config, inputs.shape
        x = nn.Embed(SYMBOLS, config.embed_dim, embedding_init=nn.initializers.normal(1.0), name="words")(inputs)
        word = LSTM(config, config.hidden_dim, config.embed_dim, name="word")
        _, hidden = word(x, jnp.ones(inputs.shape, bool), train=train)
        sentence = LSTM(config, config.sentence_dim, config.hidden_dim, name="sentence")
        mask = jnp.ones((docs, sents), bool)
        _, sentences = sentence(hidden[:, :, -1], mask, train=train)
        decoder = LSTM(config, config.sentence_dim, 0, config.sentence_dim, name=DECODER)
        _, outputs = decoder(None, mask, context=sentences[:, -1], train=train)
        return nn.Dense(SYMBOLS, use_bias=config.use_bias, name=OUTPUT)(outputs)


TASKS = {
    task.name: task for task in (recall(), recall(4), adding(200), copy_memory(100), copy_memory(200), copy_memory(500))
}
"""All tasks by name."""
