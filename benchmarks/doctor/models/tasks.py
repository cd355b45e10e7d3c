"""Tasks: from the sequences of a variant to the fields of its batches: inputs, targets, marks and weights."""

from typing import Any

import numpy as np

from benchmarks.doctor.models import sequences
from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.sequences import PAD

BATCHES = 40
"""Batches of a setup, used in turn."""
WINDOWS = 20
"""Windows that are cut from one series, if examples are windows."""
HORIZON = 4
"""Steps that are forecast at once."""
CLASSES = 3
"""Classes of traits; two if the label is binary."""
Fields = dict[str, np.ndarray]


def fields(v: Variant) -> Fields:
    """Returns all examples of a variant.

    Returns:
        `x`, the inputs, and `y`, the targets; `real`, which steps are, `[example, time]`; `weights` of examples, and
        `z`, the second target, if the variant has them.
    """
    rng = np.random.default_rng((v.seed, 7))
    count = v.batch * BATCHES
    if v.kind == "hierarchy":
        made = documents(v, rng, count)
    elif v.of_ids:
        made = texts(v, rng, count)
    else:
        made = series(v, rng, count)
    if v.weighted:
        made["weights"] = rng.uniform(0.5, 1.5, count).astype(np.float32)
    if v.extra:
        made["z"] = made["trait"].astype(np.float32)
    return shuffled_or_not(v, rng, made)


