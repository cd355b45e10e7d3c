"""The loss before the first step: what a model that knows nothing should have, and which positions it counts."""

from typing import Any

import numpy as np

from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.tracing.interpreter import needed

RANGES = {"tanh": (-1.0, 1.0), "logistic": (0.0, 1.0)}
"""What a last operation lets out."""


def ids(chart: ProbeContext) -> np.ndarray | None:
    """Returns the target ids of the first batch, one a position of the logits; None if there are none."""
    return shaped(chart.heard.values)


def shaped(values: dict[str, Any]) -> np.ndarray | None:
    """Brings targets into the form of the logits' positions."""
    if "logits" not in values or "targets" not in values:
        return None
    places, found = values["logits"].shape[:-1], np.asarray(values["targets"])
    if np.issubdtype(found.dtype, np.floating) and found.shape == values["logits"].shape:
        return found.argmax(-1)
    if found.size == np.prod(places):
        return found.reshape(places)
    if found.ndim and found[..., -1].size == np.prod(places):
        # Indices of all axes; the last one is the vocabulary's.
        return found[..., -1].reshape(places)
    return None


def start(chart: ProbeContext) -> dict[str, Any]:
    """Measures the loss at the start against ln V, and what logits look like."""
    heard = chart.heard
    found: dict[str, Any] = {"loss_start": float(heard.loss)}
    offered = chart.case.offered("logits")
    said = heard.values.get("logits")
    if said is None and offered is not None:
        said = offered(chart.case.params, chart.case.batches[0], chart.case.key)
    if said is None:
        return found
    logits = np.asarray(said, np.float64)
    flat = logits.reshape(-1, logits.shape[-1])
    found["vocabulary"] = logits.shape[-1]
    found["loss_uniform"] = float(np.log(logits.shape[-1]))
    found["logits_are_shares"] = bool(
        flat.min() >= 0 and flat.max() <= 1 + 1e-5 and np.allclose(flat.sum(-1), 1, atol=1e-3)
    )
    maker = chart.inside.anatomy.graph.maker.get(chart.inside.anatomy.graph.back(chart.inside.anatomy.logits or 0))
    found["logits_squashed"] = maker.name if maker is not None and maker.name in RANGES else ""
    targets = ids(chart)
    if targets is not None and targets.min() >= 0 and targets.max() < logits.shape[-1]:
        nll = -log_softmax(flat)[np.arange(len(flat)), targets.ravel()].reshape(targets.shape)
        pad = chart.fields.pad
        keep = targets != pad if pad is not None and (targets != pad).any() else np.ones(targets.shape, bool)
        found |= {
            "nll_real": float(nll[keep].mean()),
            "tokens_real": int(keep.sum()),
            "tokens_all": int(keep.size),
            "reduction": float(heard.loss) / float(nll[keep].mean()),
            "reduction_all": float(heard.loss) / float(nll.mean()),
        }
    return found


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns logarithms of shares along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def weights(chart: ProbeContext) -> dict[str, Any]:
    """Measures which positions the loss counts, from its gradient with respect to logits or predictions."""
    output = chart.felt.output
    if output is None:
        raise ProbeSkipped("neither logits nor predictions were found")
    weight = np.abs(np.asarray(output, np.float64)).sum(-1) if np.ndim(output) > 1 else np.abs(output)
    targets = ids(chart)
    if "logits" in chart.heard.values:
        if targets is None or chart.fields.pad is None:
            raise ProbeSkipped("no padding was found among the targets")
        empty = targets == chart.fields.pad
    else:
        if chart.real is None or chart.real.shape != weight.shape:
            raise ProbeSkipped("predictions do not lie along the sequences")
        empty = ~chart.real
    if not empty.any():
        raise ProbeSkipped("the first batch has no padding")
    return {
        "padding_counted": float((weight[empty] > 0).mean()),
        "padding_weight": float(weight[empty].sum() / max(weight.sum(), 1e-30)),
        "padding_targets": float(empty.mean()),
        "real_counted": float((weight[~empty] > 0).mean()),
    }


