"""Classifiers of sequences."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm

UNITS, CLASSES, FEATURES = 16, 4, 3


def motions(count: int = 24, batch: int = 12, time: int = 14, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns batches of noisy series, `[batch, time, features]`, and their classes: which frequency they have."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, count * batch)
    phase = rng.uniform(0, 6.3, (len(label), 1, FEATURES))
    x = np.sin((0.3 + 0.35 * label[:, None, None]) * np.arange(time)[:, None] + phase)
    x += 0.2 * rng.normal(size=x.shape)
    return list(zip(np.split(x.astype(np.float32), count), np.split(label, count), strict=True))


def names(count: int = 24, batch: int = 16, time: int = 9, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns batches of words over an alphabet of 20 letters, and the language, each with letters of its own."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, count * batch)
    own = rng.dirichlet(np.full(20, 0.5), CLASSES)
    ids = np.stack([rng.choice(20, time, p=own[each]) for each in label]).astype(np.int32)
    return list(zip(np.split(ids, count), np.split(label, count), strict=True))


class Classifier(nn.Module):
    """A recurrence whose last output is classified; with `swapped`, it runs along the batch."""

    outputs: int = CLASSES
    swapped: bool = False
    words: int = 0

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Embed(self.words, UNITS)(x) if self.words else x
        y: Any = nn.RNN(nn.GRUCell(UNITS), time_major=self.swapped)(x)
        return nn.Dense(self.outputs)(y[:, -1])


def trained(model: nn.Module, batches: Any, loss_of: Any, optimizer: Any = None) -> dict[str, Any]:
    """Returns the setup of a Flax module, given the loss of its outputs and the labels."""
    params = jax.jit(model.init)(jax.random.key(1), batches[0][0])

    def loss(params: Any, pair: Any) -> Any:
        return loss_of(model.apply(params, pair[0]), pair[1])

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optimizer or optax.adam(1e-2)}


def mean_nll(logits: Any, labels: Any) -> Any:
    """Returns the mean negative log-likelihood of the labels."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def video_42(faulty: bool) -> dict[str, Any]:
    return trained(Classifier(swapped=faulty), motions(), mean_nll)


def keras_1261(faulty: bool) -> dict[str, Any]:
    def error(outputs: Any, labels: Any) -> Any:
        shares = jax.nn.softmax(outputs)
        # A softmax of a single output is 1.
        goal = labels[:, None] if faulty else jax.nn.one_hot(labels, CLASSES)
        return jnp.square(shares - goal).mean()

    return trained(Classifier(outputs=1 if faulty else CLASSES, words=20), names(), error)


def pytorch_2623(faulty: bool) -> dict[str, Any]:
    def nll(outputs: Any, labels: Any) -> Any:
        shares = jax.nn.softmax(outputs) if faulty else jax.nn.log_softmax(outputs)
        return -jnp.take_along_axis(shares, labels[:, None], 1).mean()

    return trained(Classifier(words=20), names(seed=1), nll)


def keras_2172(faulty: bool) -> dict[str, Any]:
    def entropy(outputs: Any, labels: Any) -> Any:
        if faulty:
            share = jnp.clip(jax.nn.sigmoid(outputs[:, 0]), 1e-7, 1 - 1e-7)
            return -(labels * jnp.log(share) + (1 - labels) * jnp.log(1 - share)).mean()
        return mean_nll(outputs, labels)

    return trained(Classifier(outputs=1 if faulty else CLASSES), motions(seed=2), entropy)


def keras_14490(faulty: bool) -> dict[str, Any]:
    def entropy(outputs: Any, labels: Any) -> Any:
        share = outputs[:, 0] if faulty else jnp.clip(jax.nn.sigmoid(outputs[:, 0]), 1e-7, 1 - 1e-7)
        positive = labels > 1
        return -jnp.where(positive, jnp.log(share), jnp.log(1 - share)).mean()

    return trained(Classifier(outputs=1), motions(seed=3), entropy)


