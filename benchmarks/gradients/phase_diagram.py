"""Where do gradients vanish or explode? Maps of depth and length, width and bias, recurrent gain and bias.

    python -m benchmarks run gradient_map

LSTM layers at initialization, with orthogonal recurrent kernels, read independent numbers from N(0, 1) or, in the last
map, initial word vectors of running text. Each cell of a map holds the slope of the gradient curve of the bottom layer
(nats per step, positive where gradients grow backwards). `depth` stacks 1 to 8 layers over 8 to 1,024 steps and also
measures the gradient's attenuation from the top layer to the bottom one; `width` has 32 to 1,024 units; `gain` has
recurrent gains from 0.5 to 8, with the predicted slope: on its zero line gradients neither vanish nor explode. In a
stack theory predicts each layer separately, from the states that it reads; the layer that loses least dominates over
long sequences, as a stack's Jacobian is block triangular. Single layers outside the bounds of `prediction.py`, which
hardly learn recall, are hatched. Gradients are float64, since 1,024 steps at forget bias 1 cost 85 decades.

Device: two CPU cores, 5 minutes.
Expected: width has no effect from 32 units on. Theory is within 0.05 nats per step for single layers, except for large
gains with text, where it is up to 0.06 too high. Depth helps: upper layers read small states, which keep their cells
small, and lose a third of what the lowest one does. Over 1,024 steps stacks of any depth above 1 thus have a slope of
-0.05 or -0.06 at forget bias 1, and a single layer -0.19. Short curves of 4 and 8 layers grow: there the number of
paths through time and layers increases with length.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gradients.prediction import FORGET_BOUND, SLOPE_BOUND
from benchmarks.gradients.single_layer import INPUTS, Recipe, draw_all, interval
from benchmarks.harness.plots import draw_map
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.gradients.mean_field import predict
from hae_jax.layers.cell import LSTMState, LSTMWeights
from hae_jax.layers.scan import lstm_scan

SEEDS = (0, 1, 2)
DEPTHS, LENGTHS = (1, 2, 4, 8), (8, 16, 32, 64, 128, 256, 512, 1024)
WIDTHS, BIASES = (32, 64, 128, 256, 512, 1024), (0.0, 1.0, 2.0, 3.0, 5.0)
GAINS, FINE = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
HIDDEN, TIME, BATCH = 128, 50, 4
PREDICTED_ROWS = 4
"""Rows from which the slope is predicted."""
MAPS = {
    "depth": ("layers", "time"),
    "width": ("hidden", "bias"),
    "gain": ("gain", "bias"),
    "gain, text": ("gain", "bias"),
}
"""Variables of the rows and columns of each map."""
TITLES = {"layers": "layers", "time": "steps", "hidden": "units", "bias": "forget bias", "gain": "recurrent gain"}


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per point of a map; six small ones if `quick`."""
    base = {"hidden": HIDDEN, "time": TIME, "batch": BATCH, "layers": 1, "bias": 1.0, "gain": 1.0, "inputs": "noise"}
    places: list[tuple[str, dict[str, Any]]] = []
    if quick:
        base |= {"hidden": 32}
        places += [("depth", {"layers": d, "time": t}) for d in (1, 2) for t in (8, 16)]
        places += [("gain", {"gain": g}) for g in (1.0, 4.0)]
    else:
        places += [("depth", {"layers": d, "time": t}) for t in LENGTHS for d in DEPTHS]
        places += [("width", {"hidden": h, "bias": b}) for h in WIDTHS for b in BIASES]
        places += [("gain", {"gain": g, "bias": b}) for g in GAINS for b in FINE]
        places += [("gain, text", {"gain": g, "bias": b, "inputs": "text"}) for g in GAINS for b in FINE]
    return [
        Cell(f"{name}: " + ", ".join(f"{key} {place[key]:g}" for key in MAPS[name] if key in place), SEEDS,
             base | place | {"map": name})
        for name, place in places
    ]  # fmt: skip


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Measures one point of a map, all seeds at once."""
    config, seeds = cell.config, cell.seeds
    hidden, layers = config["hidden"], config["layers"]
    recipe = Recipe("orthogonal", config["bias"], config["gain"])
    stack = tuple(draw_all(seeds, recipe, hidden, hidden, layer=layer) for layer in range(layers))
    keys = jax.vmap(jax.random.key)(1000 + jnp.array(seeds))
    inputs = jax.vmap(lambda key: INPUTS[config["inputs"]](key, config["batch"], config["time"], hidden))(keys)
    with jax.enable_x64(True):
        float64 = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), (stack, inputs))
        directions = jnp.asarray(np.random.default_rng(0).normal(size=(len(seeds), hidden)))
        curves = np.asarray(_curves(*float64, directions))
        numbers: dict[str, Any] = {
            "slope": interval(np.asarray(slope(jnp.asarray(curves[:, 0])))),
            "ratio": interval(np.asarray(ratio(jnp.asarray(curves[:, 0])))),
            # From the states of the top layer to those of the bottom one, over all steps.
            "descent": interval(np.sqrt((curves[:, 0] ** 2).sum(-1) / (curves[:, -1] ** 2).sum(-1))),
        }
    slopes, gates = [], []
    layer_inputs = inputs[:, :PREDICTED_ROWS]
    for weights in stack:
        prediction, layer_inputs = _predict(weights, layer_inputs)
        slopes.append(np.asarray(prediction.slope))
        gates.append(np.asarray(prediction.forget))
    return numbers | {"predicted": interval(np.max(slopes, 0)), "forget": interval(np.mean(gates, 0))}


@jax.jit
@jax.vmap
def _curves(stack: tuple[LSTMWeights, ...], inputs, direction):
    """Returns root mean squares of dL/dh_t in each layer, bottom first, for L = <direction, h_T> of the top layer."""
    batch, time, _ = inputs.shape
    hidden = stack[0].recurrent.shape[0]
    zeros, mask = jnp.zeros((batch, hidden), inputs.dtype), jnp.ones((batch, time), bool)

    def loss(perturbations):
        states = inputs
        for weights, perturbation in zip(stack, perturbations, strict=True):
            _, states, _ = lstm_scan(LSTMState(zeros, zeros), states, mask, weights, perturbation=perturbation)
        return (states[:, -1] @ direction).sum()

    gradients = jax.grad(loss)(tuple(jnp.zeros((batch, time, hidden), inputs.dtype) for _ in stack))
    return jnp.stack([jnp.sqrt(jnp.square(x).mean((0, 2)))[::-1] for x in gradients])


@jax.jit
@jax.vmap
def _predict(weights: LSTMWeights, inputs):
    """Returns the prediction for a layer, and its states, which the next one reads."""
    mask = jnp.ones(inputs.shape[:2], bool)
    zeros = jnp.zeros((len(inputs), weights.recurrent.shape[0]), inputs.dtype)
    _, states, _ = lstm_scan(LSTMState(zeros, zeros), inputs, mask, weights)
    return predict(weights, inputs, mask), states


def render(records: list[Record]) -> str:
    """Renders one table per map: measured slopes, with the predicted ones in brackets where there are any."""
    parts = []
    for name, (down, across) in MAPS.items():
        numbers = {
            (r["config"][down], r["config"][across]): r["numbers"] for r in records if r["config"]["map"] == name
        }
        if not numbers:
            continue
        rows, columns = (sorted({point[axis] for point in numbers}) for axis in (0, 1))
        lines = [f"| {name}: {down} \\ {across} | " + " | ".join(f"{c:g}" for c in columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for row in rows:
            entries = [entry(numbers.get((row, column))) for column in columns]
            lines.append(f"| {row:g} | " + " | ".join(entries) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def entry(numbers: dict[str, Any] | None) -> str:
    """Formats one point of a map: measured slope, predicted slope, and attenuation from the top layer to the bottom."""
    if numbers is None:
        return ""
    predicted = f" ({numbers['predicted']['mean']:+.2f})" if "predicted" in numbers else ""
    descent = f", x {numbers['descent']['mean']:.2f}" if numbers["descent"]["mean"] != 1 else ""
    return f"{numbers['slope']['mean']:+.2f}{predicted}{descent}"


def draw(records: list[Record], folder: Path) -> None:
    """Draws the measured slopes of each map with their zero contours; hatches points that hardly learn."""
    for name, axes in MAPS.items():
        numbers = {
            tuple(r["config"][axis] for axis in axes): r["numbers"] for r in records if r["config"]["map"] == name
        }
        if not numbers:
            continue
        rows, columns = (sorted({point[axis] for point in numbers}) for axis in (0, 1))

        def table(key: str, rows=rows, columns=columns, numbers=numbers) -> np.ndarray:
            missing = {"mean": np.nan}
            return np.array([[numbers.get((r, c), {}).get(key, missing)["mean"] for c in columns] for r in rows])

        slopes, predicted = table("slope"), table("predicted")
        contours = [(slopes, 0.0, "measured: 0"), (predicted, 0.0, "theory: 0")]
        trainable = (np.abs(slopes) <= SLOPE_BOUND) & (table("forget") >= FORGET_BOUND) if name != "depth" else None
        path = folder / f"gradient_map_{name.replace(', ', '_')}.png"
        labels = (TITLES[axes[0]], TITLES[axes[1]], "slope, nats per step")
        draw_map(slopes, [f"{r:g}" for r in rows], [f"{c:g}" for c in columns], labels, path, 0.5, contours, trainable)


BENCHMARKS = (Benchmark("gradient_map", cells, measure, render, draw),)