def scale(chart: ProbeContext) -> dict[str, Any]:
    """Measures by what the loss of numbers was divided: its ratio to the mean squared or absolute error."""
    values = chart.heard.values
    if "prediction" not in values:
        raise ProbeSkipped("no prediction was found")
    prediction, goal = (np.asarray(values[name], np.float64) for name in ("prediction", "goal"))
    error = prediction - goal
    maker = chart.inside.anatomy.graph.maker.get(chart.inside.anatomy.graph.back(chart.inside.anatomy.prediction or 0))
    low, high = RANGES.get(maker.name if maker is not None else "", (-np.inf, np.inf))
    real = chart.real
    told = real is not None and real.shape == error.shape[: real.ndim] and real.any()
    share = error[real] if told else error
    return {
        "goal_variance": float(goal.var()),
        "reduction": float(chart.heard.loss) / max(float((share**2).mean()), 1e-30),
        "reduction_absolute": float(chart.heard.loss) / max(float(np.abs(share).mean()), 1e-30),
        "numbers_real": int(share.size),
        "numbers_all": int(error.size),
        "goal_outside": float(((goal < low) | (goal > high)).mean()),
        "goal_beyond": float(np.maximum(low - goal, goal - high).max()) if np.isfinite(high) else 0.0,
    }


def wiring(chart: ProbeContext) -> dict[str, Any]:
    """Finds parts that compute something of the batch with parameters of their own, which the loss never uses."""
    look = chart.inside
    graph, program = look.anatomy.graph, look.program
    used = {id(op) for op in needed(program, frozenset())}
    taken: set[int] = set()
    wasted: set[int] = set()
    for op in program.ops:
        (taken if id(op) in used else wasted).update(op.inputs)
    dead = [op for op in program.ops if id(op) not in used]
    loops = [
        op
        for op in dead
        if op.body is not None and look.anatomy.learned(op.outputs[0]) and look.anatomy.batch(op.outputs[0])
    ]
    only = [at for at, number in enumerate(program.inputs[: len(chart.case.params)]) if number not in taken]
    products = [
        op
        for op in dead
        if op.name == "dot_general" and look.anatomy.batch(op.outputs[0]) and look.anatomy.learned(op.outputs[0])
    ]
    names = [chart.case.form.names[at] for at in only]
    return {
        "unused_parameters": names[:8],
        "unused_share": len(only) / len(chart.case.params),
        "unused_loops": len(loops),
        "unused_products": len(products),
        "loops": len([op for op in program.walk() if op.body is not None and id(op) in used])
        and len(look.anatomy.recurrences),
        "parameters_idle": sum(number in wasted for number in (program.inputs[at] for at in only)),
        "learned_recurrences": [r.name for r in look.anatomy.recurrences][:6],
        "squashed": all(r.squashed for r in look.anatomy.recurrences),
        "norm_axes": sorted(
            {f"{name or 'model'}: axes {axes} of {shape}" for name, axes, shape, _ in bad_norms(chart)}
        ),
        "dropout_masks": len(look.anatomy.masks),
        "dropout_keyed": all(look.anatomy.stain[n] & 2 for n in look.anatomy.masks),
        "graph_values": len(graph.maker),
    }


def bad_norms(chart: ProbeContext) -> list[tuple[str, tuple[int, ...], tuple[int, ...], bool]]:
    """Returns the normalisations that leave the feature axis, the last one, out."""
    return [
        each for each in chart.inside.anatomy.norms if each[1] and len(each[2]) > 1 and len(each[2]) - 1 not in each[1]
    ]


def inputs(chart: ProbeContext) -> dict[str, Any]:
    """Measures the numbers that the first products take, as they are after whatever scaling the model does."""
    look = chart.inside
    sizes = look.read(chart.case.params, chart.case.batches[0])
    if not sizes or not chart.fields.values:
        raise ProbeSkipped("no product takes the batch's numbers")
    every = np.concatenate([np.ravel(x) for x in sizes]).astype(float)
    return {"input_read_sd": float(every.std()), "input_read_mean": float(np.abs(every.mean()))}
