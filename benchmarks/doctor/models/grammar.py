"""The grammar of small models: every choice that a model consists of, and how a seed draws them.

A variant is one sentence of the grammar: a kind of model, a library, layers, data, shapes, a loss and an optimizer. The
disease is one more word of it, so that a healthy variant and its sick twin differ in nothing else.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

KINDS = (
    "autoencoder", "hierarchy", "seq2seq", "language model", "forecaster", "classifier", "regressor", "VAE",
)  # fmt: skip
"""Kinds of models; a hierarchy is an autoencoder of documents."""
WITH_CODE = ("autoencoder", "hierarchy", "seq2seq", "VAE")
"""Kinds whose decoder reads the input through a code or a state."""


@dataclass(frozen=True)
class Variant:
    """A model with its data and its training.

    Attributes:
        kind: one of `KINDS`.
        seed: of all choices, weights and data.
        library: that its layers are written with: "plain" JAX, "linen", "nnx" or "equinox".
        loop: of plain recurrences: "scan", "map" (a scan of one example, mapped) or "unrolled" by Python.
        cell: "lstm", "gru" or "rnn".
        layers: recurrent layers.
        units: of each layer.
        bidirectional: whether encoders read in both directions.
        convolution: whether a convolution precedes the recurrence.
        attention: whether outputs attend to the encoder's outputs, or to earlier steps.
        norm: whether the outputs of recurrences are normalized.
        residual: whether layers after the first are added to their inputs.
        pool: how an encoder summarizes its outputs: "last", "mean", "max" or "attention".
        feed: what a decoder reads: "previous" targets, the "code", or "both".
        dropout: rate of it.
        data: source of the sequences.
        task: what is to be predicted from them.
        shape: of outputs and labels, without the batch: "", "1", "time", "time 1" or "wide".
        error: of outputs: "ids", "one-hot", "binary", "square", "absolute" or "huber".
        formula: number of the way in which the error is written.
        real: how positions are marked as real: "all", "pad", "mask", "lengths" or "weights".
        weighted: whether examples have weights.
        extra: whether there is a second output with its own loss.
        joined: whether inputs and targets are cut from one field, or windows from one long series.
        scaling: of series: "standard", "unit" or "large".
        container: of a batch: "dict", "tuple", "named" tuple or "object".
        returns: of the loss: "number", "pair" or "mapping".
        optimizer: "adam", "adamw", "rmsprop" or "sgd", with momentum.
        schedule: of the learning rate: "constant", "warm-up", "cosine", "decay" or "accumulate", which averages the
            gradients of two batches.
        clip: of gradients: "none", "norm" or "value".
        channels: of a series.
        length: steps of the longest sequence.
        batch: examples of a batch.
        vocab: number of ids, padding included.
        speed: factor of the usual learning rate.
        disease: slug of the cause that was injected; "healthy" if none.
        severity: of the disease, between 0 and 1.
    """

    kind: str
    seed: int
    library: str
    loop: str
    cell: str
    layers: int
    units: int
    bidirectional: bool
    convolution: bool
    attention: bool
    norm: bool
    residual: bool
    pool: str
    feed: str
    dropout: float
    data: str
    task: str
    shape: str
    error: str
    formula: int
    real: str
    weighted: bool
    extra: bool
    joined: bool
    scaling: str
    container: str
    returns: str
    optimizer: str
    schedule: str
    clip: str
    channels: int
    length: int
    batch: int
    vocab: int
    speed: float
    disease: str = "healthy"
    severity: float = 0.5

    def has(self, *diseases: str) -> bool:
        """Returns whether the disease is one of the given ones."""
        return self.disease in diseases

    def between(self, low: float, high: float) -> float:
        """Returns a number between a mild and a severe one, interpolated logarithmically by severity."""
        return float(low * (high / low) ** self.severity)

    @property
    def of_ids(self) -> bool:
        """Whether its sequences consist of ids."""
        return self.data in TEXTS

    @property
    def name(self) -> str:
        """Kind, seed and disease."""
        return f"{self.kind} | {self.seed} | {self.disease}"

    @property
    def windows(self) -> bool:
        """Whether its examples are windows of long series."""
        return self.kind == "forecaster" and self.joined and self.task != "every"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that a report may name: a forecast from one window is a regression, and a copy an autoencoding."""
        if self.kind == "forecaster" and self.task != "every" and not self.windows:
            return ("forecaster", "regressor")
        if self.kind == "seq2seq" and self.task == "copy":
            return ("seq2seq", "autoencoder")
        return ("autoencoder",) if self.kind == "hierarchy" else (self.kind,)

    @property
    def held_out(self) -> bool:
        """Whether its half is held out, by a hash of its choices; twins are in the same half."""
        choices = repr(sorted(asdict(replace(self, disease="healthy", severity=0.5)).items()))
        return hashlib.sha256(choices.encode()).digest()[0] % 2 == 1


