"""How codes are decoded, as one value that can be handed on."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Int, PyTree

from hae_jax.inference.beam_search import beam_search
from hae_jax.inference.generate import greedy, sample
from hae_jax.models.outputs import Code


@dataclass(frozen=True)
class Decoding:
    """The way from codes to ids, with its settings; those of the other ways are not looked at."""

    method: Literal["greedy", "sample", "beam"] = "greedy"
    """The most probable token every time; a token at random; or the best of several texts."""
    temperature: float = 1.0
    """Of sampling: 0 is greedy, 1 the model's own distribution."""
    top_p: float = 1.0
    """Of sampling: the share of the probability, the most probable tokens first, that is drawn from."""
    beam: int = 4
    """Of beam search: how many texts are followed."""
    length_penalty: float = 0.0
    """Of beam search: 0 looks for the most probable text, 1 for the most probable tokens."""
    seed: int = 0
    """Of sampling."""

    def __call__(
        self, model: nn.Module, params: PyTree, code: Code, max_tokens: int, part: int = 0
    ) -> Int[Array, "doc token"]:
        """Decodes codes.

        Args:
            model: an autoencoder of `hae_jax.models`.
            params: its parameters.
            code: what `encode` returned.
            max_tokens: tokens a document, end marks included, at which to stop without EOD.
            part: number of this call among several with the same seed, so that each draws anew.

        Returns:
            Token ids with EOS after each sentence and EOD at the end; PAD after EOD.

        Raises:
            ValueError: if the method is unknown, or one of its settings impossible.
        """
        match self.method:
            case "greedy":
                return greedy(model, params, code, max_tokens)
            case "sample":
                key = jax.random.fold_in(jax.random.key(self.seed), part)
                return sample(model, params, code, key, self.temperature, self.top_p, max_tokens)
            case "beam":
                return beam_search(model, params, code, self.beam, max_tokens, self.length_penalty)
        raise ValueError(f"method must be greedy, sample or beam, got {self.method!r}. Use greedy.")


GREEDY = Decoding()
"""The way an autoencoder is judged by."""
