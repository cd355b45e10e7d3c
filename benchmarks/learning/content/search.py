"""Documents and sentences to find by their vectors, and probing tasks about them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

from benchmarks.learning.content import measures, tasks
from benchmarks.learning.content.codes import decoded_vectors, sentence_vectors
from benchmarks.learning.content.documents import distinct, with_replaced_words, word_starts
from benchmarks.learning.content.measures import Examples
from benchmarks.learning.content.representations import Representation
from hae_jax.data import Corpus
from hae_jax.trained import TrainedModel

REPLACED = (1, 2, 4)
"""Numbers of replaced words."""
TASKS = {"occurrence": tasks.occurrence, "order": tasks.order}
"""Probing tasks by their names in records."""


@dataclass(frozen=True, eq=False)
class Probed:
    """Documents with examples of the probing tasks.

    Attributes:
        documents: the documents.
        sentences: each of their sentences as a document.
        tasks: examples by the name of the task.
    """

    documents: Corpus
    sentences: Corpus
    tasks: dict[str, tasks.ProbingTask]

    @classmethod
    def of(cls, corpus: Corpus, seed: int) -> "Probed":
        """Draws the examples of a corpus."""
        examples = {name: make(corpus, seed) for name, make in TASKS.items()}
        return cls(corpus, tasks.sentences_as_documents(corpus), examples)


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for in documents.

    Attributes:
        documents: distinct documents.
        sentences: one sentence of each, as a document.
        replaced: the documents with some words replaced, by the number of these words.
        train: training documents of the probing tasks.
        test: held-out documents of the probing tasks.
    """

    documents: Corpus
    sentences: Corpus
    replaced: dict[int, Corpus]
    train: Probed
    test: Probed

    @classmethod
    def of(cls, model: TrainedModel, train: Corpus, test: Corpus, searched: int, seed: int) -> "Search":
        """Chooses documents, sentences and words.

        Args:
            model: the model whose tokenizer encoded the documents.
            train: training documents of the probing tasks.
            test: held-out documents.
            searched: maximum number of documents among which one is searched for.
            seed: of the random choices.
        """
        documents, starts = distinct(test, searched), word_starts(model.tokenizer)
        return cls(
            documents,
            one_sentence_each(documents, seed),
            {number: with_replaced_words(documents, number, starts, seed) for number in REPLACED},
            Probed.of(train, seed),
            Probed.of(test, seed),
        )

    def scores(self, encode: Representation) -> dict[str, Any]:
        """Returns the scores of a representation; without the probing tasks if it is sparse, as there would be too many
        features.

        Args:
            encode: the representation; called several times with the same corpus.
        """
        documents, places = encode(self.documents), np.arange(len(self.documents))

        def similarities(queries: Corpus) -> np.ndarray:
            return measures.cosine_similarities(encode(queries), documents)

        results: dict[str, Any] = {
            "sentence_rank": measures.mean_reciprocal_rank(similarities(self.sentences), places),
            "replaced": {
                str(number): measures.found_first(similarities(queries), places)
                for number, queries in self.replaced.items()
            },
        }
        if issparse(documents):
            return results

        def examples(part: Probed, name: str) -> Examples:
            task = part.tasks[name]
            features = tasks.probe_features(encode(part.documents), encode(part.sentences), task)
            return Examples(features, task.answers, task.document)

        return results | {
            name: measures.pair_probe(examples(self.train, name), examples(self.test, name)) for name in TASKS
        }

    def unfolded_scores(self, model: TrainedModel) -> dict[str, Any]:
        """Returns the scores of codes decoded into sentence vectors, of which the most similar one counts."""
        decoded, wanted = decoded_vectors(model, self.documents), sentence_vectors(model, self.sentences)
        similarities = np.einsum("dsv,qv->qds", decoded, wanted).max(axis=2)
        vectors = [
            (decoded_vectors(model, part.documents), sentence_vectors(model, part.sentences))
            for part in (self.train, self.test)
        ]

        def examples(part: int, name: str) -> Examples:
            task = (self.train, self.test)[part].tasks[name]
            return Examples(tasks.decoder_similarities(*vectors[part], task), task.answers, task.document)

        return {"sentence_rank": measures.mean_reciprocal_rank(similarities, np.arange(len(self.documents)))} | {
            name: measures.pair_probe(examples(0, name), examples(1, name)) for name in TASKS
        }


def one_sentence_each(corpus: Corpus, seed: int) -> Corpus:
    """Returns a corpus with one sentence of each document, drawn at random, as a document.

    Example:
        >>> corpus = Corpus.from_documents([[[5], [6]], [[7], [8], [9]]])
        >>> [row.tolist() for row in one_sentence_each(corpus, 0).document(1)]
        [[8]]
    """
    random = np.random.default_rng(seed)
    documents = (corpus.document(number) for number in range(len(corpus)))
    return Corpus.from_documents([document[random.integers(len(document))]] for document in documents)