def pytorch_tutorial_149(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    ids = rng.integers(0, 20, (24 * 16, 40)).astype(np.int32)
    batches = [(part, part[:, 0] % CLASSES) for part in np.split(ids, 24)]
    params = {
        "table": jnp.asarray(rng.normal(size=(20, UNITS)), jnp.float32),
        "forward": lstm(rng, UNITS, UNITS), "backward": lstm(rng, UNITS, UNITS), "out": dense(rng, 2 * UNITS, CLASSES),
    }  # fmt: skip

    def loss(params: Any, pair: Any) -> Any:
        x = params["table"][pair[0]]
        _, ahead = run_lstm(params["forward"], x)
        _, back = run_lstm(params["backward"], x, reverse=True)
        # At the last position the backward direction has read a single step.
        both = jnp.concatenate([ahead[:, -1], back[:, -1 if faulty else 0]], -1)
        return mean_nll(affine(params["out"], both), pair[1])

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def gensim_1900(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    ids = rng.choice(12, (24 * 16, 10), p=[0.1, *[0.9 / 11] * 11])
    lengths = rng.integers(5, 11, len(ids))
    inside = np.arange(10) < lengths[:, None]
    label = ((ids == 0) & inside).any(1).astype(np.int32)
    # Padding is 0, and so is the most frequent word unless all words are moved up by one.
    ids = np.where(inside, ids + (0 if faulty else 1), 0).astype(np.int32)
    params = {
        "table": jnp.asarray(rng.normal(size=(13, UNITS)), jnp.float32),
        "cell": lstm(rng, UNITS, UNITS), "out": dense(rng, UNITS, 2),
    }  # fmt: skip

    def loss(params: Any, pair: Any) -> Any:
        words, labels = pair
        (_, last), _ = run_lstm(params["cell"], params["table"][words], real=words != 0)
        return mean_nll(affine(params["out"], last), labels)

    batches = list(zip(np.split(ids, 24), np.split(label, 24), strict=True))
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def flax_3982(faulty: bool) -> dict[str, Any]:
    made = trained(Classifier(), motions(seed=6), mean_nll)
    first, loss = made["params"], made["loss"]
    # The evaluation uses the parameters of the outer scope, which are those before training.
    return made | {"evaluate": (lambda params, pair: loss(first, pair)) if faulty else loss}


def lstm_fcn_4(faulty: bool) -> dict[str, Any]:
    batches = [(x.reshape(len(x), 1, -1), label) for x, label in motions(seed=7)]
    rng = np.random.default_rng(7)
    params = {"cell": lstm(rng, batches[0][0].shape[-1], UNITS), "out": dense(rng, UNITS, CLASSES)}

    def loss(params: Any, pair: Any) -> Any:
        # The whole series is the only step.
        (_, last), _ = run_lstm(params["cell"], pair[0])
        return mean_nll(affine(params["out"], last), pair[1])

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


KIND = "classifier"
CASES = (
    Case("HHTseng/video-classification#42", KIND, "axes-swapped",
         "the recurrent part adds nothing to the classification of videos", video_42, 0.5),
    Case("keras-team/keras#1261", KIND, "softmax-of-one",
         "every prediction is exactly 1, for six classes", keras_1261, 0.1),
    Case("pytorch/pytorch#2623", KIND, "log-missing",
         "the loss becomes negative; it seems to be the fault of clipped gradients", pytorch_2623, 0.6),
    Case("keras-team/keras#2172", KIND, "labels-out-of-range",
         "the accuracy is always 1 and the loss falls far below 0", keras_2172, 0.5),
    Case("keras-team/keras#14490", KIND, "probability-unbounded",
         "the loss is NaN from the first epoch", keras_14490, 0.4),
    Case("yunjey/pytorch-tutorial#149", KIND, "last-state-wrong",
         "what is read of the backward direction has seen the last step only", pytorch_tutorial_149, 0.5),
    Case("piskvorky/gensim#1900", KIND, "mask-hides-data",
         "with masking, the most frequent word of the vocabulary is not seen", gensim_1900, 0.2),
    Case("google/flax#3982", KIND, "evaluation-stale",
         "metrics of the test set show that nothing was learned", flax_3982, 0.5, pull=True),
    Case("titu1994/LSTM-FCN#4", KIND, HEALTHY,
         "the LSTM has only one time step, which seems to make it useless", lstm_fcn_4, 0.8),
)  # fmt: skip
