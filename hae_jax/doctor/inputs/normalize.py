"""A patient undressed: functions of flat lists of arrays, whatever trees, objects and keys the user has."""

import dataclasses
import functools
import inspect
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hae_jax.doctor.inputs.arrays import Arrays, Form, array, flatten, held, trainable
from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup

SWITCHES = {"train": True, "training": True, "is_training": True, "deterministic": False, "inference": False}
"""Keywords that tell training from evaluation, with their values while training."""
MAX_BATCHES = 64
"""Batches that are kept."""
PATIENCE = 15.0
"""Seconds that batches are waited for."""
RATE = 1e-3
"""Of the Adam that stands in for an optimizer."""
UNTRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What JAX raises where a program asks for a number that is not there before it runs."""


def scalar(result: Any) -> Any:
    """Takes the loss out of what a loss function returned."""
    if isinstance(result, Mapping) and "loss" in result:
        result = result["loss"]
    while isinstance(result, (tuple, list)):
        result = result[0]
    return result


@dataclasses.dataclass
class NormalizedSetup:
    """What the probes work with.

    Attributes:
        patient: what the user brought.
        params: the trainable arrays.
        form: how they are put back.
        batches: arrays of each batch; all of one shape.
        batch_form: how those are put back.
        key: randomness, of the kind that the loss takes.
        loss: of parameters, fields and key.
        evaluate: the same without noise, if there is such a switch or function; else None.
        optimizer: the user's, or what stands in for it.
        notes: what else was noticed, for the user.
    """

    patient: TrainingSetup
    params: Arrays
    form: Form
    batches: list[Arrays]
    batch_form: Form
    key: Any
    loss: Callable[..., Any]
    evaluate: Callable[..., Any] | None
    optimizer: Any
    notes: list[str]

    def offered(self, name: str) -> Callable[..., Any] | None:
        """Returns one of the user's functions, of parameters, fields, key, and what stands before the batch."""
        function = getattr(self.patient, name)
        if function is None:
            return None
        plain = adapt(function, 3 + (name == "decode_loss"))

        def call(params: Arrays, fields: Arrays, key: Any, *before: Any) -> Any:
            return plain(self.form.build(params), *before, self.batch_form.build(fields), key)

        return call


def adapt(function: Callable[..., Any], most: int, **switch: Any) -> Callable[..., Any]:
    """Leaves out the last positional arguments, the key above all, where a function takes fewer."""
    try:
        takes = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return functools.partial(function, **switch)
    if any(p.kind is p.VAR_POSITIONAL for p in takes):
        return functools.partial(function, **switch)
    places = [
        p.name for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in SWITCHES
    ]
    named = next(
        (p.name for p in takes if p.kind is p.KEYWORD_ONLY and p.name in ("key", "rng", "rngs", "rng_key")), None
    )

    def call(*arguments: Any) -> Any:
        more = dict(switch)
        if named is not None and len(places) < most:
            more[named] = arguments[-1]
        return function(*arguments[: len(places)], **more)

    return call


