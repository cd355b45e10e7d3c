"""Short trainings: does the loss fall, would it at another rate, and is the code read by then?"""

from dataclasses import replace
from typing import Any

import numpy as np

from hae_jax.doctor.probes.code import code
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.initial_loss import log_softmax, shaped
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve
from hae_jax.doctor.tracing.traced_loss import trace_loss

STEPS, SHORT, ONE = 200, 60, 120
"""Steps of training, of training at other rates, and on one batch."""
FARTHEST = 1e5
"""Times the rate that are tried."""


def train(chart: ProbeContext, trial: ShortTraining, patience: float) -> tuple[TrainingCurve, dict[str, Any]]:
    """Trains as the patient would."""
    course = trial.run(chart.case.batches, STEPS, patience=patience)
    names = chart.case.form.names
    dead = [at for at, n in enumerate(course.gradients) if n == 0]
    still = [names[at] for at in dead]
    unmoved = [names[at] for at, n in enumerate(course.updates) if n == 0]
    steps = len(course.loss)
    return course, {
        "steps": steps,
        "trained_finite": course.finite,
        "loss_first": course.loss[0],
        "loss_last": course.end(),
        "loss_lowest": float(np.nanmin(course.loss)),
        "loss_highest": float(np.nanmax(course.loss)),
        "curve": list(course.loss),
        "gradient_norm": float(np.nanmedian(course.norm)),
        "gradient_norm_first": course.norm[0],
        "gradient_spikes": float(np.nanmax(course.norm) / max(np.nanmedian(course.norm), 1e-30)),
        "update_ratio": float(np.nanmedian(course.moves)),
        "update_ratio_first": course.moves[0],
        "update_ratio_last": float(np.nanmean(course.moves[-10:])),
        "no_gradient": still[:8],
        "no_gradient_felt": [names[at] for at in dead[:8] if felt(chart, trial, at)],
        "no_gradient_share": len(still) / len(names),
        "no_update": [name for name in unmoved if name not in still][:8],
        "no_update_share": len(unmoved) / len(names),
    }


def felt(chart: ProbeContext, trial: ShortTraining, at: int) -> bool:
    """Says whether the loss depends on a parameter: a weight that zeros are multiplied by may lack a gradient."""
    params, batch, key = list(chart.case.params), chart.case.batches[0], chart.case.key
    before = trial.differentiate(params, batch, key)[0]
    params[at] = params[at] + chart.rng.normal(size=params[at].shape).astype(np.float32).astype(params[at].dtype)
    return bool(trial.differentiate(params, batch, key)[0] != before)


def rates(chart: ProbeContext, trial: ShortTraining, course: TrainingCurve, patience: float) -> dict[str, Any]:
    """Trains at a tenth of the rate, at ten times it, and faster still where nothing moves."""
    found: dict[str, Any] = {}
    steps = min(SHORT, len(course.loss))
    last = [at % len(chart.case.batches) for at in range(max(0, steps - 5), steps)]
    # Batches differ, so a loss is held against that of the first parameters on the same ones.
    still = [trial.differentiate(chart.case.params, chart.case.batches[at], chart.case.key)[0] for at in last]
    found["loss_standing"] = float(np.mean(still))
    same = course.loss[: len(course.loss) if not course.finite else steps]
    found["loss_same"] = float(np.mean(same[-5:])) if course.finite else float("inf")

    def end(scale: float) -> float:
        other = trial.run(chart.case.batches, steps, scale, patience / 3)
        return other.end(5) if other.finite else float("inf")

    found |= {"loss_tenth": end(0.1), "loss_tenfold": end(10.0)}
    best, at = found["loss_tenfold"], 10.0
    # Where ten times the rate is still next to nothing, more may be needed to see the loss fall.
    while at < FARTHEST and course.finite and min(found["loss_same"], best) > 0.95 * found["loss_standing"]:
        at *= 10
        best = min(best, end(at))
    return found | {"loss_faster": best, "faster": at}


