"""What a user brings to the doctor: a loss, parameters, batches and an optimizer, and whatever more there is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any


class SetupError(ValueError):
    """Something of the patient's own does not work; its words are for the user, `slug` is the cause."""

    def __init__(self, slug: str, words: str):
        super().__init__(words)
        self.slug = slug


@dataclass(frozen=True)
class TrainingSetup:
    """A training run, as it is before its first step or anywhere in it.

    The first three are needed; the doctor finds by itself what it can of the rest, and says what it could not look at.

    Attributes:
        loss: `loss(params, batch, key)`, a number to be minimised, or a pair of it and anything. The key may be left
            out. If there is a keyword `train`, `training`, `is_training` or `deterministic`, it is used as a switch.
        params: any tree of arrays.
        batches: any iterable of batches, or a function that returns one. A batch is any tree of arrays, or an object
            whose attributes are arrays; examples are along the first axis.
        optimizer: an optax optimizer, or what holds one as its `tx`; Adam where there is none.
        encode: `encode(params, batch, key)`, the code of each example.
        decode_loss: `decode_loss(params, code, batch, key)`, the loss of a batch given any codes.
        logits: `logits(params, batch, key)`, teacher-forced; asked where the loss does not show any.
        free_run: `free_run(params, batch, key)`, the loss, or the ids or values, when each step reads its own output.
        evaluate: `evaluate(params, batch, key)`, the loss as it is used for evaluation, where it is another function.
        words: name of the batch's field of ids.
        mask: name of the field that is true where something is real.
        values: name of the field of real numbers.
        vocab: number of different ids; others are noted, as JAX reads them without a word.
        pad: id that fills up sequences.
        unknown: id of words outside the vocabulary.
        batch_axis: axis of the examples; an object may say `time_major` instead.
        module: a Flax module; its own names of layers come with the trace, so nothing more is asked of it.
        seed: of the doctor's own randomness.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> TrainingSetup(lambda p, x: ((p - x) ** 2).mean(), jnp.zeros(3), [jnp.ones((2, 3))], optax.adam(1e-3)).vocab
    """

    loss: Callable[..., Any]
    params: Any
    batches: Any
    optimizer: Any = None
    encode: Callable[..., Any] | None = None
    decode_loss: Callable[..., Any] | None = None
    logits: Callable[..., Any] | None = None
    free_run: Callable[..., Any] | None = None
    evaluate: Callable[..., Any] | None = None
    words: str | None = None
    mask: str | None = None
    values: str | None = None
    vocab: int | None = None
    pad: int | None = None
    unknown: int | None = None
    batch_axis: int = 0
    module: Any = None
    seed: int = 0


ALIASES = {
    "loss": ("loss_fn", "loss_function", "objective", "train_loss"),
    "params": ("parameters", "variables", "weights", "model", "state"),
    "batches": ("data", "dataset", "loader", "train_batches", "batch_iter"),
    "optimizer": ("optimiser", "opt", "tx"),
    "evaluate": ("eval_loss", "eval_loss_fn", "evaluate_loss"),
    "vocab": ("vocab_size", "vocabulary", "vocabulary_size", "num_words"),
    "pad": ("pad_id", "padding_id"),
    "unknown": ("unk", "unk_id", "unknown_id"),
    "words": ("words_field", "tokens", "ids"),
    "mask": ("mask_field",),
    "values": ("values_field",),
}
"""Other names that people give to what a patient offers."""


FUNCTIONS = ("loss", "encode", "decode_loss", "logits", "free_run", "evaluate")
"""What is called."""
NEEDED = {"loss": "loss-fails", "params": "no-parameters", "batches": "no-batches"}
"""What has to be there, and what its absence is called."""


def parse(given: Any) -> TrainingSetup:
    """Makes a patient out of anything that has at least a loss, parameters and batches, by attribute or by key.

    Raises:
        Trouble: if one of those is missing, or what should be a function is none.

    Example:
        >>> parse({"loss_fn": sum, "params": [], "data": [], "vocab_size": 7}).vocab
        7
    """
    if isinstance(given, TrainingSetup):
        check(vars(given))
        return given
    known = given if isinstance(given, Mapping) else {}

    def find(name: str) -> Any:
        for each in (name, *ALIASES.get(name, ())):
            value = known.get(each) if known else getattr(given, each, None)
            if value is not None:
                return value
        return None

    found = {each.name: value for each in fields(TrainingSetup) if (value := find(each.name)) is not None}
    for name, slug in NEEDED.items():
        if name not in found:
            raise SetupError(slug, f"patient must have {name}, got none. Give it as an attribute or a key.")
    if isinstance(found.get("vocab"), (list, tuple, dict, set)):
        found["vocab"] = len(found["vocab"])
    if find("time_major"):
        found["batch_axis"] = 1
    check(found)
    return TrainingSetup(**found)


def check(found: Mapping[str, Any]) -> None:
    """Looks whether what a patient offers can be called.

    Raises:
        Trouble: if it cannot.
    """
    for name in FUNCTIONS:
        if found.get(name) is not None and not callable(found[name]):
            slug = NEEDED.get(name, "patient-fails")
            got = f"{' '.join(repr(found[name]).split())[:60]} ({type(found[name]).__name__})"
            raise SetupError(slug, f"{name} must be a function, got {got}. Give {name}(params, batch).")
