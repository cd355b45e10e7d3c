"""The loss at initialization: its value, the positions it counts, its reduction, and what it does not use."""

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.goals import target_ids
from hae_jax.doctor.tracing.interpreter import Op, live_ops
from hae_jax.doctor.tracing.variables import KEY, Normalization, Roles

RANGES = {"tanh": (-1.0, 1.0), "logistic": (0.0, 1.0), "exp": (0.0, np.inf), "log1p": (0.0, np.inf)}
"""Ranges of operations that bound their results."""


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns log probabilities along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def token_nll(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the negative log-likelihood of each target, in nats, in the shape of the targets."""
    flat = np.asarray(logits, np.float64).reshape(-1, logits.shape[-1])
    return -log_softmax(flat)[np.arange(len(flat)), targets.ravel()].reshape(targets.shape)


def without_padding(targets: np.ndarray, pad: int | None) -> np.ndarray:
    """Returns which targets are not padding, bool; all if there is no padding, or nothing else."""
    keep = np.ones(targets.shape, bool) if pad is None else targets != pad
    return keep if keep.any() else np.ones(targets.shape, bool)


def start(context: ProbeContext) -> Evidence:
    """Measures the loss at initialization, ln V, and properties of the logits."""
    loss = float(context.activations.loss)
    found: Evidence = {"loss_start": loss}
    logits, user_logits = context.activations.values.get("logits"), context.setup.user_function("logits")
    if logits is None and user_logits is not None:
        logits = user_logits(context.setup.params, context.setup.batches[0], context.setup.key)
    if logits is None:
        return found
    vocabulary = logits.shape[-1]
    flat = np.asarray(logits, np.float64).reshape(-1, vocabulary)
    roles = context.traced.roles
    last_op = roles.graph.computed_by(roles.logits)
    found |= {
        "vocabulary": vocabulary,
        "loss_uniform": float(np.log(vocabulary)),
        "logits_are_shares": bool(
            flat.min() >= 0 and flat.max() <= 1 + 1e-5 and np.allclose(flat.sum(-1), 1, atol=1e-3)
        ),
        "logits_squashed": last_op.name if last_op is not None and last_op.name in ("tanh", "logistic") else "",
    }
    targets = target_ids(context.activations.values)
    if targets is not None:
        found |= label_range(context, targets, vocabulary)
    if targets is not None and targets.min() >= 0 and targets.max() < vocabulary:
        nll = token_nll(logits, targets)
        keep = without_padding(targets, context.goal_pad)
        mean = float(nll[keep].mean())
        found |= {
            "nll_real": mean,
            "tokens_real": int(keep.sum()),
            "tokens_all": int(keep.size),
            "reduction": loss / mean,
            "reduction_all": loss / float(nll.mean()),
        }
    return found


def label_range(context: ProbeContext, targets: np.ndarray, classes: int) -> Evidence:
    """Returns the range of labels, and the share of those beyond the classes, of the positions that the loss counts."""
    beyond = (targets < 0) | (targets >= classes)
    gradient = context.gradients.output
    if gradient is not None and np.shape(gradient)[:-1] == targets.shape:
        # Labels such as -1 are often masked. A label of which JAX makes NaN is counted.
        weight = np.abs(np.asarray(gradient, np.float64)).sum(-1)
        beyond &= (weight > 0) | ~np.isfinite(weight)
    return {
        "labels_beyond": float(beyond.mean()),
        "label_least": int(targets.min()),
        "label_most": int(targets.max()),
    }


def direction(context: ProbeContext) -> Evidence:
    """Measures the cosine between the gradient of the loss and that of an error; negative if errors are rewarded."""
    gradient, values = context.gradients.output, context.activations.values
    if gradient is None:
        raise ProbeSkipped("neither logits nor predictions were found")
    if "logits" in values:
        targets, logits = target_ids(values), np.asarray(values["logits"], np.float64)
        if targets is None or targets.min() < 0 or targets.max() >= logits.shape[-1]:
            raise ProbeSkipped("no targets were found")
        error = np.exp(log_softmax(logits)) - np.eye(logits.shape[-1])[targets]
    else:
        prediction, goal = (np.asarray(values[name], np.float64) for name in ("prediction", "goal"))
        if context.traced.roles.binary:
            last_op = context.traced.roles.graph.computed_by(context.traced.roles.goal)
            if last_op is not None and last_op.name == "sub":
                raise ProbeSkipped("the loss is a function of 1 less the labels")
            prediction = 1 / (1 + np.exp(-prediction))
        error = prediction - goal
    if error.shape != np.shape(gradient) or not np.isfinite(gradient).all():
        raise ProbeSkipped("outputs and goals have different shapes")
    norms = np.linalg.norm(gradient) * np.linalg.norm(error)
    return {"loss_direction": float((np.asarray(gradient, np.float64) * error).sum() / max(norms, 1e-300))}


def weights(context: ProbeContext) -> Evidence:
    """Measures which positions the loss counts, from its gradient with respect to logits or predictions."""
    gradient = context.gradients.output
    if gradient is None:
        raise ProbeSkipped("neither logits nor predictions were found")
    values, weight = context.activations.values, np.abs(np.asarray(gradient, np.float64))
    if "logits" in values or (context.real is not None and weight.ndim > context.real.ndim):
        weight = weight.sum(-1)
    if "logits" in values:
        targets = target_ids(values)
        if targets is not None and context.goal_pad is not None:
            padding = targets == context.goal_pad
        elif context.real is not None and context.real.shape == weight.shape:
            padding = ~context.real
        else:
            raise ProbeSkipped("no padding was found among the targets")
    else:
        if context.real is None or context.real.shape != weight.shape:
            raise ProbeSkipped("predictions do not have the shape of the sequences")
        padding = ~context.real
    if not padding.any():
        raise ProbeSkipped("the first batch has no padding")
    return {
        "padding_counted": float((weight[padding] > 0).mean()),
        "padding_weight": float(weight[padding].sum() / max(weight.sum(), 1e-30)),
        "padding_targets": float(padding.mean()),
        "real_counted": float((weight[~padding] > 0).mean()),
    }


def scale(context: ProbeContext) -> Evidence:
    """Measures the reduction of a loss of real numbers: its ratio to the mean squared and the mean absolute error."""
    values, loss = context.activations.values, float(context.activations.loss)
    if "prediction" not in values:
        raise ProbeSkipped("no prediction was found")
    if context.traced.roles.binary:
        raise ProbeSkipped("the loss is a binary cross-entropy")
    prediction, goal = (np.asarray(values[name], np.float64) for name in ("prediction", "goal"))
    roles, real = context.traced.roles, context.real
    low, high = value_range(roles, roles.prediction)
    error = prediction - goal
    masked = real is not None and real.shape == error.shape[: real.ndim] and real.any()
    counted = error[real] if masked else error
    return {
        "goal_variance": float(goal.var()),
        "goal_mean": float(abs(goal.mean())),
        "reduction": loss / max(float((counted**2).mean()), 1e-30),
        "reduction_absolute": loss / max(float(np.abs(counted).mean()), 1e-30),
        "numbers_real": int(counted.size),
        "numbers_all": int(error.size),
        "channels": error.shape[-1] if error.ndim > 2 else 1,
        "goal_outside": float(((goal < low) | (goal > high)).mean()),
        "goal_beyond": float(np.maximum(low - goal, goal - high).max()) if np.isfinite(low) else 0.0,
    }


def value_range(roles: Roles, var: int | None, depth: int = 6) -> tuple[float, float]:
    """Returns bounds of a variable that follow from the last operations that computed it."""
    op, unknown = roles.graph.computed_by(var), (-np.inf, np.inf)
    if op is None or not depth:
        return unknown
    if op.name in RANGES:
        return RANGES[op.name]
    if op.name == "mul" and len(op.inputs) == 2:
        ends = [value_range(roles, each, depth - 1) for each in op.inputs]
        if not np.isfinite(ends).all():
            return unknown
        products = [a * b for a in ends[0] for b in ends[1]]
        return min(products), max(products)
    if op.name == "select_n":
        # A state that a mask keeps is one of earlier steps.
        kept = roles.graph.operand_of
        ends = [value_range(roles, each, depth - 1) for each in op.inputs[1:] if each not in kept]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else unknown
    if op.name == "max":
        constants = [roles.graph.jaxpr.constants.get(roles.graph.origin(each)) for each in op.inputs]
        floors = [float(each) for each in constants if each is not None and np.ndim(each) == 0]
        return (max(floors), np.inf) if floors else unknown
    return unknown


def wiring(context: ProbeContext) -> Evidence:
    """Finds computations on batch and parameters that the loss does not use, and normalizations over wrong axes."""
    roles, jaxpr = context.traced.roles, context.traced.jaxpr
    live = {id(op) for op in live_ops(jaxpr)}
    dead = [op for op in jaxpr.ops if id(op) not in live]
    read_live = {var for op in jaxpr.ops if id(op) in live for var in op.inputs}
    read_dead = {var for op in dead for var in op.inputs}
    params = jaxpr.inputs[: len(context.setup.params)]
    unused = [at for at, var in enumerate(params) if var not in read_live]

    def learned(op: Op) -> bool:
        return roles.from_both(op.outputs[0])

    wrong_axes = {f"{each.scope or 'model'}: axes {each.axes} of {each.shape}" for each in wrong_normalizations(roles)}
    live_scans = any(op.body is not None and id(op) in live for op in jaxpr.walk())
    return {
        "unused_parameters": [context.setup.structure.names[at] for at in unused][:8],
        "unused_share": len(unused) / len(params),
        "unused_elements": sum(context.setup.params[at].size for at in unused)
        / max(1, sum(param.size for param in context.setup.params)),
        "unused_loops": sum(op.body is not None and learned(op) for op in dead),
        "unused_products": sum(op.name == "dot_general" and learned(op) for op in dead),
        "loops": len(roles.recurrences) if live_scans else 0,
        "parameters_idle": sum(params[at] in read_dead for at in unused),
        "learned_recurrences": [each.name for each in roles.recurrences][:6],
        "squashed": all(each.bounded for each in roles.recurrences),
        "norm_axes": sorted(wrong_axes),
        "batch_norm": any(is_over_batch(each) for each in roles.normalizations),
        "dropout_masks": len(roles.dropout_masks),
        "dropout_keyed": all(roles.taint[var] & KEY for var in roles.dropout_masks),
        "graph_values": len(roles.graph.producer),
    }


def wrong_normalizations(roles: Roles) -> list[Normalization]:
    """Returns the normalizations that do not average over the last axis, that of the features."""
    return [
        each
        for each in roles.normalizations
        if each.axes and len(each.shape) > 1 and len(each.shape) - 1 not in each.axes and not is_over_batch(each)
    ]


def is_over_batch(normalization: Normalization) -> bool:
    """Returns whether a normalization is that of batches, which averages over all axes but that of the features."""
    axes, shape, scope = normalization.axes, normalization.shape, normalization.scope.lower().replace("_", "")
    over_all = tuple(axes) == tuple(range(len(shape) - 1))
    return over_all and (len(shape) > 2 or "batchnorm" in scope or "layer" not in scope)


def inputs(context: ProbeContext) -> Evidence:
    """Measures the numbers that enter the first products, after whatever scaling the model does."""
    operands = context.traced.product_inputs(context.setup.params, context.setup.batches[0])
    if not operands or not context.fields.values:
        raise ProbeSkipped("no real numbers of the batch are multiplied by parameters")
    numbers = np.concatenate([np.ravel(operand) for operand in operands]).astype(float)
    return {
        "input_read_sd": float(numbers.std()),
        "input_read_mean": float(np.abs(numbers.mean())),
        "input_binary": bool(np.isin(numbers, (0, 1)).all()),
    }
