"""Documents of random words, of which no sentence is like another."""

import numpy as np

from hae_jax.batch import SPECIALS
from hae_jax.data import Corpus

WORDS = 40
"""Size of the vocabulary, special ids included."""


def corpus(documents=300, seed=0) -> Corpus:
    """Draws documents of 2 to 4 sentences of 3 to 5 words."""
    random = np.random.default_rng(seed)
    return Corpus.from_documents(
        [random.integers(len(SPECIALS), WORDS, random.integers(3, 6)) for _ in range(random.integers(2, 5))]
        for _ in range(documents)
    )
