"""How far do gradients reach before the first step? Weight schemes with and without layer norm, measured and predicted.

    python -m benchmarks run gradient_stability

One LSTM layer, 128 units, reads 32 sequences of 50 steps: independent numbers from N(0, 1), or fresh word vectors of
running text, which are ten times smaller. The slope of its gradient curve (nat a step, positive where gradients grow
backwards) stands beside two predictions from one forward pass: `tied` knows that all steps share one recurrent kernel,
`untied` is the simpler theory that does not. A crossing is what remains of a gradient's norm when it leaves a level of
an encoder of three such layers for the one below.

Device: two CPU cores, 5 minutes.
Expected: the tied prediction is within 0.05 nat a step of every measurement; bias 0 costs 10 decades with independent
inputs. Some checks under the table do not hold. The slope of `critical` is not ln sigmoid(5) = -0.0067: independent
inputs move its forget gates, which costs more, and where they hardly do its weak recurrence makes up for a quarter of
the loss, both as the tied theory says. Keras' one matrix for four gates is not between torch and orthogonal but below
both: its rows have a quarter of an orthogonal gate's energy, torch's a third. With text the slope is positive at an
orthogonal gain of 2 already. With layer norm the slopes of all schemes are so alike that their ranks say little.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from benchmarks.gradients.single_layer import INPUTS, Recipe, crossings, draw_all, gradient_curve, interval
from benchmarks.harness.plots import draw_theory
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.gradients.jacobian import spectrum
from hae_jax.gradients.mean_field import predict

RECIPES = {
    "normal 0.01": Recipe("normal"),
    "torch": Recipe("torch"),
    "torch, forget bias 1": Recipe("torch", extra=1.0),
    "flax, forget bias 0": Recipe("flax"),
    "glorot, no bias": Recipe("glorot", use_bias=False),
    "uniform 0.1, no bias (2015)": Recipe("uniform", use_bias=False),
    "keras, forget bias 0": Recipe("keras"),
    "keras, forget bias 1": Recipe("keras", 1.0),
    "orthogonal, forget bias 0": Recipe("orthogonal"),
    "orthogonal, forget bias 1": Recipe("orthogonal", 1.0),
    "orthogonal, forget bias 2": Recipe("orthogonal", 2.0),
    "orthogonal, forget bias 3": Recipe("orthogonal", 3.0),
    "orthogonal, forget bias 5": Recipe("orthogonal", 5.0),
    "orthogonal x 2, forget bias 1": Recipe("orthogonal", 1.0, 2.0),
    "orthogonal x 4, forget bias 1": Recipe("orthogonal", 1.0, 4.0),
    "orthogonal x 8, forget bias 1": Recipe("orthogonal", 1.0, 8.0),
    "chrono": Recipe("chrono"),
    "uniform gate": Recipe("uniform_gate"),
    "critical": Recipe("critical"),
    "critical, inputs hardly heard": Recipe("critical", heard=0.03),
}
DRAWN = (
    "normal 0.01", "torch", "flax, forget bias 0", "keras, forget bias 1", "orthogonal, forget bias 1",
    "orthogonal, forget bias 2", "orthogonal, forget bias 5", "chrono", "orthogonal x 4, forget bias 1",
    "orthogonal x 8, forget bias 1",
)  # fmt: skip
"""Those whose curves are drawn."""
NORMS = {"none": None, "cell, gain 1": 1.0, "cell, gain 0.1": 0.1}
QUICK = [
    ("flax, forget bias 0", "none", "noise"), ("orthogonal, forget bias 1", "none", "noise"),
    ("orthogonal, forget bias 5", "none", "noise"), ("chrono", "cell, gain 1", "noise"),
    ("orthogonal, forget bias 1", "none", "text"),
]  # fmt: skip
HIDDEN, TIME, BATCH = 128, 50, 32
LOOKED_AT = 8
"""Rows that the prediction looks at."""
STRETCHED = 2
"""Rows whose Jacobian is taken apart."""
LEVELS = (4, 4, 4, 6)
"""Documents, parts of each, sentences of each, words of each, for the crossings."""
SEEDS = tuple(range(10))
# `crossing` is that of the one layer, from its states to its inputs over all steps: what theory predicts.
NUMBERS = (
    "forget",
    "predicted",
    "untied",
    "slope",
    "ratio",
    "jacobian",
    "words",
    "sentences",
    "crossing",
    "predicted_crossing",
)


class Check(NamedTuple):
    """A claim about the table, and whether it holds."""

    name: str
    value: str
    bar: str
    passed: bool


def cells(quick: bool) -> list[Cell]:
    """Every scheme with every layer norm and inputs; five of small layers if it has to be quick."""
    what = [(name, norm, inputs) for inputs in INPUTS for norm in NORMS for name in RECIPES]
    size = {"hidden": 32 if quick else HIDDEN, "time": TIME, "batch": 8 if quick else BATCH}
    return [
        Cell(
            f"{name}; {norm}; {inputs}",
            SEEDS[:2] if quick else SEEDS,
            {"recipe": name, "layer_norm": norm, "inputs": inputs} | RECIPES[name]._asdict() | size,
        )
        for name, norm, inputs in (QUICK if quick else what)
    ]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Measures and predicts one scheme, all seeds at once."""
    config, seeds = cell.config, cell.seeds
    hidden, norm = config["hidden"], NORMS[config["layer_norm"]]
    recipe = RECIPES[config["recipe"]]
    levels = tuple(draw_all(seeds, recipe, hidden, hidden, norm, layer) for layer in range(3))
    keys = jax.vmap(jax.random.key)(1000 + jnp.array(seeds))
    inputs = jax.vmap(lambda key: INPUTS[config["inputs"]](key, config["batch"], config["time"], hidden))(keys)
    documents = jax.vmap(lambda key: INPUTS[config["inputs"]](key, math.prod(LEVELS[:3]), LEVELS[3], hidden))(keys)
    found, curves = _look(levels, inputs, documents.reshape(len(seeds), *LEVELS, hidden), keys)
    numbers: dict[str, Any] = {name: interval(np.asarray(found[name])) for name in NUMBERS}
    # Natural logarithms, so that no curve underflows.
    return numbers | {"log_curve": np.log(np.maximum(np.asarray(curves), 1e-38)).mean(0).round(4).tolist()}


