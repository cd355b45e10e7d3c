"""Randomness, precision and numbers that are none."""

from typing import Any

import jax
import numpy as np

from hae_jax.doctor.chart import Chart, Unable
from hae_jax.doctor.fields import real
from hae_jax.doctor.program import ONCE
from hae_jax.doctor.trial import Trial

HALVES = ("float16", "bfloat16")


def finite(chart: Chart, trial: Trial) -> dict[str, Any]:
    """Looks for batches whose loss or gradient is not finite, and whether those are the ones with empty rows."""
    broken, empty, losses = [], [], []
    for batch in chart.case.batches[:12]:
        loss, gradient = trial.differentiate(chart.case.params, batch, chart.case.key)
        whole = all(bool(np.isfinite(np.asarray(g, np.float32)).all()) for g in gradient)
        broken.append(not whole or not np.isfinite(loss))
        losses.append(bool(np.isfinite(loss)))
        mask = real(chart.fields, batch)
        empty.append(bool(mask is not None and (~mask.any(-1)).any()))
    return {
        "broken_batches": float(np.mean(broken)),
        "broken_empty": float(np.mean([b for b, e in zip(broken, empty, strict=True) if e])) if any(empty) else None,
        "broken_full": float(np.mean([b for b, e in zip(broken, empty, strict=True) if not e]))
        if not all(empty)
        else None,
        "loss_finite": all(losses),
        "empty_batches": float(np.mean(empty)),
    }


def dropout(chart: Chart, trial: Trial) -> dict[str, Any]:
    """Measures what dropout keeps, and whether evaluation is free of it."""
    case, look = chart.case, chart.inside
    batch = case.batches[0]
    keys = [jax.random.fold_in(case.key, at) for at in range(3)]
    noisy = [look.hear(case.params, batch, look.knobs(still=False), key) for key in keys[:2]]
    kept = [float(k) for k in noisy[0].kept]
    found: dict[str, Any] = {
        "dropout_kept": min(kept, default=None),
        "loss_varies": bool(noisy[0].loss != noisy[1].loss),
    }
    if case.evaluate is not None:
        evaluate = jax.jit(case.evaluate, compiler_options=ONCE)
        values = [float(evaluate(case.params, batch, key)) for key in keys]
        found["evaluation_varies"] = len(set(values)) > 1
        found["evaluation_loss"] = values[0]
        found["training_loss"] = float(
            np.mean([float(trial.differentiate(case.params, batch, key)[0]) for key in keys])
        )
    return found


def precision(chart: Chart, trial: Trial) -> dict[str, Any]:
    """Measures the share of gradients that are exactly zero where 16 bits are used."""
    look, case = chart.inside, chart.case
    kinds = {look.anatomy.graph.kind(n) for n in look.program.avals}
    halves = sorted(kinds & set(HALVES))
    if not halves:
        return {"half_precision": ""}
    carried = {look.anatomy.graph.kind(r.op.outputs[at]) for r in look.anatomy.recurrences for at in r.carry}
    _, gradient = trial.differentiate(case.params, case.batches[0], case.key)
    tables = {look.anatomy.graph.back(look.anatomy.graph.maker[n].inputs[0]) for n in look.anatomy.embedded}
    inputs = look.program.inputs[: len(gradient)]
    zeros = [
        float((np.asarray(g, np.float32) == 0).mean())
        for g, n in zip(gradient, inputs, strict=True)
        if n not in tables and np.ndim(g) > 1 and np.any(g)
    ]
    return {
        "half_precision": halves[0],
        "half_carried": bool(carried & set(HALVES)),
        "half_parameters": any(str(p.dtype) in HALVES for p in case.params),
        "zero_gradients": max(zeros, default=0.0),
    }


def free(chart: Chart, trial: Trial, params: Any) -> dict[str, Any]:
    """Measures free-running against teacher-forced."""
    run = chart.case.offered("free_run")
    if run is None:
        raise Unable("free_run is not offered")
    batch = chart.case.batches[-1]
    found: dict[str, Any] = {}
    made = run(params, batch, chart.case.key)
    made = made[0] if isinstance(made, (tuple, list)) else made
    forced = float(trial.differentiate(params, batch, chart.case.key)[0])
    found["forced_loss"] = forced
    made = np.asarray(made)
    if made.ndim == 0:
        found["free_loss"] = float(made)
        return found
    main = chart.fields.main
    if main is None:
        raise Unable("nothing to compare the output with")
    goal = batch[main]
    if made.ndim == goal.ndim + 1 and main in chart.fields.words:
        made = made.argmax(-1)
    length = min(made.shape[1], goal.shape[1]) if made.ndim > 1 else 0
    if not length or made.shape[0] != goal.shape[0]:
        raise Unable("free_run returns another shape than the batch's")
    made, goal = made[:, :length], goal[:, :length]
    mask = real(chart.fields, batch)
    mask = np.ones(goal.shape[:2], bool) if mask is None or mask.ndim < 2 else mask[:, :length]
    if main in chart.fields.words:
        teacher = chart.case.offered("logits")
        if teacher is not None:
            # Through the same code; a loss may have others, as of sentences by themselves.
            said = np.asarray(teacher(params, batch, chart.case.key)).argmax(-1)[:, :length]
            found["accuracy"] = float((said == goal)[mask].mean())
        found["free_accuracy"] = float((made == goal)[mask].mean())
    else:
        found["free_error"] = float(((made - goal) ** 2)[mask].mean() / max(goal[mask].var(), 1e-30))
    return found
