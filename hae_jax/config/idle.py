"""Fields of a config that have no effect with the values of the others."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hae_jax.config.model import SCHEME_FIELDS

if TYPE_CHECKING:
    from hae_jax.config.run import Config

NAMED_CORPORA = ("sotu", "reviews")
"""Corpora by name, whose documents have no fields."""


class Reason(NamedTuple):
    """Why a field has no effect.

    Attributes:
        condition: the values that make it idle, as part of a message.
        repair: what to do about it.
    """

    condition: str
    repair: str


class Idle(NamedTuple):
    """Fields that have no effect under a condition.

    Attributes:
        names: of the fields.
        when: the condition.
        reason: why; `{}` is the value of the field `of`.
        of: field that decides.
    """

    names: tuple[str, ...]
    when: Callable[["Config"], bool]
    of: str
    repair: str


IDLE = (
    Idle(
        ("model.forget_bias",), lambda c: c.model.initializer in SCHEME_FIELDS["forget_bias"], "model.initializer",
        "That scheme sets the bias of the forget gate itself; use --model.initializer orthogonal, or leave it out.",
    ),
    Idle(
        ("model.forget_bias",), lambda c: not c.model.use_bias, "model.use_bias",
        "There are no biases; use --model.use_bias true, or leave it out.",
    ),
    Idle(
        ("model.recurrent_gain",), lambda c: c.model.initializer in SCHEME_FIELDS["recurrent_gain"],
        "model.initializer",
        "A shift register has a gain of its own, --model.word_gain.",
    ),
    Idle(
        ("model.timescale",), lambda c: c.model.initializer != "chrono", "model.initializer",
        "Only chrono has one; leave it out.",
    ),
    Idle(
        ("model.word_gain", "model.sentence_gain"), lambda c: c.model.initializer != "mirror", "model.initializer",
        "Only --model.initializer mirror has it; use that, or leave this out.",
    ),
    Idle(
        ("model.layer_norm_gain",), lambda c: c.model.layer_norm == "none", "model.layer_norm",
        "Use --model.layer_norm cell or output, or leave it out.",
    ),
    Idle(
        ("model.recurrent_dropout_kind",), lambda c: not c.model.recurrent_dropout, "model.recurrent_dropout",
        "Use --model.recurrent_dropout 0.1, for example, or leave it out.",
    ),
    Idle(
        ("model.sentence_share",), lambda c: not c.model.sentence_loss, "model.sentence_loss",
        "Use --model.sentence_loss 1, or leave it out.",
    ),
    Idle(
        (
            "model.sentence_dim", "model.feedback", "model.sentence_gain", "model.sentence_loss",
            "model.sentence_share", "model.vector_loss", "optim.sentence_lr_scale",
        ),
        lambda c: c.model.kind == "flat", "model.kind",
        "A flat model has no sentence level; use --model.kind hierarchical, or leave it out.",
    ),
    Idle(
        ("optim.topic_lr_scale",), lambda c: not c.model.topic_dim, "model.topic_dim",
        "Use --model.topic_dim 256, for example, or leave it out.",
    ),
    Idle(
        ("optim.clip_norm",), lambda c: c.optim.clip == "none", "optim.clip",
        "Nothing is clipped; choose a clip, or leave it out.",
    ),
    Idle(
        ("data.field",), lambda c: not has_fields(c.data.corpus), "data.corpus",
        "Only .jsonl and .csv have fields; leave it out.",
    ),
)  # fmt: skip
"""Every field that has no effect under some values of the others."""


def idle_fields(config: "Config") -> dict[str, Reason]:
    """Returns the fields of a config that have no effect, by dotted name.

    Example:
        >>> from hae_jax.config import preset
        >>> idle_fields(preset("tiny"))["model.forget_bias"].condition
        "with model.initializer 'mirror'"
    """
    found: dict[str, Reason] = {}
    for names, when, of, repair in IDLE:
        if when(config):
            section, field = of.split(".")
            value = getattr(getattr(config, section), field)
            found = {name: Reason(f"with {of} {value!r}", repair) for name in names} | found
    return found


def has_fields(corpus: str) -> bool:
    """Returns whether documents of a corpus may have fields: not those of named corpora and of .txt.

    Example:
        >>> has_fields("sotu"), has_fields("letters.txt.gz"), has_fields("letters.csv"), has_fields("folder")
        (False, False, True, True)
    """
    return corpus not in NAMED_CORPORA and not corpus.lower().endswith((".txt", ".txt.gz"))