@jax.jit
@jax.vmap
def _look(levels, inputs, documents, key):
    weights = levels[0]
    mask = jnp.ones(inputs.shape[:2], bool)
    curve, crossing = gradient_curve(weights, inputs, key)
    expected = predict(weights, inputs[:LOOKED_AT], mask[:LOOKED_AT], inputs.shape[1])
    stretch = spectrum(weights, inputs[:STRETCHED], mask[:STRETCHED])
    words, sentences = crossings(levels, documents, key)
    found = {
        "forget": expected.forget, "predicted": expected.slope, "untied": expected.untied, "slope": slope(curve),
        "ratio": ratio(curve), "jacobian": stretch.largest.mean(), "words": words, "sentences": sentences,
        "crossing": crossing, "predicted_crossing": expected.crossing,
    }  # fmt: skip
    return found, curve


def checks(records: list[Record], norm: str = "none", inputs: str = "noise") -> list[Check]:
    """Tests what theory says of the rows of one layer norm and one kind of inputs; single schemes without norm only."""
    found = {r["config"]["recipe"]: r["numbers"] for r in records
             if (r["config"]["layer_norm"], r["config"]["inputs"]) == (norm, inputs)}  # fmt: skip
    results = []
    slopes = {name: numbers["slope"]["mean"] for name, numbers in found.items()}
    for theory, key in (("tied", "predicted"), ("untied", "untied")):
        pairs = np.array([(numbers[key]["mean"], numbers["slope"]["mean"]) for numbers in found.values()])
        if len(pairs) > 2:
            rank, worst = spearmanr(*pairs.T)[0], np.abs(pairs[:, 0] - pairs[:, 1]).max()
            results.append(
                Check(
                    f"rank correlation of measured slopes with {theory} theory",
                    f"{rank:.3f}",
                    ">= 0.95",
                    bool(rank >= 0.95),
                )
            )
            results.append(
                Check(f"largest error of {theory} theory, nat a step", f"{worst:.3f}", "<= 0.15", bool(worst <= 0.15))
            )
    if norm != "none":
        return results
    for name, title, limit in (
        ("critical", "ln sigmoid(5)", -math.log1p(math.exp(-5))),
        ("critical, inputs hardly heard", "ln sigmoid(5)", -math.log1p(math.exp(-5))),
        ("normal 0.01", "ln 0.5", -math.log(2)),
    ):  # fmt: skip
        if name in slopes:
            near = abs(slopes[name] / limit - 1) <= 0.1
            results.append(Check(f"{name} within 10 % of {title}", f"{slopes[name]:.4f}", f"{limit:.4f}", near))
    for bias, torch in ((0, "torch"), (1, "torch, forget bias 1")):
        low, value, high = (
            slopes.get(n) for n in (torch, f"keras, forget bias {bias}", f"orthogonal, forget bias {bias}")
        )
        if low is not None and value is not None and high is not None:
            results.append(Check(f"keras between torch and orthogonal, forget bias {bias}", f"{value:.3f}",
                                 f"{low:.3f} to {high:.3f}", low <= value <= high))  # fmt: skip
    low, high = (slopes.get(f"orthogonal x {gain}, forget bias 1") for gain in (2, 4))
    if low is not None and high is not None:
        results.append(
            Check(
                "slope over orthogonal gain crosses 0 between 2 and 4", f"{low:.3f}, {high:.3f}", "-, +", low < 0 < high
            )
        )
    return results


