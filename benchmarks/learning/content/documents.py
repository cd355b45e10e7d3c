"""The part of each text that one code represents, as token ids and as text, for models and baselines alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int

from benchmarks.learning.content.labelled import Labelled
from hae_jax.config import DataConfig
from hae_jax.data import Corpus, Dataset, Tokenizer, encode_text


@dataclass(frozen=True, eq=False)
class Documents:
    """Labelled texts, each as much of it as fits one code.

    Attributes:
        corpus: their token ids, one document a text.
        labels: the class of each by question.
        groups: the group of each.
    """

    corpus: Corpus
    labels: dict[str, list[str]]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.corpus)


def divided(
    texts: Iterable[Labelled], tokenizer: Tokenizer, data: DataConfig, dataset: Dataset, most: tuple[int, int]
) -> tuple[Documents, Documents]:
    """Returns training and held-out documents.

    A text is represented by its first window, the rows that one code encodes. Texts without a division of their own are
    divided as in the training of the model: those that it did not use are left out, and so are those of which a copy is
    on the other side.

    Args:
        texts: labelled texts.
        tokenizer: the model's.
        data: the config it was trained with.
        dataset: the documents it was trained with.
        most: maximum number of training and of held-out documents; evenly spaced ones are chosen if there are more.

    Raises:
        ValueError: if a side has no document.
    """
    trained, heldout = (_keys(part) for part in (dataset.train, dataset.heldout))
    sides: dict[bool, list[tuple[Labelled, list]]] = {False: [], True: []}
    texts = list(texts)
    for text, ids in zip(texts, first_windows([text.text for text in texts], tokenizer, data), strict=True):
        key = _key(ids)
        if text.test is not None:
            sides[text.test].append((text, ids))
        elif (key in trained) != (key in heldout):
            sides[key in heldout].append((text, ids))
    if not sides[False] or not sides[True]:
        raise ValueError(
            f"texts must be those that the model was trained with, got {len(sides[False])} of its training and "
            f"{len(sides[True])} of its held-out documents among {len(texts)}. Train it on this corpus."
        )
    return _documents(sides[False], most[0]), _documents(sides[True], most[1])


def first_windows(texts: Sequence[str], tokenizer: Tokenizer, data: DataConfig) -> list[list[Int[np.ndarray, "_"]]]:
    """Returns the rows of token ids of each text that one code encodes."""
    documents, owners = encode_text(texts, tokenizer, data)
    _, first = np.unique(owners, return_index=True)
    return [documents[index] for index in first]


def texts_of(corpus: Corpus, tokenizer: Tokenizer) -> list[str]:
    """Returns the text of each document, as its token ids are decoded."""
    edges = corpus.sentences[corpus.documents]
    return [tokenizer.decode(corpus.tokens[start:end]) for start, end in pairwise(edges)]


def distinct(corpus: Corpus, most: int) -> Corpus:
    """Returns up to `most` documents of two rows or more, evenly spaced, no two alike.

    Example:
        >>> corpus = Corpus.from_documents([[[5], [6]], [[5], [6]], [[7]], [[7], [8]]])
        >>> [[row.tolist() for row in distinct(corpus, 9).document(number)] for number in (0, 1)]
        [[[5], [6]], [[7], [8]]]
    """
    chosen: dict[tuple[bytes, ...], list] = {}
    for number in range(len(corpus)):
        if len(document := corpus.document(number)) > 1:
            chosen.setdefault(_key(document), document)
    return Corpus.from_documents(chosen.values()).evenly_spaced(most)


def word_starts(tokenizer: Tokenizer) -> Bool[np.ndarray, "vocab"]:
    """Returns for each token id whether it begins a word: whether a space precedes it in a text."""
    # Decoded between two words: spaces at the ends of a text are omitted.
    word = tokenizer.encode("the")
    place = len(tokenizer.decode(word))
    texts = (tokenizer.decode([*word, token, *word]) for token in range(tokenizer.vocab_size))
    return np.array([text[place : place + 1] == " " for text in texts])


def with_replaced_words(corpus: Corpus, number: int, starts: Bool[np.ndarray, "vocab"], seed: int) -> Corpus:
    """Returns documents of which `number` words each were replaced by random ones.

    A new word is drawn from the running text of all documents, among those of as many tokens, so that rows keep their
    lengths; it differs from the old one. A document with too few words that have such a substitute keeps the others.

    Args:
        corpus: the documents.
        number: of words that are replaced in each.
        starts: which token ids begin a word.
        seed: of the random choice.
    """
    random = np.random.default_rng(seed)
    tokens = np.array(corpus.tokens[: corpus.sentences[-1]])
    edges = np.asarray(corpus.sentences[corpus.documents])
    begins = starts[tokens]
    begins[edges[:-1]] = True
    first = np.flatnonzero(begins)
    length = np.diff(np.append(first, len(tokens)))
    running = {size: first[length == size] for size in set(length.tolist())}
    kinds = {size: len({tokens[at : at + size].tobytes() for at in places}) for size, places in running.items()}
    replaceable = np.array([kinds[size] > 1 for size in length.tolist()])
    changed = tokens.copy()
    for start, end in pairwise(edges):
        inside = np.flatnonzero((first >= start) & (first < end) & replaceable)
        for word in random.choice(inside, min(number, len(inside)), replace=False):
            at, size = first[word], length[word]
            while True:
                other = random.choice(running[size])
                if (tokens[other : other + size] != tokens[at : at + size]).any():
                    changed[at : at + size] = tokens[other : other + size]
                    break
    return Corpus(changed, corpus.sentences, corpus.documents)


def _documents(chosen: Sequence[tuple[Labelled, list]], most: int) -> Documents:
    places = np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)
    texts, ids = zip(*(chosen[place] for place in places), strict=True)
    labels = {question: [text.labels[question] for text in texts] for question in texts[0].labels}
    return Documents(Corpus.from_documents(ids), labels, [text.group for text in texts])


def _keys(corpus: Corpus) -> set[tuple[bytes, ...]]:
    return {_key(corpus.document(number)) for number in range(len(corpus))}


def _key(document: Sequence[Int[np.ndarray, "_"]]) -> tuple[bytes, ...]:
    return tuple(np.asarray(row, np.int32).tobytes() for row in document)
