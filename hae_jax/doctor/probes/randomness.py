"""Randomness and precision: values that are not finite, dropout, 16-bit arithmetic, free-running decoding."""

import jax
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.fields import real_positions
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.goals import target_ids
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE

HALF_TYPES = ("float16", "bfloat16")


def finite(context: ProbeContext) -> Evidence:
    """Finds batches whose loss or gradient is not finite, and whether they are those with empty rows."""
    setup = context.setup
    broken, empty, finite_losses = [], [], []
    for batch in setup.batches[:12]:
        loss, gradient = context.trainer.value_and_grad(setup.params, batch, setup.key)
        finite_gradient = all(bool(np.isfinite(np.asarray(g, np.float32)).all()) for g in gradient)
        finite_losses.append(bool(np.isfinite(loss)))
        broken.append(not (finite_gradient and finite_losses[-1]))
        real = real_positions(context.fields, batch)
        empty.append(real is not None and bool((~real.any(-1)).any()))

    def share_broken(with_empty: bool) -> float | None:
        chosen = [b for b, e in zip(broken, empty, strict=True) if e == with_empty]
        return float(np.mean(chosen)) if chosen else None

    names = setup.batch_structure.names
    not_finite = [
        name
        for at, name in enumerate(names)
        if any(not np.isfinite(batch[at]).all() for batch in setup.batches[:12] if batch[at].dtype.kind == "f")
    ]
    found: Evidence = {
        "fields_not_finite": not_finite,
        "broken_batches": float(np.mean(broken)),
        "broken_empty": share_broken(True),
        "broken_full": share_broken(False),
        "loss_finite": all(finite_losses),
        "empty_batches": float(np.mean(empty)),
    }
    if found["broken_batches"] == 1.0 and not found["broken_empty"]:
        found["broken_always"] = True
    return found


def dropout(context: ProbeContext) -> Evidence:
    """Measures what dropout keeps, and whether evaluation is free of it."""
    setup, traced = context.setup, context.traced
    batch = setup.batches[0]
    keys = [jax.random.fold_in(setup.key, number) for number in range(3)]
    noisy = traced.interventions(deterministic=False)
    first, second = (traced.run(setup.params, batch, noisy, key) for key in keys[:2])
    found: Evidence = {
        "dropout_kept": min(map(float, first.kept), default=None),
        "loss_varies": bool(first.loss != second.loss),
    }
    if setup.evaluate is not None:
        evaluate = jax.jit(setup.evaluate, compiler_options=FAST_COMPILE)
        evaluation = [float(evaluate(setup.params, batch, key)) for key in keys]
        training = [float(context.trainer.value_and_grad(setup.params, batch, key)[0]) for key in keys]
        found |= {
            "evaluation_varies": len(set(evaluation)) > 1,
            "evaluation_loss": evaluation[0],
            "training_loss": float(np.mean(training)),
        }
    return found


def precision(context: ProbeContext) -> Evidence:
    """Measures the share of gradients that are exactly zero if the loss uses 16-bit numbers."""
    setup, jaxpr, roles = context.setup, context.traced.jaxpr, context.traced.roles
    halves = sorted({roles.graph.dtype(var) for var in jaxpr.avals} & set(HALF_TYPES))
    if not halves:
        return {"half_precision": ""}
    carried = {roles.graph.dtype(each.op.outputs[at]) for each in roles.recurrences for at in each.carry}
    _, gradient = context.trainer.value_and_grad(setup.params, setup.batches[0], setup.key)
    # Rows of a table that are not looked up have no gradient.
    tables = {roles.graph.origin(roles.graph.producer[var].inputs[0]) for var in roles.embeddings}
    zeros = [
        float((np.asarray(g, np.float32) == 0).mean())
        for g, var in zip(gradient, jaxpr.inputs[: len(gradient)], strict=True)
        if var not in tables and np.ndim(g) > 1 and np.any(g)
    ]
    return {
        "half_precision": halves[0],
        "half_carried": bool(carried & set(HALF_TYPES)),
        "half_parameters": any(str(param.dtype) in HALF_TYPES for param in setup.params),
        "zero_gradients": max(zeros, default=0.0),
    }


