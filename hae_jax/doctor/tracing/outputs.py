"""Finds what a loss compares: logits and targets, or a prediction and its goal."""

from hae_jax.doctor.tracing.dataflow import TRANSPARENT
from hae_jax.doctor.tracing.interpreter import Op
from hae_jax.doctor.tracing.variables import Roles

TO_LOSS = TRANSPARENT | {
    "reduce_sum", "abs", "log", "div", "gather", "add", "sub", "max", "clamp", "select_n", "mul", "neg", "sign", "min",
}  # fmt: skip
"""Operations between an exponential and the loss."""
LOGARITHMS = ("log", "log1p")
TO_LOGARITHM = TRANSPARENT | {"neg", "sub", "add", "add_any", "max", "min", "clamp", "select_n", "abs", "mul"}
"""Operations between a binary cross-entropy's logarithm and its product with the labels."""


def find_outputs(roles: Roles) -> None:
    """Finds logits and targets, or else a prediction and its goal."""
    roles.logits = find_logits(roles)
    if roles.logits is not None:
        roles.targets = find_targets(roles, roles.logits)
        return
    roles.prediction, roles.goal, roles.outer = find_prediction(roles)
    if roles.prediction is None:
        roles.prediction, roles.goal, roles.outer = find_binary(roles)
        roles.binary = roles.prediction is not None


def find_logits(roles: Roles) -> int | None:
    """Returns the operand of the last softmax whose result reaches a logarithm."""
    graph, found = roles.graph, None
    for op in graph.jaxpr.walk():
        if op.name != "exp" or not (roles.from_params(op.outputs[0]) and graph.is_float(op.outputs[0])):
            continue
        result = op.outputs[0]
        last_axis = (len(graph.shape(result)) - 1,)
        sums = [each for each in graph.consumers[result] if each.name == "reduce_sum"]
        if not any(tuple(each.equation.params["axes"]) == last_axis for each in sums):
            continue
        reached = graph.descendants(result, TO_LOSS)
        if any(graph.producer[var].name == "log" for var in reached if var in graph.producer):
            # The softmax subtracts the maximum first.
            shift = graph.producer.get(op.inputs[0])
            found = shift.inputs[0] if shift is not None and shift.name == "sub" else op.inputs[0]
    return found


def find_targets(roles: Roles, logits: int) -> int | None:
    """Returns the ids at which probabilities are looked up, or the one-hot array that they are multiplied by."""
    graph, found = roles.graph, None
    shape = graph.shape(logits)
    reached = graph.descendants(logits, TO_LOSS | {"exp"})
    for op in graph.jaxpr.walk():
        if op.name == "gather" and op.inputs[0] in reached and roles.is_data(op.inputs[1]):
            found = op.inputs[1]
        if op.name in ("mul", "dot_general") and len(op.inputs) == 2 and found is None:
            for ours, theirs in (op.inputs, op.inputs[::-1]):
                if found is None and ours in reached and roles.is_data(theirs) and graph.shape(theirs) == shape:
                    found = one_hot_ids(roles, theirs)
    return found


def one_hot_ids(roles: Roles, one_hot: int) -> int:
    """Returns the ids that a one-hot array was made from, or the array itself."""
    op = roles.graph.computed_by(one_hot)
    if op is None or op.name != "eq":
        return one_hot
    return next((roles.graph.origin(var) for var in op.inputs if roles.from_batch(var)), one_hot)


Pair = tuple[int | None, int | None, tuple[tuple[int, ...], tuple[int, ...]] | None]
"""Prediction, goal, and the axes that only one of them has."""


def find_prediction(roles: Roles) -> Pair:
    """Returns the operands of the last squared or absolute difference: the prediction, and what it is compared with.

    Without any, those of the last difference of a prediction and data, of which another function is the loss.
    """
    graph = roles.graph
    found: Pair = (None, None, None)
    other: Pair = (None, None, None)
    for op in graph.jaxpr.walk():
        if op.name == "sub":
            other = pair_of(roles, op) or other
        is_error = op.name in ("square", "abs") or (op.name in ("integer_pow", "pow") and is_square(op))
        if not is_error and not (op.name == "mul" and op.inputs[0] == op.inputs[1]):
            continue
        difference = graph.computed_by(op.inputs[0])
        if difference is not None and difference.name in ("mul", "div"):
            # The difference may be multiplied by a mask, or divided by a deviation.
            factors = map(graph.computed_by, difference.inputs)
            difference = next((each for each in factors if each is not None and each.name == "sub"), None)
        if difference is not None and difference.name == "sub":
            found = pair_of(roles, difference) or found
    return other if found[0] is None and find_binary(roles)[0] is None else found


def pair_of(roles: Roles, op: Op) -> Pair | None:
    """Returns the operands of a difference, if one is a prediction and the other one data."""
    for ours, theirs in (op.inputs, op.inputs[::-1]):
        if roles.from_params(ours) and roles.is_data(theirs) and roles.graph.shape(ours):
            return compared(roles, ours, theirs)
    return None


