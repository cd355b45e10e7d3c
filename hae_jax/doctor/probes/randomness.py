"""Randomness, precision and numbers that are none."""

from typing import Any

import jax
import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.fields import real
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.initial_loss import shaped
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.tracing.interpreter import ONCE

HALVES = ("float16", "bfloat16")


def finite(chart: ProbeContext, trial: ShortTraining) -> dict[str, Any]:
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


def dropout(chart: ProbeContext, trial: ShortTraining) -> dict[str, Any]:
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


def precision(chart: ProbeContext, trial: ShortTraining) -> dict[str, Any]:
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


def forced_words(chart: ProbeContext, params: Any, batch: Arrays) -> np.ndarray | None:
    """Returns the likeliest word at each place of a batch, teacher-forced; None if nobody knows where it stands."""
    teacher = chart.case.offered("logits")
    if teacher is not None:
        # Through the code; a loss may have others, as of sentences by themselves.
        return np.asarray(teacher(params, batch, chart.case.key)).argmax(-1)
    values, words = chart.inside.hear(params, batch).values, batch[chart.fields.words[0]]
    targets = shaped(values)
    if targets is None:
        return None
    said = values["logits"].argmax(-1).reshape(targets.shape)
    if np.array_equal(targets, words):
        return said
    return said.T if np.array_equal(targets.T, words) else None


def agreement(free: np.ndarray, forced: np.ndarray, goal: np.ndarray, real: np.ndarray) -> float:
    """Returns how often free running says what teacher forcing does, as long as both have read the same words.

    Up to the first place where the likeliest word is a wrong one, that place included, the two read the same. So the
    share is 1 for whoever says the likeliest word, however soon errors add up, if free running is what was trained.

    Args:
        free: words said, [row, place].
        forced: the likeliest words after the right ones.
        goal: the right ones.
        real: which places count.

    Example:
        >>> goal = np.array([[1, 2, 3, 4]])
        >>> forced = np.array([[1, 2, 9, 4]])
        >>> real = np.ones((1, 4), bool)
        >>> [agreement(np.array([free]), forced, goal, real) for free in ([1, 2, 9, 7], [1, 8, 9, 7], [5, 6, 7, 8])]
        [1.0, 0.6666666666666666, 0.0]
    """
    right = (forced == goal) | ~real
    same = np.cumprod(np.pad(right, ((0, 0), (1, 0)), constant_values=True)[:, :-1], axis=1).astype(bool) & real
    return float((free == forced)[same].mean()) if same.any() else 1.0


def free(chart: ProbeContext, trial: ShortTraining, params: Any) -> dict[str, Any]:
    """Measures free-running against teacher-forced."""
    run = chart.case.offered("free_run")
    if run is None:
        raise ProbeSkipped("free_run is not offered")
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
        raise ProbeSkipped("nothing to compare the output with")
    goal = batch[main]
    if made.ndim == goal.ndim + 1 and main in chart.fields.words:
        made = made.argmax(-1)
    length = min(made.shape[1], goal.shape[1]) if made.ndim > 1 else 0
    if not length or made.shape[0] != goal.shape[0]:
        raise ProbeSkipped("free_run returns another shape than the batch's")
    made, goal = made[:, :length], goal[:, :length]
    mask = real(chart.fields, batch)
    mask = np.ones(goal.shape[:2], bool) if mask is None or mask.ndim < 2 else mask[:, :length]
    if main in chart.fields.words:
        found["free_accuracy"] = float((made == goal)[mask].mean())
        said = forced_words(chart, params, batch)
        if said is not None and said[:, :length].shape == goal.shape:
            said = said[:, :length]
            found["accuracy"] = float((said == goal)[mask].mean())
            found["free_agreement"] = agreement(*(x.reshape(len(goal), -1) for x in (made, said, goal, mask)))
    else:
        found["free_error"] = float(((made - goal) ** 2)[mask].mean() / max(goal[mask].var(), 1e-30))
    return found
