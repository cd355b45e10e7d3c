"""A distribution of sentence vectors, and texts drawn from it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.text_batches import TextModel
from hae_jax.latent.rows import check_hierarchical, decode_vectors, recode


@dataclass(frozen=True, eq=False)
class Prior:
    """A distribution of the sentence vectors of documents: one Gaussian around each vector that was observed.

    A sentence at a place of a document of some length is drawn from those observed at the same place of documents of
    the same length, moved towards the mean m of all vectors and disturbed,

        m + sqrt(1 - spread^2) (x - m) + spread e,    e ~ N(0, S),

    where S is the covariance of all vectors. So mean and covariance are those observed, whatever the spread: 0 returns
    observed sentences, 1 is a single Gaussian.

    Attributes:
        vectors: the observed vectors of all sentences, one document after the other.
        lengths: the number of sentences of each document.

    Example:
        >>> prior = Prior.fit(model.embed_sentences(["The rain began. It held.", "Trade recovered. It rained."]))
        >>> [vectors.shape for vectors in prior.draw(3, seed=1)]
        [(2, 5), (2, 5), (2, 5)]

    Reference:
        Silverman & Young, 1987, the shrunken smoothed bootstrap, https://doi.org/10.1093/biomet/74.3.469
    """

    vectors: Float[np.ndarray, "sentence vec"] = field(repr=False)
    lengths: Int[np.ndarray, "document"] = field(repr=False)

    @classmethod
    def fit(cls, documents: Iterable[Float[np.ndarray, "_ vec"]]) -> "Prior":
        """Collects the sentence vectors of documents, as `embed_sentences` returns them.

        Raises:
            ValueError: if there are fewer than two documents.
        """
        documents = list(documents)
        if len(documents) < 2:
            raise ValueError(f"documents must be at least 2, got {len(documents)}. Add some hundreds.")
        return cls(np.concatenate(documents), np.array([len(document) for document in documents]))

    def draw(self, count: int, spread: float = 0.5, seed: int = 0) -> list[Float[np.ndarray, "_ vec"]]:
        """Draws the sentence vectors of documents.

        Args:
            count: number of documents.
            spread: from 0, observed sentences, to 1, a Gaussian.
            seed: seed of the draws.

        Raises:
            ValueError: if `count` is below 1, or `spread` outside [0, 1].
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}. Use 10.")
        if not 0 <= spread <= 1:
            raise ValueError(f"spread must lie in [0, 1], got {spread}. Use 0.5.")
        random = np.random.default_rng(seed)
        starts = np.cumsum(self.lengths) - self.lengths
        mean = self.vectors.mean(0)
        centred = self.vectors - mean
        drawn = []
        for length in random.choice(self.lengths, count):
            same = starts[self.lengths == length]
            observed = centred[random.choice(same, length) + np.arange(length)]
            # A weighted sum of independent deviations has their covariance.
            weights = random.normal(size=(length, len(centred))) / np.sqrt(len(centred))
            drawn.append((mean + np.sqrt(1 - spread**2) * observed + spread * weights @ centred).astype(np.float32))
        return drawn


def sample(
    model: TextModel,
    prior: Prior,
    count: int = 10,
    spread: float = 0.5,
    seed: int = 0,
    decoding: Decoding = GREEDY,
) -> list[str]:
    """Draws texts: sentence vectors from a prior, decoded to sentences, which are encoded and decoded as documents.

    Args:
        model: a hierarchical model without attention.
        prior: fitted on sentence vectors of the same model.
        count: number of texts.
        spread: see `Prior`.
        seed: seed of the draws.
        decoding: how the codes are decoded.

    Raises:
        ValueError: as `Prior.draw`, or if the model has attention or is flat.

    Example:
        >>> prior = Prior.fit(model.embed_sentences(["The rain began. It held.", "Trade recovered. It rained."]))
        >>> len(sample(model, prior, count=4))
        4
    """
    drawn = prior.draw(count, spread, seed)
    check_hierarchical(model)
    rows = decode_vectors(model, np.concatenate(drawn))
    return recode(model, [[next(rows) for _ in document] for document in drawn], decoding)
