"""Faults of the program that any model can have: what the loss compares, its sign, and where its gradient ends."""

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.rules.rule import Rule


def targets_broadcast(e: Evidence) -> float | None:
    return 0.97 if e["broadcast"] else None


def labels_out_of_range(e: Evidence) -> float | None:
    return 0.97 if e["labels_beyond"] > 0 else None


def softmax_of_one(e: Evidence) -> float | None:
    return 0.97 if e["softmax_of_one"] else None


def ids_out_of_range(e: Evidence) -> float | None:
    return 0.96 if e["ids_beyond"] > 0 else None


def log_missing(e: Evidence) -> float | None:
    return 0.94 if e["log_missing"] else None


def softmax_axis(e: Evidence) -> float | None:
    return 0.96 if e["softmax_over_batch"] and e["mixed_share"] > 0.2 else None


def weights_zero(e: Evidence) -> float | None:
    stuck = e["output_spread"] == 0 or e["no_gradient_share"] > 0.3
    return 0.94 if e["constant_kernels"] and stuck else None


def state_random(e: Evidence) -> float | None:
    return 0.93 if e["random_states"] else None


def log_of_zero(e: Evidence) -> float | None:
    return 0.92 if e["first_broken"] == "log" and e["broken_argument"] == 0 else None


def probability_unbounded(e: Evidence) -> float | None:
    return 0.93 if e["first_broken"] == "log" and e["broken_argument"] < 0 else None


def exponential_overflow(e: Evidence) -> float | None:
    if e["first_broken"] == "exp":
        return 0.92
    # If smaller steps help, the weights were at fault that the exponential was computed of.
    smaller = min(e["loss_tenth"], e["loss_slower"]) < e["loss_standing"]
    return 0.85 if e.get("broken_in_training") == "exp" and not smaller else None


def loss_negated(e: Evidence) -> float | None:
    return 0.95 if e["loss_direction"] < -0.5 else None


def data_not_finite(e: Evidence) -> float | None:
    return 0.96 if e["fields_not_finite"] and e["broken_batches"] else None


def no_gradient(e: Evidence) -> float | None:
    return 0.95 if e["no_gradient_share"] == 1 and abs(e["loss_first"]) > 1e-6 and not e["broken_batches"] else None