def one_batch(chart: ProbeContext, trial: ShortTraining, patience: float) -> dict[str, Any]:
    """Trains on one batch only; what a model cannot learn by heart it cannot learn."""
    course = trial.run(chart.case.batches[:1], ONE, patience=patience)
    return {
        "one_batch_first": course.loss[0],
        "one_batch_last": course.end(5) if course.finite else float("inf"),
        "one_batch_steps": len(course.loss),
        "overshoot": float(np.median(course.turned)) if course.turned else None,
    }


def shorter(chart: ProbeContext, patience: float) -> dict[str, Any]:
    """Trains on sequences cut to a quarter, and measures whether the code is read then."""
    fields, main, mask = chart.fields, chart.fields.main, chart.real
    if main is None or mask is None or mask.ndim != 2 or chart.case.patient.batch_axis != 0:
        raise ProbeSkipped("sequences cannot be cut")
    time = mask.shape[1]
    cut = [[x[:, : time // 4] if x.ndim > 1 and x.shape[1] == time else x for x in b] for b in chart.case.batches]
    for batch in cut:
        for at in fields.lengths:
            batch[at] = np.minimum(batch[at], time // 4)
    case = replace(chart.case, batches=cut)
    course = ShortTraining(case).run(cut, STEPS, patience=patience)
    if not course.finite:
        raise ProbeSkipped("training on shorter sequences broke off")
    found = code(ProbeContext(case, fields, trace_loss(case, fields.size)), course.params)
    return {
        "short_gap": (found["code_permuted"] or 0.0) / max(abs(found["code_loss"]), 1e-12),
        "short_loss": course.end(),
    }


def trained(chart: ProbeContext, course: TrainingCurve) -> dict[str, Any]:
    """Measures the code, the variety of outputs, and positions, after training."""
    if not course.finite:
        raise ProbeSkipped("training broke off")
    found: dict[str, Any] = {}
    look, batch = chart.inside, chart.case.batches[-1]
    heard = look.hear(course.params, batch)
    values = heard.values
    name = "logits" if "logits" in values else "prediction"
    if name in values:
        said = np.asarray(values[name], np.float64)
        flat = said.reshape(-1, said.shape[-1]) if said.ndim > 1 else said[:, None]
        # Of logits only differences count.
        flat = flat - flat.mean(-1, keepdims=True) if name == "logits" else flat
        # Over examples, at the same position: time alone makes the states of a decoder vary.
        axis = next((at for at, n in enumerate(said.shape[:-1]) if n == chart.fields.size), None)
        centred = flat.reshape(said.shape) if said.ndim > 1 else said
        found["output_spread"] = float(flat.std(0).mean() if axis is None else centred.std(axis).mean())
        found["output_size"] = float(flat.std() if name == "logits" else np.abs(flat).mean())
    if name == "prediction":
        goal = np.asarray(values["goal"], np.float64)
        found["output_against_goal"] = float(said.std() / max(goal.std(), 1e-30))
        found["error_share"] = float(((said - goal) ** 2).mean() / max(goal.var(), 1e-30))
    targets = shaped(values)
    if targets is not None and targets.max() < values["logits"].shape[-1]:
        pad = chart.fields.pad
        keep = (targets != pad).ravel() if pad is not None and (targets != pad).any() else np.ones(targets.size, bool)
        logits = np.asarray(values["logits"], np.float64).reshape(-1, values["logits"].shape[-1])
        nll = -log_softmax(logits)[np.arange(len(logits)), targets.ravel()]
        right = logits.argmax(-1) == targets.ravel()
        found |= {
            "accuracy": float(right[keep].mean()),
            "nll_last": float(nll[keep].mean()),
            "said_pad": float((logits.argmax(-1) == pad).mean()) if pad is not None else 0.0,
            "said_distinct": len(np.unique(logits.argmax(-1)[keep])),
        }
        shares = np.bincount(targets.ravel()[keep]) / keep.sum()
        shares = shares[shares > 0]
        found["target_entropy"] = float(-(shares * np.log(shares)).sum())
    found |= code(chart, course.params, "last_")
    found["gates_last"] = {
        r.name: float(f) for r, f in zip(look.anatomy.recurrences, heard.forget, strict=True) if np.isfinite(f)
    }
    return found
