"""Decoding methods as values: greedy, sampling, beam search, or refined by encoding, with their settings."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import flax.linen as nn
import jax
from jaxtyping import Array, Int, PyTree

from hae_jax.inference.beam_search import beam_search
from hae_jax.inference.generate import greedy, sample
from hae_jax.inference.refine import refine
from hae_jax.models.outputs import Code


@runtime_checkable
class Decoding(Protocol):
    """A method to decode codes to token ids."""

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes.

        Args:
            model: an autoencoder of `hae_jax.models`.
            params: its parameters.
            code: the codes, as returned by the model's `encode`.
            max_tokens: maximum length of a document in tokens, end marks included.
            part: index of this call among several with the same seed, each of which draws other samples.

        Returns:
            Token ids, with EOS after each sentence, EOD at the end of the document, and PAD after it.

        Raises:
            ValueError: if a setting is out of range.
        """


@dataclass(frozen=True)
class Greedy:
    """Chooses the most probable token at each step.

    Example:
        >>> Greedy() == GREEDY
        True
    """

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes; see `Decoding`."""
        return greedy(model, params, code, max_tokens)


@dataclass(frozen=True)
class Sampling:
    """Samples each token; see `hae_jax.inference.generate.sample`.

    Example:
        >>> Sampling(temperature=0.7, top_p=0.9)
        Sampling(temperature=0.7, top_p=0.9, seed=0)
    """

    temperature: float = 1.0
    """Divisor of the logits: 0 is greedy, 1 the model's distribution."""
    top_p: float = 1.0
    """Total probability of the most probable tokens that are sampled from (nucleus sampling)."""
    seed: int = 0
    """Seed of the samples."""

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes; see `Decoding`."""
        key = jax.random.fold_in(jax.random.key(self.seed), part)
        return sample(model, params, code, key, self.temperature, self.top_p, max_tokens)


@dataclass(frozen=True)
class BeamSearch:
    """Searches for the best text; see `hae_jax.inference.beam_search.beam_search`.

    Example:
        >>> BeamSearch(beam=8)
        BeamSearch(beam=8, length_penalty=0.0)
    """

    beam: int = 4
    """Number of hypotheses."""
    length_penalty: float = 0.0
    """0 maximizes the probability of the text, 1 its mean per token."""

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes; see `Decoding`."""
        return beam_search(model, params, code, self.beam, max_tokens, self.length_penalty)


@dataclass(frozen=True)
class Refined:
    """Corrects the greedy text by encoding it again; see `hae_jax.inference.refine.refine`.

    Example:
        >>> Refined()
        Refined(rounds=3)
    """

    rounds: int = 3
    """Maximum number of corrections, each of which takes as long as decoding and encoding; 0 is greedy."""

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes; see `Decoding`."""
        return refine(model, params, code, max_tokens, self.rounds)


GREEDY = Greedy()
"""The method by which autoencoders are evaluated."""
