"""The gradient report of a model: statistics measured on batches, compared with the predictions of theory."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Key

from hae_jax.batch import Batch
from hae_jax.config import ModelConfig
from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.gradients.differentiate import value_grad_and_flow
from hae_jax.gradients.flow import LevelFlow, gradient_flow
from hae_jax.gradients.jacobian import spectrum
from hae_jax.gradients.mean_field import predict
from hae_jax.gradients.stability import Stability, stability
from hae_jax.layers.cell import LSTMWeights
from hae_jax.layers.recurrent import LSTM, LSTMInputs

LEVELS = ("encoder/word", "encoder/sentence", "encoder", "sentence_decoder", "word_decoder", "decoder")
"""The levels of both kinds of models, in the order of the forward pass."""
THEORY_ROWS = 32
"""Maximum number of rows from which a prediction is computed."""
JACOBIAN_ROWS = 4
"""Maximum number of rows whose Jacobians are computed; each needs a singular value decomposition."""


@dataclass(frozen=True)
class LevelReport:
    """Gradient statistics of one LSTM layer.

    Attributes:
        steps: steps of the longest row.
        curve: root mean square over rows of |dL/dh_t|, by the number of steps before a row's last one.
        rows: number of rows with at least that many steps, over all batches.
        slope: slope of ln(curve), in nats per step; negative if gradients vanish backwards in time.
        ratio: log10 of the curve at the longest row's first step over that at the last.
        forget: mean forget gate.
        timescale: number of steps after which a cell with that forget gate keeps 1/e, -1 / ln(forget).
        saturated: share of input, forget and output gates below 0.05 or above 0.95.
        predicted: slope predicted by mean-field theory; None where it does not apply: to stacks of several layers, and
            to layers with an initial state other than zero, with a context, or with attention to them.
        predicted_curve: the predicted curve, relative to its last step; None as above.
        stretch: largest singular value of the Jacobian over 10 steps, to the power 1/10; None as above.
        median: median of these singular values, to the power 1/10; None as above.
        spread: variance of their logarithms; 0 if all are equal; None as above.
    """

    steps: int
    curve: list[float]
    rows: list[int]
    slope: float
    ratio: float
    forget: float
    timescale: float
    saturated: float
    predicted: float | None = None
    predicted_curve: list[float] | None = None
    stretch: float | None = None
    median: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class GradientReport:
    """Gradient statistics of a model.

    Attributes:
        loss: negative log-likelihood per token on the batches, in nats, teacher-forced.
        norm: mean norm of the gradient.
        levels: each LSTM layer by the path of its parameters.
        crossings: factor of the gradient's norm from one LSTM to the next, in the order of backpropagation, without the
            auxiliary losses: all of the gradient then passes through the code.
        training: stability of the gradients in training so far; None for an untrained model.
    """

    loss: float
    norm: float
    levels: dict[str, LevelReport]
    crossings: dict[str, float]
    training: Stability | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values, with None for values that are not finite."""

        def clean(value: Any) -> Any:
            if isinstance(value, Stability):
                value = value._asdict()
            if isinstance(value, dict):
                return {key: clean(part) for key, part in value.items()}
            if isinstance(value, list):
                return [clean(part) for part in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return clean(asdict(self))


def gradient_report(
    model: nn.Module, config: ModelConfig, params: optax.Params, batches: Iterable[Batch], key: Key[Array, ""]
) -> GradientReport:
    """Measures the gradient flow of a model, untrained or trained.

    Args:
        model: an autoencoder of `hae_jax.models`.
        config: its config.
        params: its parameters.
        batches: one or more batches of documents.
        key: PRNG key of dropout.

    Raises:
        ValueError: if there is no batch.
    """

    # The gradients of the auxiliary losses bypass the code.
    main_loss = replace(config, sentence_loss=0.0, vector_loss=0.0)
    main_model = model.clone(config=main_loss)

    @jax.jit
    def measure(params: optax.Params, batch: Batch, key: Key[Array, ""]):
        derivative, flow = value_grad_and_flow(model, config, params, batch, key)
        main_flow = gradient_flow(value_grad_and_flow(main_model, main_loss, params, batch, key)[1])
        norm = optax.tree.norm(derivative.gradient)
        return derivative.losses.reconstruction.mean, norm, gradient_flow(flow).levels, main_flow.crossings, flow

    measured: list[tuple[Any, Any, dict[str, LevelFlow], dict[str, Any]]] = []
    flow = None
    for number, batch in enumerate(batches):
        *numbers, flow = measure(params, batch, jax.random.fold_in(key, number))
        measured.append(tuple(jax.device_get(numbers)))  # type: ignore[arg-type]
    if flow is None:
        raise ValueError("batches must hold a batch, got none. Give more text, or smaller batches.")
    losses, norms, levels, crossings = zip(*measured, strict=True)
    # JAX sorts the keys of dictionaries alphabetically.
    report = {path: average_levels([each[path] for each in levels]) for path in sorted(levels[0], key=sort_key)}
    for path, (weights, inputs) in theory_inputs(config, params, flow.gates).items():
        report[path] = with_theory(report[path], weights, inputs)
    names = sorted(crossings[0], key=sort_key, reverse=True)
    factors = {name: float(np.mean([each[name] for each in crossings])) for name in names}
    return GradientReport(float(np.mean(losses)), float(np.mean(norms)), report, factors)


def sort_key(name: str) -> tuple[int, int]:
    """Returns the position of a layer, or of a crossing from it: its level in the forward pass, and its number."""
    level = next(at for at, level in enumerate(LEVELS) if name.startswith(level))
    layer = name.rpartition("layer_")[2]
    return level, int(layer) if layer.isdecimal() else 0


def training_stability(metrics: Iterable[dict[str, Any]]) -> Stability | None:
    """Computes the stability of a run from the lines of its metrics.jsonl; None if there are none of training."""
    lines = [line for line in metrics if line["kind"] == "train"]
    if not lines:
        return None
    # Values that are not finite are null in JSON.
    step, skipped, norm, binding = (
        np.array([math.nan if line[name] is None else line[name] for line in lines], float)
        for name in ("step", "skipped", "norm", "binding")
    )
    # The clipped share of a line without a finite step is null.
    return stability(norm, np.nan_to_num(binding), np.diff(skipped, prepend=0) / np.diff(step, prepend=0))


def average_levels(levels: list[LevelFlow]) -> LevelReport:
    """Averages the statistics of a layer over batches."""
    longest = max(len(level.curve) for level in levels)
    rows, squares = np.zeros(longest), np.zeros(longest)
    for level in levels:
        rows[: len(level.rows)] += level.rows
        squares[: len(level.rows)] += np.nan_to_num(level.curve) ** 2 * level.rows
    steps = int((rows > 0).sum())
    curve = np.sqrt(squares[:steps] / rows[:steps])
    forget, saturated = (float(np.mean([getattr(level, name) for level in levels])) for name in ("forget", "saturated"))
    return LevelReport(
        steps=steps,
        curve=curve.tolist(),
        rows=rows[:steps].astype(int).tolist(),
        slope=float(slope(jnp.asarray(curve), jnp.asarray(rows[:steps]))),
        ratio=float(ratio(jnp.asarray(curve))),
        forget=forget,
        timescale=-1 / math.log(forget) if 0 < forget < 1 else math.nan,
        saturated=saturated,
    )


def theory_inputs(
    config: ModelConfig, params: optax.Params, activations: Any
) -> dict[str, tuple[LSTMWeights, LSTMInputs]]:
    """Returns weights and inputs of the layers to which the theory applies.

    These are layers without others above or below on their level, with an initial state of zero, without a context, and
    whose last output alone is used.
    """
    if config.layers > 1:
        return {}
    found: dict[str, tuple[LSTMWeights, LSTMInputs]] = {}
    for name, (call,) in flatten_dict(activations, sep="/").items():
        path, kind = name.rsplit("/", 1)
        if not kind.startswith("given_") or call.inputs is None or call.context is not None:
            continue
        attended = config.attention and path == "encoder/sentence"
        if attended or any(np.any(np.asarray(part)) for part in call.states[0]):
            continue
        layer_params = params
        for part in path.split("/"):
            layer_params = layer_params[part]
        lstm = LSTM(config, call.states[0].hidden.shape[-1], call.inputs.shape[-1])
        layers = lstm.apply({"params": layer_params}, method="weights")
        # Of several calls the one with the longest rows.
        other = found.get(f"{path}/layer_0")
        if other is None or other[1].mask.shape[1] < call.mask.shape[1]:
            found[f"{path}/layer_0"] = (layers[0], call)
    return found


def with_theory(level: LevelReport, weights: LSTMWeights, call: LSTMInputs) -> LevelReport:
    """Adds the predictions of theory and the spectrum of the Jacobian."""
    rows = np.flatnonzero(np.asarray(call.mask).any(-1))[:THEORY_ROWS]
    inputs, mask = jnp.asarray(call.inputs)[rows], call.mask[rows]
    predicted = jax.jit(predict)(weights, inputs, mask)
    values = jax.jit(spectrum)(weights, inputs[:JACOBIAN_ROWS], mask[:JACOBIAN_ROWS])
    largest, median, spread = (float(np.mean(x)) for x in values)
    return replace(
        level,
        predicted=float(predicted.slope),
        predicted_curve=np.exp(np.asarray(predicted.curve))[: level.steps].tolist(),
        stretch=largest,
        median=median,
        spread=spread,
    )
