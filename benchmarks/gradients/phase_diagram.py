"""Where can gradients pass? Maps over depth and length, width and forget bias, recurrent gain and forget bias.

    python -m benchmarks run gradient_map

Fresh LSTM layers with orthogonal recurrent kernels read independent numbers from N(0, 1) or, in the last map, fresh
word vectors of running text. Each cell of a map holds the slope of the gradient curve of the bottom layer (nat a step,
positive where gradients grow backwards). `depth` stacks 1 to 8 layers over 8 to 1,024 steps and also tells what a
gradient loses on its way from the top layer to the bottom one; `width` has 32 to 1,024 units; `gain` has recurrent
gains from 0.5 to 8, with the slope that theory predicts: the line where it is 0 is where gradients neither vanish nor
explode. Of a stack theory predicts each layer by itself, from the states that it reads; the layer that loses least
carries the gradient in the long run, as a stack's Jacobian is block triangular. Hatched are single layers that hardly
learn to recall, by the borders that training has shown (`foretold`). Gradients are float64, since 1,024 steps at
forget bias 1 cost 85 decades.

Device: two CPU cores, 5 minutes.
Expected: width plays no part from 32 units on. Theory is within 0.05 nat a step for single layers, but for large gains
with text, where it expects up to 0.06 more than there is. Depth helps: upper layers read small states, which leave
their cells small, and lose a third of what the lowest one does. Over 1,024 steps stacks of any depth above 1 so come to
-0.05 or -0.06 at forget bias 1, where a single layer has -0.19. Short curves of 4 and 8 layers grow: there a gradient
has ever more ways through time and layers.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gradients.prediction import NEAR, OPEN
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
LOOKED_AT = 4
"""Rows that the prediction looks at."""
MAPS = {
    "depth": ("layers", "time"),
    "width": ("hidden", "bias"),
    "gain": ("gain", "bias"),
    "gain, text": ("gain", "bias"),
}
"""What varies down and across in each map."""
TITLES = {"layers": "layers", "time": "steps", "hidden": "units", "bias": "forget bias", "gain": "recurrent gain"}


def cells(quick: bool) -> list[Cell]:
    """One cell a place in a map; six small ones if it has to be quick."""
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
    """Measures one place of a map, all seeds at once."""
    config, seeds = cell.config, cell.seeds
    hidden, layers = config["hidden"], config["layers"]
    recipe = Recipe("orthogonal", config["bias"], config["gain"])
    stack = tuple(draw_all(seeds, recipe, hidden, hidden, layer=layer) for layer in range(layers))
    keys = jax.vmap(jax.random.key)(1000 + jnp.array(seeds))
    inputs = jax.vmap(lambda key: INPUTS[config["inputs"]](key, config["batch"], config["time"], hidden))(keys)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), (stack, inputs))
        pulls = jnp.asarray(np.random.default_rng(0).normal(size=(len(seeds), hidden)))
        curves = np.asarray(_curves(*wide, pulls))
        numbers: dict[str, Any] = {
            "slope": interval(np.asarray(slope(jnp.asarray(curves[:, 0])))),
            "ratio": interval(np.asarray(ratio(jnp.asarray(curves[:, 0])))),
            # From the states of the top layer to those of the bottom one, at all steps together.
            "descent": interval(np.sqrt((curves[:, 0] ** 2).sum(-1) / (curves[:, -1] ** 2).sum(-1))),
        }
    slopes, gates = [], []
    given = inputs[:, :LOOKED_AT]
    for weights in stack:
        expected, given = _predict(weights, given)
        slopes.append(np.asarray(expected.slope))
        gates.append(np.asarray(expected.forget))
    return numbers | {"predicted": interval(np.max(slopes, 0)), "forget": interval(np.mean(gates, 0))}


@jax.jit
@jax.vmap
def _curves(stack: tuple[LSTMWeights, ...], inputs, pull):
    """Root mean squares of dL/dh_t in each layer, bottom first, for L = <pull, h_T> of the top layer."""
    batch, time, _ = inputs.shape
    hidden = stack[0].recurrent.shape[0]
    zeros, mask = jnp.zeros((batch, hidden), inputs.dtype), jnp.ones((batch, time), bool)

    def loss(nudges):
        states = inputs
        for weights, nudge in zip(stack, nudges, strict=True):
            _, states, _ = lstm_scan(LSTMState(zeros, zeros), states, mask, weights, nudge=nudge)
        return (states[:, -1] @ pull).sum()

    found = jax.grad(loss)(tuple(jnp.zeros((batch, time, hidden), inputs.dtype) for _ in stack))
    return jnp.stack([jnp.sqrt(jnp.square(x).mean((0, 2)))[::-1] for x in found])


@jax.jit
@jax.vmap
def _predict(weights: LSTMWeights, inputs):
    """What theory expects of a layer, and what the next one reads."""
    mask = jnp.ones(inputs.shape[:2], bool)
    zeros = jnp.zeros((len(inputs), weights.recurrent.shape[0]), inputs.dtype)
    _, states, _ = lstm_scan(LSTMState(zeros, zeros), inputs, mask, weights)
    return predict(weights, inputs, mask), states


def render(records: list[Record]) -> str:
    """One table a map: the measured slope, and the predicted one in brackets where there is one."""
    parts = []
    for name, (down, across) in MAPS.items():
        found = {(r["config"][down], r["config"][across]): r["numbers"] for r in records if r["config"]["map"] == name}
        if not found:
            continue
        rows, columns = (sorted({place[axis] for place in found}) for axis in (0, 1))
        lines = [f"| {name}: {down} \\ {across} | " + " | ".join(f"{c:g}" for c in columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for row in rows:
            entries = [entry(found.get((row, column))) for column in columns]
            lines.append(f"| {row:g} | " + " | ".join(entries) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def entry(numbers: dict[str, Any] | None) -> str:
    """Writes one place of a map: the slope, what theory expects, and what is left from the top layer to the bottom."""
    if numbers is None:
        return ""
    predicted = f" ({numbers['predicted']['mean']:+.2f})" if "predicted" in numbers else ""
    descent = f", x {numbers['descent']['mean']:.2f}" if numbers["descent"]["mean"] != 1 else ""
    return f"{numbers['slope']['mean']:+.2f}{predicted}{descent}"


def draw(records: list[Record], folder: Path) -> None:
    """Draws the measured slopes of each map, the border between vanishing and exploding; hatches what hardly learns."""
    for name, axes in MAPS.items():
        found = {tuple(r["config"][axis] for axis in axes): r["numbers"] for r in records if r["config"]["map"] == name}
        if not found:
            continue
        rows, columns = (sorted({place[axis] for place in found}) for axis in (0, 1))

        def table(key: str, rows=rows, columns=columns, found=found) -> np.ndarray:
            missing = {"mean": np.nan}
            return np.array([[found.get((r, c), {}).get(key, missing)["mean"] for c in columns] for r in rows])

        slopes, expected = table("slope"), table("predicted")
        borders = [(slopes, 0.0, "measured: 0"), (expected, 0.0, "theory: 0")]
        trainable = (np.abs(slopes) <= NEAR) & (table("forget") >= OPEN) if name != "depth" else None
        path = folder / f"gradient_map_{name.replace(', ', '_')}.png"
        labels = (TITLES[axes[0]], TITLES[axes[1]], "slope, nat a step")
        draw_map(slopes, [f"{r:g}" for r in rows], [f"{c:g}" for c in columns], labels, path, 0.5, borders, trainable)


BENCHMARKS = (Benchmark("gradient_map", cells, measure, render, draw),)
