"""The training setup that a user hands to the doctor: a loss, parameters, batches, an optimizer, optional functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any


class SetupError(ValueError):
    """A part of the user's setup does not work; `slug` is the cause, the message is for the user."""

    def __init__(self, slug: str, message: str):
        super().__init__(message)
        self.slug = slug


@dataclass(frozen=True)
class TrainingSetup:
    """A training run, before its first step or at any later one.

    `loss`, `params` and `batches` are required. Without the optional functions some probes cannot run; the report
    lists them.

    Attributes:
        loss: `loss(params, batch, key)`, the number to minimize, or a tuple or mapping with it. The key may be left
            out. A keyword `train`, `training`, `is_training`, `deterministic` or `inference` is used as a switch.
        params: any tree of arrays.
        batches: any iterable of batches, or a function that returns one. A batch is any tree of arrays, or an object
            whose attributes are arrays; examples lie along the first axis.
        optimizer: an optax optimizer, or an object that holds one as `tx`; Adam if None.
        encode: `encode(params, batch, key)`, the code of each example.
        decode_loss: `decode_loss(params, code, batch, key)`, the loss of a batch given any codes.
        logits: `logits(params, batch, key)`, teacher-forced; used where none are found in the loss.
        free_run: `free_run(params, batch, key)`, the loss, ids or values when each step is fed its own output.
        evaluate: `evaluate(params, batch, key)`, the loss used for evaluation, if it is another function.
        words: name of the batch's field of ids.
        mask: name of the field that is true at real positions.
        values: name of the field of real numbers.
        vocab: number of ids; larger ones are noted, since JAX clips them silently.
        pad: id of padding.
        unknown: id of words outside of the vocabulary.
        batch_axis: axis of the examples; an object may have `time_major` instead.
        module: a Flax module; not needed, since the trace holds the names of its layers.
        seed: of the doctor's own randomness.
        framework: library that the model is written with, in whose words repairs are given: "jax", "flax", "nnx",
            "equinox", "keras" or "torch".
        notes: remarks for the user about how the setup was made, for the report.

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
    framework: str = "jax"
    notes: tuple[str, ...] = ()


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
"""Other names under which parts of a setup are accepted."""
FUNCTIONS = ("loss", "encode", "decode_loss", "logits", "free_run", "evaluate")
"""Parts that must be callable."""
REQUIRED = {"loss": "loss-fails", "params": "no-parameters", "batches": "no-batches"}
"""Parts without which nothing can be examined, with the cause reported if they are missing."""


def parse(given: Any) -> TrainingSetup:
    """Makes a setup of anything that has a loss, parameters and batches, by attribute or by key.

    Raises:
        SetupError: if one of those is missing, or what should be a function is not callable.

    Example:
        >>> parse({"loss_fn": sum, "params": [], "data": [], "vocab_size": 7}).vocab
        7
    """
    if isinstance(given, TrainingSetup):
        check_functions(vars(given))
        return given

    def find(name: str) -> Any:
        for alias in (name, *ALIASES.get(name, ())):
            value = given.get(alias) if isinstance(given, Mapping) else getattr(given, alias, None)
            if value is not None:
                return value
        return None

    found = {each.name: value for each in fields(TrainingSetup) if (value := find(each.name)) is not None}
    for name, slug in REQUIRED.items():
        if name not in found:
            raise SetupError(slug, f"setup must have {name}, got none. Give it as an attribute or a key.")
    if isinstance(found.get("vocab"), (list, tuple, dict, set)):
        found["vocab"] = len(found["vocab"])
    if find("time_major"):
        found["batch_axis"] = 1
    check_functions(found)
    return TrainingSetup(**found)


def check_functions(parts: Mapping[str, Any]) -> None:
    """Checks that functions are callable.

    Raises:
        SetupError: if one is not.
    """
    for name in FUNCTIONS:
        value = parts.get(name)
        if value is not None and not callable(value):
            slug = REQUIRED.get(name, "patient-fails")
            got = f"{' '.join(repr(value).split())[:60]} ({type(value).__name__})"
            raise SetupError(slug, f"{name} must be a function, got {got}. Give {name}(params, batch).")


def format_error(error: Exception, length: int = 300) -> str:
    """Writes an exception on one line.

    Example:
        >>> format_error(ValueError("too\\nlarge."))
        'ValueError: too large'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:length].rstrip(' .')}"