def free_running(context: ProbeContext) -> Evidence:
    """Measures free-running and teacher-forced decoding of the trained model."""
    setup, fields, params = context.setup, context.fields, context.curve.params
    decode = setup.user_function("free_run")
    if decode is None:
        raise ProbeSkipped("the setup has no free_run")
    batch = setup.batches[-1]
    output = decode(params, batch, setup.key)
    output = np.asarray(output[0] if isinstance(output, (tuple, list)) else output)
    found: Evidence = {"forced_loss": float(context.trainer.value_and_grad(params, batch, setup.key)[0])}
    if output.ndim == 0:
        return found | {"free_loss": float(output)}
    main = fields.main
    if main is None:
        raise ProbeSkipped("no field of the batch to compare the output with")
    goal = batch[main]
    if output.ndim == goal.ndim + 1 and main in fields.words:
        output = output.argmax(-1)
    length = min(output.shape[1], goal.shape[1]) if output.ndim > 1 else 0
    if not length or output.shape[0] != goal.shape[0]:
        raise ProbeSkipped("free_run returns another shape than the batch's")
    output, goal = output[:, :length], goal[:, :length]
    real = real_positions(fields, batch)
    real = np.ones(goal.shape[:2], bool) if real is None or real.ndim < 2 else real[:, :length]
    if main in fields.values:
        error = ((output - goal) ** 2)[real].mean() / max(goal[real].var(), 1e-30)
        return found | {"free_error": float(error)}
    found["free_accuracy"] = float((output == goal)[real].mean())
    forced = teacher_forced_ids(context, params, batch)
    if forced is not None and forced[:, :length].shape == goal.shape:
        forced = forced[:, :length]
        found["accuracy"] = float((forced == goal)[real].mean())
        free, forced, goal, real = (x.reshape(len(goal), -1) for x in (output, forced, goal, real))
        found["free_agreement"] = agreement(free, forced, goal, real)
    return found


def teacher_forced_ids(context: ProbeContext, params: Arrays, batch: Arrays) -> np.ndarray | None:
    """Returns the most probable id at each position of a batch, teacher-forced; None if positions are unknown."""
    logits = context.setup.user_function("logits")
    if logits is not None:
        # These depend on the code; a loss may have others, for example of sentences decoded from their own vectors.
        return np.asarray(logits(params, batch, context.setup.key)).argmax(-1)
    values, words = context.traced.run(params, batch).values, batch[context.fields.words[0]]
    targets = target_ids(values)
    if targets is None:
        return None
    ids = values["logits"].argmax(-1).reshape(targets.shape)
    if np.array_equal(targets, words):
        return ids
    return ids.T if np.array_equal(targets.T, words) else None


def agreement(free: np.ndarray, forced: np.ndarray, goal: np.ndarray, real: np.ndarray) -> float:
    """Returns how often free running predicts what teacher forcing does, while both have been fed the same ids.

    Up to and including the first position where the most probable id is wrong, both are fed the same ids. So the share
    is 1 for greedy decoding, however fast errors accumulate, if free running uses the trained decoder correctly.

    Args:
        free: ids of free running, [row, position].
        forced: most probable ids under teacher forcing.
        goal: the correct ids.
        real: which positions count.

    Example:
        >>> goal = np.array([[1, 2, 3, 4]])
        >>> forced = np.array([[1, 2, 9, 4]])
        >>> real = np.ones((1, 4), bool)
        >>> [agreement(np.array([free]), forced, goal, real) for free in ([1, 2, 9, 7], [1, 8, 9, 7], [5, 6, 7, 8])]
        [1.0, 0.6666666666666666, 0.0]
    """
    right = (forced == goal) | ~real
    right_before = np.cumprod(np.pad(right, ((0, 0), (1, 0)), constant_values=True)[:, :-1], axis=1).astype(bool)
    compared = right_before & real
    return float((free == forced)[compared].mean()) if compared.any() else 1.0