def is_square(op: Op) -> bool:
    """Returns whether a power is a square; the exponent of `pow` is a variable."""
    return op.equation.params.get("y", 2) == 2


def find_binary(roles: Roles) -> Pair:
    """Returns the logit and the labels of a binary cross-entropy.

    Labels are multiplied by the logarithm of a sigmoid; or, as in x - x * labels + log(1 + exp(-x)), by the logit.
    """
    graph = roles.graph
    logits = {logit for op in graph.jaxpr.walk() if op.name in LOGARITHMS and (logit := logit_of(roles, op.outputs[0]))}
    for op in graph.jaxpr.walk():
        if not logits:
            break
        if op.name == "select_n" and roles.is_data(op.inputs[0]) and len(op.inputs) == 3:
            # where(label, log(p), log(1 - p))
            logit = logit_of(roles, op.inputs[2])
            if logit is not None and logit == logit_of(roles, op.inputs[1]):
                return compared(roles, same_form(roles, op.inputs[2], logit), op.inputs[0])
        if op.name != "mul":
            continue
        for ours, theirs in (op.inputs, op.inputs[::-1]):
            if roles.from_both(ours) and roles.is_data(theirs) and graph.shape(ours) and graph.is_float(theirs):
                logit = ours if graph.origin(ours) in logits or ours in logits else logit_of(roles, ours)
                if logit is not None:
                    # Later products are those with weights and masks. Labels may have the loss's minus sign.
                    negated = graph.producer.get(theirs)
                    if negated is not None and negated.name == "neg":
                        theirs = negated.inputs[0]
                    return compared(roles, same_form(roles, ours, logit), theirs)
    return None, None, None


def logit_of(roles: Roles, var: int) -> int | None:
    """Returns the operand of the sigmoid whose logarithm a variable is; None if it is no such logarithm."""
    graph = roles.graph
    for each in graph.ancestors(var, TO_LOGARITHM, 12):
        op = graph.producer.get(each)
        if op is None or op.name not in LOGARITHMS:
            continue
        for inner in graph.ancestors(op.inputs[0], TO_LOGARITHM, 12):
            sigmoid = graph.producer.get(inner)
            if sigmoid is not None and sigmoid.name in ("logistic", "exp"):
                return unsigned(roles, sigmoid.inputs[0])
    return None


def unsigned(roles: Roles, var: int) -> int:
    """Follows the operand of an exponential back through signs, absolute values and comparisons with constants."""
    graph = roles.graph
    while True:
        op = graph.producer.get(var)
        if op is None or op.name not in ("neg", "abs", "sub", "max", "convert_element_type", "select_n", "copy"):
            return var
        parents = [parent for parent in op.inputs if roles.from_both(parent)]
        if len(set(parents)) != 1:
            return var
        var = parents[0]


def same_form(roles: Roles, var: int, logit: int) -> int:
    """Returns the logit, in the form that it is compared in: broadcast, if that differs."""
    graph = roles.graph
    if graph.shape(var) == graph.shape(logit):
        return logit
    wide = [each for each in graph.descendants(logit, TRANSPARENT) if graph.shape(each) == graph.shape(var)]
    return wide[0] if wide else var


def compared(roles: Roles, ours: int, theirs: int) -> Pair:
    """Returns prediction and goal, and, if the examples of one are repeated for those of the other one, these axes."""
    shapes = [form(roles, var) for var in (ours, theirs)]
    if len(shapes[0]) != len(shapes[1]):
        return ours, theirs, None
    lengths = list(enumerate(zip(*shapes, strict=True)))
    only = tuple(tuple(axis for axis, pair in lengths if pair[at] > 1 and pair[1 - at] == 1) for at in (0, 1))
    # A single goal of the batch for all of its predictions, as y[:1]; a goal of each example for several quantiles is
    # no mistake.
    single = bool(only[0]) and all(length == 1 for length in shapes[1]) and roles.from_batch(ours)
    return ours, theirs, (only[0], only[1]) if only[0] and (only[1] or single) else None


def form(roles: Roles, var: int) -> tuple[int, ...]:
    """Returns the shape of a variable with length 1 along the axes that it was repeated along."""
    graph, shape = roles.graph, roles.graph.shape(var)
    op = graph.producer.get(var)
    while op is not None and op.name in ("convert_element_type", "copy", "neg", "mul", "add", "sub", "div"):
        # Elementwise functions of the variable and of scalars leave its form.
        same = [each for each in op.inputs if graph.shape(each) == shape]
        if len(same) != 1 or any(graph.shape(each) for each in op.inputs if each not in same):
            return shape
        op = graph.producer.get(same[0])
    if op is None or op.name != "broadcast_in_dim":
        return shape
    before = dict(zip(op.equation.params["broadcast_dimensions"], graph.shape(op.inputs[0]), strict=True))
    return tuple(before.get(axis, 1) for axis in range(len(shape)))