def normalize(patient: TrainingSetup) -> NormalizedSetup:
    """Undresses a patient.

    Raises:
        Trouble: if there are no parameters or batches, or the loss does not return a number.
    """
    notes: list[str] = []
    params, form = flatten(patient.params, trainable)
    if not params:
        raise SetupError(
            "no-parameters", "params must hold arrays of real numbers, got none. Give what is to be trained."
        )
    params = [jnp.asarray(leaf) for leaf in params]
    batches, batch_form = collect(patient.batches, notes)
    switch = next((name for name in switches(patient.loss)), None)
    loss = adapt(patient.loss, 3, **({} if switch is None else {switch: SWITCHES[switch]}))

    def whole(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(params: Arrays, fields: Arrays, key: Any) -> Any:
            value = jnp.asarray(scalar(function(form.build(params), batch_form.build(fields), key)))
            if value.shape:
                raise ValueError(f"loss must be a single number, got shape {value.shape}. Take its mean.")
            return value.astype(jnp.float32) if jnp.issubdtype(value.dtype, jnp.integer) else value

        return call

    evaluate = None
    if patient.evaluate is not None:
        evaluate = whole(adapt(patient.evaluate, 3))
    elif switch is not None:
        evaluate = whole(adapt(patient.loss, 3, **{switch: not SWITCHES[switch]}))
    optimizer = patient.optimizer
    if optimizer is None:
        optimizer = optax.adam(RATE)
        notes.append(f"no optimizer was given; Adam with a rate of {RATE:g} stands in")
    elif not hasattr(optimizer, "init"):
        # Flax's `nnx.Optimizer` and `TrainState` hold one.
        optimizer = getattr(optimizer, "tx", optimizer)
    errors: list[Exception] = []
    for make in (jax.random.key, jax.random.PRNGKey):
        key = make(patient.seed)
        try:
            jax.eval_shape(whole(loss), params, [jnp.asarray(leaf) for leaf in batches[0]], key)
            return NormalizedSetup(
                patient, params, form, batches, batch_form, key, whole(loss), evaluate, optimizer, notes
            )
        except Exception as error:
            # Whatever a user's function raises belongs into the report.
            errors.append(error)
    untraced = [error for error in errors if isinstance(error, UNTRACED)]
    advice = "Write it with jax.numpy so that jax.jit takes it" if untraced else "Call it by hand with this batch"
    raise SetupError("loss-fails", f"loss must return a number, got {format_error([*untraced, *errors][0])}. {advice}.")


def format_error(error: Exception, most: int = 300) -> str:
    """Says on one line what was raised."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most].rstrip(' .')}"


def switches(function: Callable[..., Any]) -> list[str]:
    """Returns the keywords of a function that tell training from evaluation."""
    try:
        return [name for name in inspect.signature(function).parameters if name in SWITCHES]
    except (TypeError, ValueError):
        return []


def collect(given: Any, notes: list[str]) -> tuple[list[Arrays], Form]:
    """Takes some batches of the commonest shape, in their order.

    Raises:
        Trouble: if there are none.
    """
    taken, started, failure = [], time.monotonic(), ""
    try:
        for batch in itertools.islice(stream(given), MAX_BATCHES):
            taken.append(flatten(batch, array))
            if time.monotonic() - started > PATIENCE:
                notes.append(f"batches are slow: {len(taken)} in {PATIENCE:.0f} s")
                break
    except Exception as error:
        # As above; a loader that breaks after some batches has still given some.
        failure = f" ({format_error(error, 200)})"
    shaped = [(tuple((np.shape(leaf), str(leaf.dtype)) for leaf in arrays), arrays, form) for arrays, form in taken]
    shaped = [each for each in shaped if each[1]]
    if not shaped:
        raise SetupError(
            "no-batches",
            f"batches must yield arrays of numbers, got none{failure}. Give a list of batches of NumPy arrays.",
        )
    if not any(leaf.size for _, arrays, _ in shaped for leaf in arrays):
        shapes = ", ".join(str(np.shape(leaf)) for leaf in shaped[0][1])
        raise SetupError(
            "no-batches", f"batches must hold numbers, got arrays of shape {shapes}. Look at what fills them."
        )
    if failure:
        notes.append(f"batches broke off after {len(taken)}{failure}")
    elif len(taken) < MAX_BATCHES:
        notes.append(f"batches ran out after {len(taken)}; they are used again")
    (commonest, number), *_ = Counter(shape for shape, _, _ in shaped).most_common(1)
    if number < len(shaped):
        notes.append(f"batches have several shapes; {number} of {len(shaped)} are looked at")
    chosen = [each for each in shaped if each[0] == commonest]
    _, arrays, form = chosen[0]
    notes += [
        f"{name} is empty: its shape is {np.shape(x)}" for name, x in zip(form.names, arrays, strict=True) if not x.size
    ]
    _, texts = flatten(form.build(arrays), lambda leaf: held(leaf) and not array(leaf))
    notes += [f"{name} holds no numbers; the loss is given the first batch's" for name in texts.names]
    return [[np.asarray(leaf) for leaf in arrays] for _, arrays, _ in chosen], form


def stream(given: Any) -> Iterable[Any]:
    """Makes an iterable of batches out of whatever yields some."""
    if callable(given) and not hasattr(given, "__iter__"):
        try:
            wants = [p for p in inspect.signature(given).parameters.values() if p.default is p.empty]
        except (TypeError, ValueError):
            wants = []
        if wants:
            return (given(at) for at in itertools.count())
        made = given()
        if hasattr(made, "__next__") or isinstance(made, list):
            return made
        return itertools.chain([made], (given() for _ in itertools.count()))
    several = isinstance(given, tuple) and not hasattr(given, "_fields") and not all(array(part) for part in given)
    if isinstance(given, Mapping) or array(given) or (isinstance(given, tuple) and not several):
        return [given]
    return given