def render(records: list[Record]) -> str:
    """One table for each kind of inputs, one row a scheme; the checks below."""
    parts, norms = [], list(NORMS)
    found = {(r["config"]["inputs"], r["config"]["recipe"], r["config"]["layer_norm"]): r["numbers"] for r in records}
    for inputs in INPUTS:
        schemes = [name for name in RECIPES if (inputs, name, norms[0]) in found]
        lines = [
            f"| inputs: {inputs} | mean f | slope: tied theory | untied | measured | log10 ratio "
            "| largest Jacobian^(1/10) "
            + "".join(f"| layer norm {norm}: theory | measured " for norm in norms[1:]) + "|",
            "|---" * (7 + 2 * len(norms[1:])) + "|",
        ]  # fmt: skip
        for name in schemes:
            n = found[inputs, name, norms[0]]
            row = [name, spread(n["forget"], ".3f"), *(spread(n[key]) for key in ("predicted", "untied", "slope")),
                   spread(n["ratio"], "+.1f"), spread(n["jacobian"], ".2f")]  # fmt: skip
            for norm in norms[1:]:
                other = found.get((inputs, name, norm))
                row += ["", ""] if other is None else [spread(other["predicted"]), spread(other["slope"])]
            lines.append(f"| {' | '.join(row)} |")
        parts += ["\n".join([*lines, "", *hierarchy(found, inputs, schemes)])] if schemes else []
    groups = [(inputs, norm) for inputs in INPUTS for norm in norms]
    held = {group: {check.name: check for check in checks(records, group[1], group[0])} for group in groups}
    groups = [group for group in groups if held[group]]
    names = list(dict.fromkeys(name for group in groups for name in held[group]))
    lines = [
        "| check | " + " | ".join(f"{i}, {'no layer norm' if n == 'none' else n}" for i, n in groups) + " |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for name in names:
        marks = [held[group].get(name) for group in groups]
        entries = ["" if c is None else f"{c.value} ({c.bar}): {'yes' if c.passed else '**no**'}" for c in marks]
        lines.append(f"| {name} | {' | '.join(entries)} |")
    return "\n\n".join([*parts, "\n".join(lines)])


def hierarchy(found: dict[tuple[str, str, str], dict[str, Any]], inputs: str, schemes: list[str]) -> list[str]:
    """Returns one row a scheme: what is left of a gradient's norm where it leaves a layer for what the layer read."""
    heads = ("theory", "one layer", "document to sentence", "sentence to word")
    titles = {"none": "no layer norm"} | {norm: f"layer norm {norm}" for norm in NORMS if norm != "none"}
    lines = [
        f"| left after a crossing; inputs: {inputs} | "
        + " | ".join(f"{title}: {heads[0]} | {' | '.join(heads[1:])}" for title in titles.values()) + " |",
        "|---" * (1 + len(heads) * len(titles)) + "|",
    ]  # fmt: skip
    names = ("predicted_crossing", "crossing", "sentences", "words")
    for scheme in schemes:
        cells = [found.get((inputs, scheme, norm)) for norm in titles]
        entries = [spread(cell[name], ".2f") if cell else "" for cell in cells for name in names]
        lines.append(f"| {scheme} | {' | '.join(entries)} |")
    return lines


def spread(value: dict[str, float], digits: str = "+.3f") -> str:
    """Writes a mean, and half its 95 % interval where it shows in as many digits."""
    half = format(value["half"], digits.lstrip("+"))
    return format(value["mean"], digits) + (f" ± {half}" if float(half) else "")


def draw(records: list[Record], folder: Path) -> None:
    """Draws the curves of schemes people use, with independent inputs, and all slopes against both theories."""
    plain = [r for r in records if r["config"]["layer_norm"] == "none"]
    curves = {r["config"]["recipe"]: r["numbers"]["log_curve"] for r in plain
              if r["config"]["inputs"] == "noise" and r["config"]["recipe"] in DRAWN}  # fmt: skip
    measured = [r["numbers"]["slope"]["mean"] for r in plain]
    points = {
        title: ([r["numbers"][key]["mean"] for r in plain], measured)
        for title, key in (("one kernel for all steps (tied)", "predicted"), ("fresh kernels (untied)", "untied"))
    }
    draw_theory(curves, points, folder / "gradient_initialisation.png")


TABLE = Benchmark("gradient_initialisation", cells, measure, render, draw)