def lengths(v: Variant, rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns the number of real steps of each example; some have none if that is the fault."""
    if v.real == "all":
        return np.full(count, v.length)
    drawn = rng.integers(max(2, v.length // 2), v.length + 1, count)
    return np.where(rng.random(count) < v.between(0.02, 0.05), 0, drawn) if v.has("masked-nan") else drawn


def texts(v: Variant, rng: np.random.Generator, count: int) -> Fields:
    """Returns inputs and targets of ids."""
    ahead = v.kind == "language model"
    ids, trait = sequences.TEXTS[v.data](rng, count, v.length + ahead, v.vocab)
    if v.has("vocabulary-collapse"):
        rare = ids > 1 + (v.vocab - 1) * (1 - v.between(0.6, 0.85))
        ids = np.where(rare, 1, ids)
    ends = lengths(v, rng, count)
    real = np.arange(v.length) < ends[:, None]
    ids = np.where(np.arange(ids.shape[1]) < ends[:, None] + ahead, ids, PAD)
    made = {"x": ids, "trait": trait, "real": real}
    if ahead:
        made |= {"x": ids[:, :-1], "y": ids[:, 1:], "real": ids[:, 1:] != PAD}
    elif v.kind == "seq2seq":
        made["y"] = rewrite(v, ids, ends)
    elif v.kind in ("autoencoder", "VAE"):
        made["y"] = ids
    elif v.task == "tags":
        # Whether the step before had one of the larger ids.
        before = np.pad(ids, ((0, 0), (1, 0)))[:, :-1]
        made["y"] = label(v, np.where(2 * before > v.vocab, 1.0, -1.0))
    else:
        made["y"] = label(v, trait)
    return made


def rewrite(v: Variant, ids: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the targets of a sequence-to-sequence task; padding stays at the ends."""
    if v.task == "cipher":
        return np.where(ids == PAD, PAD, (ids + 1) % (v.vocab - 1) + 1).astype(np.int32)
    if v.task == "sort":
        return np.sort(np.where(ids == PAD, v.vocab, ids), axis=1) % v.vocab
    if v.task == "reverse":
        at = ends[:, None] - 1 - np.arange(ids.shape[1])
        return np.where(at >= 0, np.take_along_axis(ids, np.maximum(at, 0), 1), PAD)
    return ids


def documents(v: Variant, rng: np.random.Generator, count: int) -> Fields:
    """Returns documents of one to three sentences, `[example, sentence, word]`, blank sentences at the ends."""
    sentences = texts(replace_kind(v), rng, 3 * count)
    present = np.arange(3) < rng.integers(1, 4, count)[:, None]
    x = sentences["x"].reshape(count, 3, -1) * present[..., None]
    return {"x": x, "y": x, "real": x != PAD, "trait": sentences["trait"][::3]}


def replace_kind(v: Variant) -> Variant:
    """Returns the variant of the sentences of documents."""
    return Variant(**{**vars(v), "kind": "autoencoder"})


def series(v: Variant, rng: np.random.Generator, count: int) -> Fields:
    """Returns inputs and targets of real numbers."""
    ahead = {"next": 1, "every": 1, "horizon": HORIZON}.get(v.task, 0)
    windows = WINDOWS if v.windows else 1
    time = v.length + ahead
    parts = [sequences.SERIES[v.data](rng, count // windows, time + windows - 1) for _ in range(v.channels)]
    values = sequences.scale(np.stack([part for part, _ in parts], -1), v.scaling).astype(np.float32)
    trait = parts[0][1].repeat(windows)
    if windows > 1:
        # [series, window, step, channel] to examples in the order of time.
        values = np.lib.stride_tricks.sliding_window_view(values, time, 1).swapaxes(2, 3).reshape(-1, time, v.channels)
    if v.has("inputs-unscaled"):
        values = values * v.between(30, 1000) + (20 if v.seed % 2 else 0)
    real = np.arange(v.length) < lengths(v, rng, count)[:, None]
    x = values[:, : v.length] * real[..., None]
    made: Fields = {"x": x, "trait": trait, "real": real}
    if v.kind == "forecaster":
        later = values[:, 1:] if v.task == "every" else values[:, v.length :]
        y = later[..., 0] if v.task != "next" else later[:, 0, 0]
        made["y"] = y[..., None] if v.shape.endswith("1") else y
    elif v.kind in ("autoencoder", "VAE"):
        made["y"] = x[..., 0] if v.shape == "time" else x
        if v.shape == "time":
            made["x"] = x
    elif v.task == "tags":
        smooth = np.cumsum(x[..., 0], 1) / np.arange(1, v.length + 1)
        signal = smooth if v.kind == "regressor" else np.where(x[..., 0] > np.median(x[..., 0]), 1.0, -1.0)
        made["y"] = label(v, signal / (1 if v.kind == "classifier" else signal.std()))
    else:
        made["y"] = label(v, trait)
    return made


def label(v: Variant, trait: np.ndarray) -> np.ndarray:
    """Returns labels in the shape of the variant: classes of a trait between -1 and 1, or the trait itself."""
    if v.kind == "regressor":
        y: Any = trait.astype(np.float32)
        if v.shape == "wide":
            return np.stack([y, y**2], -1)
    else:
        classes = 2 if v.error == "binary" or v.task == "tags" else CLASSES
        bins = np.clip(((trait + 1) / 2 * classes).astype(np.int32), 0, classes - 1)
        if v.error == "one-hot":
            return np.eye(CLASSES, dtype=np.float32)[bins]
        y = bins.astype(np.float32) if v.error == "binary" else bins
    return y[..., None] if v.shape.endswith("1") else y


def shuffled_or_not(v: Variant, rng: np.random.Generator, made: Fields) -> Fields:
    """Returns examples in their order, which is sorted, and paired with other targets, if that is the fault."""
    order = rng.permutation(len(made["x"]))
    if v.has("data-not-shuffled"):
        first = made["x"].reshape(len(made["x"]), -1)[:, 0] if v.of_ids else made["trait"]
        order = np.argsort(first, kind="stable")
    made = {name: each[order] for name, each in made.items()}
    if v.has("labels-out-of-range"):
        made["y"] = made["y"] + 1
    if v.has("data-not-finite"):
        made["x"] = np.where(rng.random(made["x"].shape) < v.between(1e-3, 1e-2), np.nan, made["x"])
    if v.has("targets-scrambled"):
        for at in range(0, len(made["y"]), v.batch):
            made["y"][at : at + v.batch] = rng.permutation(made["y"][at : at + v.batch])
    return {name: each for name, each in made.items() if name != "trait"}