PROGRAM = (
    Rule(
        "targets-broadcast", 0, targets_broadcast, ("broadcast", "loss_start"),
        "the loss stops at the variance of the targets, and every prediction is their mean",
        "give predictions and targets the same shape, as predictions[:, 0] or targets[:, None]",
        "predictions [n, 1] less targets [n] are an array [n, n]: each prediction is compared with all targets",
        {"constant-output": "the best answer to all targets at once is their mean"},
        "https://github.com/pytorch/pytorch/issues/16045",
    ),
    Rule(
        "labels-out-of-range", 0, labels_out_of_range, ("labels_beyond", "label_least", "label_most", "vocabulary"),
        "the loss is NaN, or some classes are never predicted",
        "number the classes from 0, and give the last layer as many outputs as there are classes",
        "labels lie outside of 0 to classes - 1; JAX clips such indices, or fills in NaN, and does not raise an error",
        {"masked-nan": "the labels are at fault, not the arithmetic"},
        "https://github.com/tensorflow/tensorflow/issues/8484",
    ),
    Rule(
        "softmax-of-one", 0, softmax_of_one, ("softmax_of_one", "loss_start"),
        "the loss is 0 or constant, and the prediction is always 1",
        "use a sigmoid for one output, or a softmax of as many outputs as classes; that of attention over the steps",
        "the softmax of a single number is 1, whatever the number",
        {"frozen-parameters": "no parameter has a gradient, since the output is constant"},
        "https://github.com/keras-team/keras/issues/500",
    ),
    Rule(
        "ids-out-of-range", 0, ids_out_of_range, ("ids_beyond",),
        "no error, but rare words are never learned, or the loss is NaN",
        "give the table as many rows as the largest id plus 1: nn.Embed(num_embeddings=vocabulary, ...)",
        "ids are larger than the table has rows; JAX reads the last row instead, or fills in NaN, without an error",
        {"labels-out-of-range": "the inputs are at fault, not the labels"},
        "https://github.com/jax-ml/jax/issues/3774",
    ),
    Rule(
        "log-missing", 0, log_missing, ("log_missing", "loss_start"),
        "the loss is negative and ends near -1, although it should be a likelihood",
        "take the logarithm: optax.softmax_cross_entropy_with_integer_labels(logits, labels)",
        "the loss is the probability of the labels itself, whose gradient vanishes where the model is wrong",
        {"loss-negated": "the loss does fall as predictions improve"},
        "https://github.com/pytorch/pytorch/issues/2623",
    ),
    Rule(
        "softmax-axis", 0, softmax_axis, ("softmax_over_batch", "mixed_share"),
        "outputs of an example depend on the others of its batch, and are useless for one alone",
        "normalize over the axis of the positions that are attended to: jax.nn.softmax(scores, axis=-1)",
        "a softmax is taken along the axis of the examples",
        {"axes-swapped": "recurrences run along time; only the softmax mixes examples"},
        "https://github.com/PetrochukM/PyTorch-NLP/issues/2",
    ),
    Rule(
        "weights-zero", 1, weights_zero, ("constant_kernels", "no_gradient_share", "output_spread"),
        "the output does not depend on the input, and only biases are learned",
        "initialize kernels at random (glorot, orthogonal); zeros are for biases",
        "with kernels of equal numbers all units compute the same, and with zeros no gradient reaches what is before",
        {"frozen-parameters": "no gradient is cut off: it is multiplied by 0"},
        "https://github.com/tianzhi0549/CTPN/issues/62",
    ),
    Rule(
        "state-random", 0, state_random, ("random_states", "evaluation_varies"),
        "the same input has another output at every evaluation, with dropout switched off",
        "start recurrences from zeros, or from a learned state",
        "the initial state of a recurrence is drawn at random in every call",
        {"dropout-wrong": "there is no dropout"},
        "https://github.com/schmidt-ju/crat-pred/issues/8",
    ),
    Rule(
        "log-of-zero", 1, log_of_zero, ("first_broken", "broken_argument", "broken_batches"),
        "the loss is infinite or NaN in batches with unusual values",
        "compute with logarithms: jax.nn.logsumexp, log_softmax; or add a small number before the logarithm",
        "the first result that is not finite is the logarithm of 0, which an exponential far below 1 is rounded to",
        {"learning-rate-too-high": "it occurs before the first step"},
        "https://github.com/keras-team/keras/issues/1061",
    ),
    Rule(
        "probability-unbounded", 1, probability_unbounded, ("first_broken", "broken_argument", "broken_batches"),
        "the loss is NaN from the first step",
        "compute the loss from logits (optax.sigmoid_binary_cross_entropy), or end the model in a sigmoid or softmax",
        "the first result that is not finite is the logarithm of a negative number, which is no probability",
        {"learning-rate-too-high": "it occurs before the first step"},
        "https://github.com/keras-team/keras/issues/14490",
    ),
    Rule(
        "exponential-overflow", 1, exponential_overflow, ("first_broken", "broken_argument", "broken_batches"),
        "the loss is huge or NaN for some data only",
        "bound the argument: jnp.clip(log_variance, -10, 10), or softplus instead of the exponential",
        "the first result that is not finite is the exponential of a large number",
        {"learning-rate-too-high": "it occurs before the first step"},
        "https://github.com/vanderschaarlab/synthcity/issues/331",
    ),
    Rule(
        "loss-negated", 0, loss_negated, ("loss_direction", "loss_start"),
        "the loss falls below 0 without end, while predictions get worse",
        "minimize the error or the negative log-likelihood: change the sign of the loss",
        "the loss decreases if predictions move away from their targets",
        {"learning-rate-too-high": "predictions get worse at any learning rate"},
    ),
    Rule(
        "data-not-finite", 0, data_not_finite, ("fields_not_finite", "broken_batches"),
        "the loss is NaN from the first step, or from some batch on",
        "remove or fill in missing values before training, or mask them with where() before anything is computed",
        "the data hold NaN or infinite numbers, and any result that they enter is NaN",
        {"masked-nan": "the NaN is in the data", "learning-rate-too-high": "it occurs before the first step"},
        "https://stackoverflow.com/questions/52570199",
    ),
    Rule(
        "no-gradient", 1, no_gradient, ("no_gradient_share", "loss_first", "loss_last"),
        "the loss does not change at all",
        "remove stop_gradient, argmax, round and comparisons between the parameters and the loss",
        "the gradient of every parameter was exactly 0 at every step",
        {"learning-rate-too-low": "no learning rate changes anything"},
        "https://datascience.stackexchange.com/questions/57878",
    ),
)  # fmt: skip