TEXTS = ("chain", "motifs", "letters")
"""Sources of ids."""
SERIES = ("sines", "resonance", "sunspots", "seasons", "logistic", "squares")
"""Sources of real numbers."""
USUAL: dict[str, tuple[Any, ...]] = {
    "library": ("plain", "plain", "linen", "nnx", "equinox"),
    "loop": ("scan", "scan", "map", "unrolled"),
    "cell": ("lstm", "lstm", "gru", "gru", "rnn"),
    "layers": (1, 1, 1, 1, 2, 2, 3, 4),
    "units": (16, 24, 32),
    "bidirectional": (False, False, True),
    "convolution": (False, False, True),
    "attention": (False, False, True),
    "norm": (False, True),
    "residual": (False, True),
    "pool": ("last", "last", "mean", "max", "attention"),
    "feed": ("previous", "both", "code"),
    "dropout": (0.0, 0.0, 0.1, 0.2),
    "data": (*TEXTS, *SERIES),
    "task": ("same",),
    "shape": ("time",),
    "error": ("ids",),
    "formula": (0, 1, 2, 3),
    "real": ("all", "pad", "mask", "lengths", "weights"),
    "weighted": (False, False, False, True),
    "extra": (False, False, False, False, True),
    "joined": (True, False),
    "scaling": ("standard", "standard", "unit", "large"),
    "container": ("dict", "tuple", "named", "object"),
    "returns": ("number", "pair", "mapping"),
    "optimizer": ("adam", "adam", "adamw", "rmsprop", "sgd"),
    "schedule": ("constant", "constant", "warm-up", "cosine", "decay", "accumulate"),
    "clip": ("none", "norm", "value"),
    "channels": (1, 1, 2, 3),
    "length": (6, 8, 10, 14),
    "batch": (8, 12, 16, 24),
    "vocab": (8, 12, 20),
    "speed": (0.5, 1.0, 2.0),
}
"""Choices of most kinds."""
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "autoencoder": {"data": ("chain", "motifs", *SERIES), "shape": ("time", "time 1"), "length": (5, 6, 8, 10)},
    "hierarchy": {"data": ("chain", "motifs"), "length": (5, 6), "batch": (8, 12, 16), "real": ("pad", "mask"),
                  "layers": (1,), "bidirectional": (False,)},
    "seq2seq": {"data": ("chain", "motifs", "letters"), "task": ("copy", "reverse", "sort", "cipher"),
                "length": (4, 5, 6, 8), "vocab": (6, 8, 12)},
    "language model": {"data": ("chain", "motifs"), "length": (8, 12, 16, 20)},
    "forecaster": {"data": SERIES, "task": ("next", "every", "horizon"), "shape": ("", "1"), "real": ("all",),
                   "length": (8, 12, 16, 20), "pool": ("last",)},
    "classifier": {"task": ("whole", "whole", "tags"), "error": ("ids", "one-hot", "binary"), "shape": ("", "1"),
                   "length": (6, 8, 12, 16)},
    "regressor": {"task": ("whole", "whole", "tags"), "shape": ("", "1", "wide"), "length": (6, 8, 12, 16)},
    "VAE": {"data": ("chain", "motifs", *SERIES), "shape": ("time", "time 1"), "length": (5, 6, 8, 10)},
}  # fmt: skip
"""Choices of a kind that differ from the usual ones."""


def draw(kind: str, seed: int) -> Variant:
    """Returns the healthy variant of a kind that belongs to a seed.

    Example:
        >>> draw("forecaster", 3) == draw("forecaster", 3), draw("forecaster", 3).disease
        (True, 'healthy')
    """
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    choices = USUAL | CHOICES[kind]
    drawn = {name: values[rng.integers(len(values))] for name, values in choices.items()}
    return agree(Variant(kind, seed, **drawn))


def agree(v: Variant) -> Variant:
    """Returns a variant whose choices fit each other."""
    change: dict[str, Any] = {}
    numbers = not v.of_ids
    if v.kind in ("forecaster", "regressor") or (numbers and v.kind in ("autoencoder", "VAE")):
        change["error"] = ("square", "square", "absolute", "huber")[v.formula]
    if v.kind in ("autoencoder", "VAE"):
        change["shape"] = "time" if v.of_ids else v.shape if v.channels == 1 else "time wide"
    elif v.kind == "forecaster":
        change["shape"] = {"next": v.shape, "every": f"time {v.shape}", "horizon": f"time {v.shape}"}[v.task].strip()
    elif v.kind in ("classifier", "regressor") and v.task == "tags":
        change["shape"] = "time 1" if v.shape == "1" else "time"
    if v.kind == "classifier" and v.error == "one-hot":
        change["shape"] = f"{change.get('shape', '')} wide".strip().replace("1 ", "")
    if v.kind == "seq2seq":
        change["joined"] = False
    small = v.length <= 8 and v.layers == 1 and v.kind != "hierarchy"
    if v.library != "plain" or (v.loop == "unrolled" and not small):
        change["loop"] = "scan"
    # Outputs must not depend on later steps that they have to predict.
    if v.kind == "language model" or v.task == "every":
        change |= {"bidirectional": False, "pool": "last"}
    if v.kind == "hierarchy":
        change |= {"attention": False, "feed": "both" if v.feed == "code" else v.feed}
    if v.kind == "autoencoder" and v.attention:
        # Attention to the encoder's outputs leaves no bottleneck.
        change["attention"] = False
    if v.kind == "VAE":
        change |= {"attention": False, "feed": "code" if v.seed % 2 else "both", "dropout": 0.0}
    if v.kind == "seq2seq":
        change["feed"] = "previous" if v.feed == "code" else v.feed
    if v.layers > 2:
        # Deep stacks learn within few steps only if inputs reach their tops.
        change |= {"residual": True, "bidirectional": False}
    if numbers and v.real == "pad":
        change["real"] = "mask"
    if v.of_ids:
        change["channels"] = 1
    return replace(v, **change)
