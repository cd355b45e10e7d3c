"""A distribution of sentence vectors, and texts drawn from it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from hae_jax.data import Corpus
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.text_batches import TextModel
from hae_jax.latent.rows import check_hierarchical, decode_vectors, embed_rows, recode

DOCUMENTS = 2000
"""Documents of a corpus to which a prior is fitted."""
CANDIDATES = 4
"""Documents that are examined for each of them, since many begin or end within a sentence."""
_END = re.compile(r"""[.!?]["'\u201d\u2019)\]\s]*$""")


@dataclass(frozen=True, eq=False)
class Prior:
    """A distribution of the sentence vectors of documents: one Gaussian around each sentence that was observed.

    A sentence has one vector, or several if it is longer than a row. The sentence at a place of a document of some
    number of sentences is drawn from those observed at the same place of such documents with as many rows. Its vectors
    x are then moved towards the mean m of all vectors and disturbed,

        m + sqrt(1 - spread^2) (x - m) + spread e,    e ~ N(0, S),

    where S is the covariance of all vectors. So mean and covariance are those observed, whatever the spread: 0 returns
    observed sentences, 1 is a single Gaussian.

    Attributes:
        vectors: the observed vectors of all rows, one document after the other.
        rows: the number of rows of each sentence.
        lengths: the number of sentences of each document.

    Example:
        >>> prior = Prior.fit(model.embed_sentences(["The rain began. It held.", "Trade recovered. It rained."]))
        >>> [vectors.shape for vectors in prior.draw(3, seed=1)]
        [(2, 5), (2, 5), (2, 5)]

    Reference:
        Silverman & Young, 1987, the shrunken smoothed bootstrap, https://doi.org/10.1093/biomet/74.3.469
    """

    vectors: Float[np.ndarray, "row vec"] = field(repr=False)
    rows: Int[np.ndarray, "sentence"] = field(repr=False)
    lengths: Int[np.ndarray, "document"] = field(repr=False)

    @classmethod
    def fit(
        cls, documents: Iterable[Float[np.ndarray, "_ vec"]], rows: Iterable[Sequence[int]] | None = None
    ) -> "Prior":
        """Collects the sentence vectors of documents, as `embed_sentences` returns them.

        Args:
            documents: the vectors of the rows of each document.
            rows: the number of rows of each sentence, by document; one each if None.

        Raises:
            ValueError: if there are fewer than two documents, or their numbers of rows are others.

        Example:
            >>> (vectors,) = model.embed_sentences(["The rain began. It held. Trade recovered."])
            >>> Prior.fit([vectors, vectors], rows=[[2, 1], [1, 2]]).lengths
            array([2, 2])
        """
        documents = list(documents)
        rows = [[1] * len(document) for document in documents] if rows is None else list(rows)
        if len(documents) < 2:
            raise ValueError(f"documents must be at least 2, got {len(documents)}. Add some hundreds.")
        if (counts := [sum(each) for each in rows]) != (sizes := [len(document) for document in documents]):
            raise ValueError(f"rows must add up to those of each document, {sizes}, got {counts}. Count them again.")
        return cls(np.concatenate(documents), np.concatenate(rows), np.array([len(each) for each in rows]))

    @classmethod
    def of_corpus(cls, model: TextModel, corpus: Corpus, count: int = DOCUMENTS) -> "Prior":
        """Fits a prior to documents of a tokenized corpus that begin and end with a whole sentence.

        A sentence ends with a row whose text ends with a full stop, a question mark or an exclamation mark. If there is
        none, every row counts as a sentence.

        Args:
            model: a hierarchical model.
            corpus: its documents in the order of the text; for example the training documents of a workdir.
            count: number of documents to use at most.

        Raises:
            ValueError: if there are fewer than two documents, or the model is flat.
        """

        def ends(row: Int[np.ndarray, "_"]) -> bool:
            return bool(_END.search(model.tokenizer.decode(row)))

        numbers = np.unique(np.linspace(0, len(corpus) - 1, CANDIDATES * count).astype(int)).tolist()
        whole = [n for n in numbers if ends(corpus.document(n)[-1]) and (n == 0 or ends(corpus.document(n - 1)[-1]))]
        known = len(whole) > 1
        chosen = whole if known else numbers
        spaced = np.unique(np.linspace(0, len(chosen) - 1, count).astype(int))
        documents = [corpus.document(chosen[at]) for at in spaced]
        rows = None
        if known:
            edges = [np.flatnonzero([ends(row) for row in document]) for document in documents]
            rows = [np.diff(last, prepend=-1).tolist() for last in edges]
        return cls.fit(embed_rows(model, documents), rows)

    def draw(self, count: int, spread: float = 0.25, seed: int = 0) -> list[Float[np.ndarray, "_ vec"]]:
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
            raise ValueError(f"spread must lie in [0, 1], got {spread}. Use 0.25.")
        random = np.random.default_rng(seed)
        sentences, first = np.cumsum(self.lengths) - self.lengths, np.cumsum(self.rows) - self.rows
        mean = self.vectors.mean(0)
        centred = self.vectors - mean
        drawn = []
        for document in random.choice(len(self.lengths), count):
            length, taken = self.lengths[document], []
            places = sentences[self.lengths == length]
            for place in range(length):
                rows = self.rows[sentences[document] + place]
                start = first[random.choice(places[self.rows[places + place] == rows]) + place]
                taken.append(start + np.arange(rows))
            observed = centred[np.concatenate(taken)]
            # A weighted sum of independent deviations has their covariance.
            weights = random.normal(size=(len(observed), len(centred))) / np.sqrt(len(centred))
            drawn.append((mean + np.sqrt(1 - spread**2) * observed + spread * weights @ centred).astype(np.float32))
        return drawn


def sample(
    model: TextModel,
    prior: Prior,
    count: int = 10,
    spread: float = 0.25,
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
