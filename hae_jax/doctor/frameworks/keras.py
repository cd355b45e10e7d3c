"""A Keras model, with what it was compiled with, as a training setup."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from hae_jax.doctor.frameworks import keras_batches
from hae_jax.doctor.frameworks.keras_layers import is_seed, traceable
from hae_jax.doctor.frameworks.keras_optimizer import transformation
from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup, format_error

BATCH_SIZE = 32
"""Examples in a batch of arrays, as in `fit`."""
UNREAD = "code-unwired"
"""Cause of an input that no layer takes: Keras leaves out an encoder whose result is not used."""
DRAWN = ("kernel", "recurrent_kernel")
"""Names of weights that are drawn at random."""


def setup_of(
    model: Any,
    x: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    **parts: Any,
) -> TrainingSetup:
    """Makes a training setup of a Keras model with the backend JAX.

    Args:
        model: a `keras.Model`; loss and optimizer are those of `compile`.
        x: inputs as `fit` takes them: an array, or a list or dictionary of arrays; or a dataset: a list or generator
            of batches (x, y) or (x, y, sample_weight), a `keras.utils.PyDataset`, or another iterable of them.
        y: targets, unless x is a dataset.
        sample_weight: weights of examples or of their steps, unless x is a dataset.
        loss: for a model that is not compiled: what `compile` takes. The model is compiled with it.
        optimizer: likewise; Adam with Keras' learning rate if None.
        batch_size: examples in a batch of arrays, 32 if None.
        shuffle: whether arrays are shuffled, as by `fit`.
        parts: optional parts of a `TrainingSetup`, as `free_run`.

    Raises:
        SetupError: if the backend is not JAX, the model has no loss, or an argument is wrong.
    """
    check_model(model)
    seed = parts.get("seed", 0)
    unread = unread_inputs(model)
    if unread:
        raise SetupError(
            UNREAD,
            f"every input must lead to an output, got {' and '.join(unread)} without one. Pass the encoder's states to "
            "the decoder, LSTM(units)(y, initial_state=[h, c]), or RepeatVector(steps)(code).",
        )
    if x is None:
        raise SetupError(
            "no-batches", "x must be given, got none. Give examine(model, x, y) or examine(model, dataset)."
        )
    if y is None and keras_batches.is_dataset(x):
        batches: Any = keras_batches.of_dataset(x)
    else:
        fixed = next((shape[0] for shape in input_shapes(model) if shape[0]), None)
        size = fixed or batch_size or BATCH_SIZE
        batches = iter(keras_batches.of_arrays((x, y, sample_weight), size, shuffle, seed))
    first = next(batches, None)
    if first is None:
        raise SetupError("no-batches", "dataset must yield batches (x, y), got none. Give a list of batches.")
    build(model, first, loss, optimizer)
    compiled = CompiledModel(model)
    vocabularies = {layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)}
    defaults = {
        "optimizer": transformation(model.optimizer, compiled.trained, compiled.frozen),
        "vocab": next(iter(vocabularies)) if len(vocabularies) == 1 else None,
        "evaluate": compiled.evaluate,
        "framework": "keras",
    }

    looks_up = bool(vocabularies) if input_shapes(model) else None
    stream = (
        keras_batches.convert(batch, looks_up, compiled.mask_value) for batch in itertools.chain([first], batches)
    )
    try:
        return TrainingSetup(compiled.loss, compiled.initial, keras_batches.Kept(stream), **(defaults | parts))
    except TypeError as error:
        raise SetupError(
            "patient-fails", f"arguments must be known, got {format_error(error)}. Leave it out."
        ) from error


class CompiledModel:
    """The loss of a compiled model as a function of its weights.

    Attributes:
        trained: trainable variables by path.
        frozen: variables of frozen layers that were never trained, by path.
        initial: values of both.
        mask_value: what fills padded steps, if there is a `Masking` layer.
        constants: values of all other variables, by identity.
    """

    def __init__(self, model: Any):
        self.model = model
        self.trained = by_path(model.trainable_variables)
        self.frozen = by_path(untrained_variables(model))
        fillers = {layer.mask_value for layer in model._flatten_layers() if isinstance(layer, keras.layers.Masking)}
        self.mask_value: Any = fillers.pop() if len(fillers) == 1 else None
        # Copies, since Keras donates the arrays of its variables to the next training step.
        self.initial = {name: jnp.array(each.value) for name, each in (self.trained | self.frozen).items()}
        constant = (*model.non_trainable_variables, *model.metrics_variables, *model.optimizer.variables)
        self.constants = {id(each): np.array(each.value) for each in constant}

    def loss(self, params: dict[str, Any], batch: dict[str, Any], key: Any) -> Any:
        """Returns the training loss of a batch, regularizers and added losses included."""
        return self._loss(params, batch, key, True)

    def evaluate(self, params: dict[str, Any], batch: dict[str, Any], key: Any) -> Any:
        """Returns the loss that `evaluate` computes for a batch."""
        return self._loss(params, batch, key, False)

    def _loss(self, params: dict[str, Any], batch: dict[str, Any], key: Any, training: bool) -> Any:
        model = self.model
        frozen = {id(each): params[name] for name, each in self.frozen.items()}
        others, seeds = [], 0
        for each in model.non_trainable_variables:
            if is_seed(each):
                value = jax.random.bits(jax.random.fold_in(key, seeds), (2,), jnp.uint32)
                seeds += 1
            else:
                value = frozen.get(id(each), self.constants[id(each)])
            others.append(value)
        x = batch["x"]
        if "mask" in batch:
            # `Masking` recognizes padding by its value, whatever a probe writes there.
            x = jnp.where(batch["mask"][..., None], x, self.mask_value)
        with traceable(model), jax.numpy_rank_promotion("allow"):
            return model.compute_loss_and_updates(
                [params[name] for name in self.trained],
                others,
                [self.constants[id(each)] for each in model.metrics_variables],
                x,
                batch.get("y"),
                batch.get("sample_weight"),
                training=training,
                optimizer_variables=[self.constants[id(each)] for each in model.optimizer.variables],
            )[1][0]


def check_model(model: Any) -> None:
    """Checks that a model can be traced.

    Raises:
        SetupError: if it cannot.
    """
    if not isinstance(model, keras.Model):
        kind = model.__name__ if isinstance(model, type) else type(model).__name__
        raise SetupError("patient-fails", f"model must be a keras.Model, got {kind}. Give keras.Sequential([layer]).")
    if keras.config.backend() != "jax":
        raise SetupError(
            "patient-fails",
            f"the backend of Keras must be jax, got {keras.config.backend()}. "
            "Set KERAS_BACKEND=jax before Keras is imported.",
        )


def build(model: Any, batch: dict[str, Any], loss: Any, optimizer: Any) -> None:
    """Builds a model and its loss, and compiles it first if it is not.

    Raises:
        SetupError: if the model has no loss, has two, or fails.
    """
    own_loss = type(model).compute_loss is not keras.Model.compute_loss
    if model.compiled and (loss is not None or optimizer is not None):
        given = "loss" if loss is not None else "optimizer"
        raise SetupError(
            "patient-fails", f"{given} must be left out for a compiled model, got one. Give it to compile."
        )
    if not model.compiled:
        if loss is None and not own_loss:
            raise SetupError("loss-fails", "model must be compiled, got none. Call model.compile(optimizer, loss).")
        model.compile(optimizer or "adam", loss)
    if model._compile_loss is not None and "y" not in batch and not own_loss:
        raise SetupError(
            "no-batches", "y must hold the targets of the loss, got none. Give examine(model, x, x) for an autoencoder."
        )
    try:
        model._symbolic_build(data_batch=(batch["x"], batch.get("y"), batch.get("sample_weight")))
    except Exception as error:
        # Whatever a user's layers raise is for the report.
        message = f"model must take a batch, got {format_error(error)}. Try model.train_on_batch(x, y)."
        raise SetupError("loss-fails", message) from error
    if not own_loss and model._compile_loss is None and not model.losses:
        own_step = type(model).train_step is not keras.Model.train_step
        got = "a train_step of its own" if own_step else "none"
        raise SetupError("loss-fails", f"model must have a loss, got {got}. Call model.compile(optimizer, loss).")
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def by_path(variables: list[Any]) -> dict[str, Any]:
    """Returns variables by path; equal paths are numbered."""
    found: dict[str, Any] = {}
    for each in variables:
        same = sum(name.partition(" (")[0] == each.path for name in found)
        found[f"{each.path} ({same + 1})" if same else each.path] = each
    return found


def untrained_variables(model: Any) -> list[Any]:
    """Returns the weights of frozen layers that were never trained: their biases still have their initial values.

    Pretrained layers are frozen on purpose; a layer that is frozen as it was drawn is a mistake.
    """
    found = []
    for layer in model._flatten_layers():
        own = layer._trainable_variables
        biases = [np.asarray(each.value) for each in own if "bias" in each.name]
        drawn = any(each.name in DRAWN for each in own)
        if not layer.trainable and drawn and biases and all(np.isin(each, (0, 1)).all() for each in biases):
            found += own
    return found


def unread_inputs(model: Any) -> list[str]:
    """Returns the names of the inputs of a functional model that no layer takes."""
    taken = {
        id(tensor)
        for operation in getattr(model, "operations", ())
        for node in operation._inbound_nodes
        for tensor in node.input_tensors
    }
    inputs = jax.tree.leaves(getattr(model, "inputs", None) or [])
    return [each.name for each in inputs if taken and id(each) not in taken]


def input_shapes(model: Any) -> list[Any]:
    """Returns the shapes of a model's inputs; empty for a model that is a class of its own."""
    return [each.shape for each in jax.tree.leaves(getattr(model, "inputs", None) or [])]
