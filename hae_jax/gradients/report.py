"""The gradient report of one model: what the probes see on real batches, beside what theory expects."""

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
"""The levels of both kinds of models as words pass through them; gradients go the other way."""
ROWS = 32
"""Rows of a batch that the theory looks at."""
FEW = 4
"""Rows whose Jacobians are taken; each costs a singular value decomposition."""


@dataclass(frozen=True)
class LevelReport:
    """One LSTM layer.

    Attributes:
        steps: steps of the longest row.
        curve: root mean square of |dL/dh_t| over the rows, by steps before a row's last one.
        rows: rows that are so long, over all batches.
        slope: of ln(curve), nat a step; negative where gradients vanish on their way back.
        ratio: decades from the last step to the first of the longest row.
        forget: mean forget gate.
        timescale: steps over which a cell of that gate forgets, -1 / ln(forget).
        saturated: share of input, forget and output gates below 0.05 or above 0.95.
        predicted: slope that mean-field theory expects; None where it does not apply: in a stack of layers, and for
            those that do not start from zeros, have a context, or are attended to.
        predicted_curve: the curve that goes with it, relative to its last step.
        stretch: largest singular value of the Jacobian over 10 steps, to the power 1/10; None as above.
        median: the median of these singular values, likewise: what happens to most differences of states.
        spread: variance of their logarithms; 0 where all are stretched alike.
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
    """What gradients do in a model.

    Attributes:
        loss: nats a token on the batches, teacher forced.
        norm: mean norm of the whole gradient.
        levels: each LSTM layer by the path of its parameters.
        crossings: factor of the gradient's norm from one LSTM to the next, in the order in which it travels, where all
            of it has to pass through the code: without the auxiliary losses.
        training: how steady the gradients were in training so far; None for a fresh model.
    """

    loss: float
    norm: float
    levels: dict[str, LevelReport]
    crossings: dict[str, float]
    training: Stability | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values; what is not a number is None."""

        def clean(value: Any) -> Any:
            if isinstance(value, Stability):
                value = value._asdict()
            if isinstance(value, dict):
                return {key: clean(part) for key, part in value.items()}
            if isinstance(value, list):
                return [clean(part) for part in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return clean(asdict(self))


def examine(
    model: nn.Module, config: ModelConfig, params: optax.Params, batches: Iterable[Batch], key: Key[Array, ""]
) -> GradientReport:
    """Measures what gradients do in a model, fresh or trained.

    Args:
        model: an autoencoder of `hae_jax.models`.
        config: its config.
        params: its parameters.
        batches: what it is trained on; one or more.
        key: randomness of dropout.

    Raises:
        ValueError: if there is no batch.
    """

    # Sentences decoded from their own vectors, and vectors drawn to each other, send gradients past the code.
    bare = replace(config, sentence_loss=0.0, vector_loss=0.0)
    through = model.clone(config=bare)

    @jax.jit
    def look(params: optax.Params, batch: Batch, key: Key[Array, ""]):
        derivative, flow = value_grad_and_flow(model, config, params, batch, key)
        alone = gradient_flow(value_grad_and_flow(through, bare, params, batch, key)[1])
        norm = optax.tree.norm(derivative.gradient)
        return derivative.losses.reconstruction.mean, norm, gradient_flow(flow).levels, alone.crossings, flow

    seen: list[tuple[Any, Any, dict[str, LevelFlow], dict[str, Any]]] = []
    flow = None
    for number, batch in enumerate(batches):
        *found, flow = look(params, batch, jax.random.fold_in(key, number))
        seen.append(tuple(jax.device_get(found)))  # type: ignore[arg-type]
    if flow is None:
        raise ValueError("batches must hold a batch, got none. Give more text, or smaller batches.")
    losses, norms, levels, crossings = zip(*seen, strict=True)
    # Trees come back from the device in the order of the alphabet.
    report = {path: averaged([each[path] for each in levels]) for path in sorted(levels[0], key=place)}
    for path, (weights, given) in started(model, config, params, flow.gates).items():
        report[path] = beside_theory(report[path], weights, given)
    names = sorted(crossings[0], key=place, reverse=True)
    factors = {name: float(np.mean([each[name] for each in crossings])) for name in names}
    return GradientReport(float(np.mean(losses)), float(np.mean(norms)), report, factors)


def place(name: str) -> tuple[int, int]:
    """Returns where a layer, or a crossing from it, stands: by its level as words pass through them, and its number."""
    level = next(at for at, level in enumerate(LEVELS) if name.startswith(level))
    layer = name.rpartition("layer_")[2]
    return level, int(layer) if layer.isdecimal() else 0


def steadiness(journal: Iterable[dict[str, Any]]) -> Stability | None:
    """Sums up the lines that training wrote about windows of a few steps; None if there are none."""
    lines = [line for line in journal if line["kind"] == "train"]
    if not lines:
        return None
    # What was not finite stands as null in the journal.
    step, skipped, norm, binding = (
        np.array([math.nan if line[name] is None else line[name] for line in lines], float)
        for name in ("step", "skipped", "norm", "binding")
    )
    # A window of which no step was taken has no norm.
    return stability(norm, np.nan_to_num(binding), np.diff(skipped, prepend=0) / np.diff(step, prepend=0))


def averaged(levels: list[LevelFlow]) -> LevelReport:
    """Puts what was seen of a layer on several batches together."""
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


def started(
    model: nn.Module, config: ModelConfig, params: optax.Params, gates: Any
) -> dict[str, tuple[LSTMWeights, LSTMInputs]]:
    """Finds the layers that the theory speaks of: alone on their level, starting from zeros, without a context, and
    read at their last step only."""
    if config.layers > 1:
        return {}
    found: dict[str, tuple[LSTMWeights, LSTMInputs]] = {}
    for name, (given,) in flatten_dict(gates, sep="/").items():
        path, kind = name.rsplit("/", 1)
        if not kind.startswith("given_") or given.inputs is None or given.context is not None:
            continue
        attended = config.attention and path == "encoder/sentence"
        if attended or any(np.any(np.asarray(part)) for part in given.states[0]):
            continue
        own = params
        for part in path.split("/"):
            own = own[part]
        lstm = LSTM(config, given.states[0].hidden.shape[-1], given.inputs.shape[-1])
        layers = lstm.apply({"params": own}, method="weights")
        # Of several calls the one with the longest rows.
        before = found.get(f"{path}/layer_0")
        if before is None or before[1].mask.shape[1] < given.mask.shape[1]:
            found[f"{path}/layer_0"] = (layers[0], given)
    return found


def beside_theory(level: LevelReport, weights: LSTMWeights, given: LSTMInputs) -> LevelReport:
    """Adds what theory expects, and the Jacobian."""
    real = np.flatnonzero(np.asarray(given.mask).any(-1))[:ROWS]
    inputs, mask = jnp.asarray(given.inputs)[real], given.mask[real]
    expected = jax.jit(predict)(weights, inputs, mask)
    largest, median, spread = (float(np.mean(x)) for x in jax.jit(spectrum)(weights, inputs[:FEW], mask[:FEW]))
    return replace(
        level,
        predicted=float(expected.slope),
        predicted_curve=np.exp(np.asarray(expected.curve))[: level.steps].tolist(),
        stretch=largest,
        median=median,
        spread=spread,
    )
