"""Bits of text that a code reproduces, free-running."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from hae_jax.batch import EOD
from hae_jax.data import Corpus

Document = Sequence[Sequence[int] | Int[np.ndarray, "_"]]
"""Rows of token ids without end marks."""


class Bigrams:
    """A bigram language model of tokens, with Witten-Bell smoothing.

        p(w | v) = (n(v, w) + t(v) p(w)) / (n(v) + t(v)),    p(w) = (n(w) + 1) / (n + vocab)

    where n counts, and t(v) is the number of different tokens that follow v. The token before the first of a document
    is the end mark of a document.

    Args:
        corpus: the text.
        vocab: number of token ids.

    Example:
        >>> model = Bigrams(Corpus.from_documents([[[4, 5], [4, 5]], [[4, 4]]]), 6)
        >>> model.bits([[4], [5]]).round(2).tolist()
        [0.31, 1.0]

    Reference:
        Witten & Bell, 1991, https://doi.org/10.1109/18.87000
    """

    def __init__(self, corpus: Corpus, vocab: int) -> None:
        edges = np.asarray(corpus.sentences[corpus.documents])
        tokens = np.asarray(corpus.tokens[edges[0] : edges[-1]], np.int64)
        before = np.concatenate([[EOD], tokens[:-1]])
        before[edges[:-1] - edges[0]] = EOD
        pairs = csr_array((np.ones(len(tokens)), (before, tokens)), shape=(vocab, vocab))
        pairs.sum_duplicates()
        self._pairs = pairs
        self._after = np.asarray(pairs.sum(axis=1))
        self._kinds = np.diff(pairs.indptr)
        self._single = (np.bincount(tokens, minlength=vocab) + 1) / (len(tokens) + vocab)

    def bits(self, document: Document) -> Float[np.ndarray, "token"]:
        """Returns -log2 p of each token of a document, given the one before."""
        tokens = np.concatenate([np.zeros(0, np.int64), *(np.asarray(row, np.int64) for row in document)])
        before = np.concatenate([[EOD], tokens])[:-1]
        kinds = self._kinds[before]
        found = np.asarray(self._pairs[before, tokens]).ravel() + kinds * self._single[tokens]
        total = self._after[before] + kinds
        # A token that no other has followed is as good as none.
        probability = np.where(total > 0, found / np.maximum(total, 1), self._single[tokens])
        return -np.log2(probability)


def reproduced_bits(model: Bigrams, source: Document, output: Document) -> float:
    """Returns the bits of the tokens of a document that its reconstruction has in the same place of the same row.

    Args:
        model: a language model, which determines the bits of each token.
        source: the document.
        output: what was decoded from its code, free-running.
    """
    right = [
        position < len(output[number]) and output[number][position] == token if number < len(output) else False
        for number, row in enumerate(source)
        for position, token in enumerate(row)
    ]
    return float(model.bits(source)[np.array(right, bool)].sum())
