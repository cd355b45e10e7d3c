"""The code: whether the loss depends on it, whether codes differ, and how many dimensions they use."""

from typing import Any

import jax
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.signatures import loss_value
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE, evaluate


def initial_code(context: ProbeContext) -> Evidence:
    """Measures the code at initialization."""
    return code(context, context.setup.params)


def code(context: ProbeContext, params: Arrays, prefix: str = "") -> Evidence:
    """Measures the increase of the loss when codes are permuted within the batch, or zeroed, and their similarity.

    Args:
        context: the context.
        params: parameters of the model.
        prefix: of the names of the evidence.
    """
    setup, size = context.setup, context.fields.batch_size
    if setup.original.encode is not None and setup.original.decode_loss is not None:
        loss, permuted, zeroed, codes = user_code_losses(context, params)
        permutable = True
    else:
        loss, permuted, zeroed, codes = traced_code_losses(context, params)
        permutable = all(context.traced.example_axis(var) is not None for var in context.traced.roles.code)
    rows = np.concatenate([np.asarray(v, np.float64).reshape(size, -1) for v in codes if v.size % size == 0], 1)
    if not np.isfinite(rows).all():
        raise ProbeSkipped("codes are not finite")
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    cosines = unit @ unit.T
    variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    return {
        f"{prefix}code_permuted": permuted - loss if permutable else None,
        f"{prefix}code_zeroed": zeroed - loss,
        f"{prefix}code_loss": loss,
        f"{prefix}code_width": rows.shape[1],
        f"{prefix}code_cosine": float((cosines.sum() - np.trace(cosines)) / max(1, size * (size - 1))),
        f"{prefix}code_rank": float(variances.sum() ** 2 / max((variances**2).sum(), 1e-300)),
        f"{prefix}code_spread": float(rows.std(0).mean() / max(np.abs(rows).mean(), 1e-30)),
        f"{prefix}code_size": float(np.abs(rows).mean()),
    }


def user_code_losses(context: ProbeContext, params: Arrays) -> tuple[float, float, float, list[Any]]:
    """Returns the loss with the codes of the user's `encode`, with permuted and with zero codes, and the codes."""
    setup, batch = context.setup, context.setup.batches[-1]
    encode, decode_loss = setup.user_function("encode"), setup.user_function("decode_loss")
    if encode is None or decode_loss is None:
        raise ProbeSkipped("the setup has no encode and decode_loss")
    codes, order = encode(params, batch, setup.key), permutation(context)

    def loss(change: Any) -> float:
        return float(loss_value(decode_loss(params, batch, setup.key, jax.tree.map(change, codes))))

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(codes)]
    return loss(lambda x: x), loss(lambda x: x[order]), loss(lambda x: 0 * x), leaves


def traced_code_losses(context: ProbeContext, params: Arrays) -> tuple[float, float, float, list[Any]]:
    """Returns the traced loss, with permuted and with zero codes, and the codes, examples along the first axis."""
    traced, batch = context.traced, context.setup.batches[-1]
    if not traced.roles.code:
        raise ProbeSkipped("no code was found: no variables lie between recurrences")
    activations = traced.run(params, batch)
    permuted = traced.run(params, batch, traced.interventions(permutation(context)))
    zeroed = traced.run(params, batch, traced.interventions(scale=0.0))
    axes = [traced.example_axis(var) or 0 for var in traced.roles.code]
    codes = [np.moveaxis(value, axis, 0) for axis, value in zip(axes, activations.code, strict=True)]
    return float(activations.loss), float(permuted.loss), float(zeroed.loss), codes


def penalty(context: ProbeContext) -> Evidence:
    """Measures the gradient of a VAE's loss without its outputs, that of the KL term, over that through its outputs.

    Only parameters that the code depends on count, those with both.
    """
    traced, setup = context.traced, context.setup
    if not context.evidence.get("learned_noise"):
        return {}
    output = traced.roles.output
    if output is None:
        raise ProbeSkipped("neither logits nor predictions were found")

    def rest(params: Arrays, batch: Arrays, key: Any) -> Any:
        return evaluate(traced.jaxpr, [*params, *batch, key], edits={output: jax.lax.stop_gradient})[0][0]

    batch = setup.batches[0]
    gradient = jax.jit(jax.grad(rest), compiler_options=FAST_COMPILE)(setup.params, batch, setup.key)
    whole = context.gradients.params
    pairs = [(np.asarray(a, float), np.asarray(b, float)) for a, b in zip(gradient, whole, strict=True) if np.any(a)]
    through = np.sqrt(sum(((b - a) ** 2).sum() for a, b in pairs))
    return {"penalty_gradient": float(np.sqrt(sum((a**2).sum() for a, _ in pairs)) / max(through, 1e-30))}


def permutation(context: ProbeContext) -> np.ndarray:
    """Returns a permutation of the examples without fixed points."""
    return np.roll(np.arange(context.fields.batch_size), 1)
