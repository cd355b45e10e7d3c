"""The metrics of a window of steps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hae_jax.training.metrics import MetricsBuffer, NonFinite
from hae_jax.training.step import StepInfo, TrainState

PARAMS = {"encoder": {"word": {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))}}}


def buffer(step=0, skipped=0, total=0, limit=3):
    """A buffer whose clock advances by two seconds whenever it is read."""
    ticks = iter(range(0, 1000, 2))
    state = TrainState(jnp.int32(step), PARAMS, (), jnp.int32(skipped), jnp.int32(total))
    return MetricsBuffer(state, lambda: float(next(ticks)), limit)


def info(loss=1.0, tokens=10.0, finite=True, first_nonfinite=-1, sentence_loss=None):
    loss, sentence_loss = (None if x is None else jnp.float32(x) for x in (loss, sentence_loss))
    return StepInfo(
        loss=loss, sentence_loss=sentence_loss, vector_loss=None, topic_loss=None,
        tokens=jnp.float32(tokens), norm=jnp.float32(0.5), binding=jnp.array(tokens > 10),
        finite=jnp.array(finite), first_nonfinite=jnp.int32(first_nonfinite),
    )  # fmt: skip


def test_losses_are_weighted_by_tokens():
    metrics = buffer()
    metrics.add(info(loss=1.0, tokens=10.0, sentence_loss=2.0))
    metrics.add(info(loss=4.0, tokens=30.0, sentence_loss=6.0))
    values = metrics.summarize()
    assert values["loss"] == pytest.approx(3.25)
    assert values["sentence_loss"] == pytest.approx(5.0)
    assert values["binding"] == 0.5
    assert values["norm"] == 0.5


def test_the_step_that_compiles_is_excluded_from_the_speed():
    metrics = buffer()
    metrics.add(info(tokens=7.0))
    assert math.isnan(metrics.summarize()["words_per_second"])
    metrics.add(info(tokens=11.0))
    metrics.add(info(tokens=13.0))
    assert metrics.summarize()["words_per_second"] == pytest.approx(24 / 2)


class Pending:
    """A loss that is still being computed when the batch of the next step is there."""

    def is_ready(self):
        return False

    def __array__(self, dtype=None, copy=None):
        return np.asarray(1.0, dtype)


def test_a_batch_is_late_if_the_step_before_it_is_already_done():
    metrics = buffer()
    for pending in (True, False, True, True):
        metrics.add(info()._replace(loss=Pending()) if pending else jax.block_until_ready(info()))
    assert metrics.summarize()["late_batches"] == 0.25
    metrics.add(info()._replace(loss=Pending()))
    assert metrics.summarize()["late_batches"] == 0.0


def test_skipped_steps_are_counted_and_excluded_from_the_means():
    metrics = buffer(total=5)
    metrics.add(info(loss=2.0))
    metrics.add(info(loss=np.nan, finite=False, first_nonfinite=0))
    values = metrics.summarize()
    assert (values["loss"], values["skipped"]) == (2.0, 6)


def test_a_window_without_steps_has_no_metrics():
    assert buffer().summarize() is None


def test_a_window_of_skipped_steps_has_no_loss():
    metrics = buffer()
    metrics.add(info(finite=False))
    assert math.isnan(metrics.summarize()["loss"])


def test_training_stops_after_consecutive_skipped_steps():
    metrics = buffer(step=40)
    metrics.add(info())
    for first_nonfinite in (0, 0, 1):
        metrics.add(info(finite=False, first_nonfinite=first_nonfinite))
    with pytest.raises(
        NonFinite, match=r"steps 42 to 44 must be finite.* gradient of encoder/word/kernel is the first"
    ):
        metrics.summarize()


def test_skipped_steps_are_counted_across_lines_and_resumes():
    metrics = buffer(step=40, skipped=1)
    metrics.add(info(finite=False))
    metrics.summarize()
    metrics.add(info(finite=False))
    with pytest.raises(NonFinite, match=r"steps 40 to 42 must be finite, got NaN or infinity in each: every gradient"):
        metrics.summarize()


def test_a_finite_step_starts_the_count_anew():
    metrics = buffer(skipped=2)
    for finite in (True, False, False, True, False):
        metrics.add(info(finite=finite))
    assert metrics.summarize()["skipped"] == 3
