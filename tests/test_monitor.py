"""The monitor of a run reports each cause once, and nothing for healthy runs."""

import dataclasses
import io

import jax.numpy as jnp
import pytest
from rich.console import Console
from test_fit import config as small
from test_metrics_buffer import buffer, info

from hae_jax.config import Config, OptimConfig
from hae_jax.gradients.flow import GradientFlow, LevelFlow
from hae_jax.inference.evaluate import Evaluation
from hae_jax.training import NonFinite, fit
from hae_jax.training.metrics_log import read_lines
from hae_jax.training.monitor import TrainingMonitor

config = small
CONFIG = Config(optim=OptimConfig(warmup=10))


def flow(slope=-0.1, ratio=-0.5, forget=0.7, saturated=0.1, update=2e-3):
    curve = jnp.ones(9)
    numbers = (jnp.float32(x) for x in (1.0, slope, ratio, forget, 5.0, saturated))
    return GradientFlow(
        {"encoder/word/layer_0": LevelFlow(curve, curve, *numbers)}, {}, {"kernel": jnp.float32(update)}
    )


def values(loss=5.0, norm=2.0, binding=0.3):
    return {"loss": loss, "norm": norm, "binding": binding}


def evaluation(gap, loss=2.0):
    texts = ("bleu", "bleu_limit", "rouge1", "rouge2", "rougeL", "exact_match", "exact_limit", "coherence")
    scores = dict.fromkeys(texts, 0.5)
    sizes = {"by_length": {}, "by_position": {}, "documents": 20, "tokens": 99, "examples": ()}
    return Evaluation(loss=loss, perplexity=9.0, token_accuracy=0.3, code_gap=gap, **scores, **sizes)


def causes(alerts):
    return [alert.cause for alert in alerts]


@pytest.mark.parametrize(
    ("cause", "step", "numbers", "probes"),
    [
        ("exploding-recurrence", 20, {}, {"slope": 0.3, "ratio": 2.0}),
        ("forget-gate-closed", 20, {}, {"forget": 0.1, "slope": -0.8}),
        ("clip-too-tight", 20, {"binding": 1.0, "norm": 90.0}, {}),
        ("learning-rate-too-high", 60, {"loss": 9.0}, {"update": 0.2}),
        ("learning-rate-too-low", 400, {}, {"update": 1e-7}),
        ("gates-saturated", 400, {}, {"saturated": 0.9}),
    ],
)
def test_each_cause_is_reported_once(cause, step, numbers, probes):
    monitor = TrainingMonitor(CONFIG)
    assert monitor.train(10, values(), flow()) == []
    assert causes(monitor.train(step, values(**numbers), flow(**probes))) == [cause]
    assert monitor.train(step + 10, values(**numbers), flow(**probes)) == []
    assert TrainingMonitor(CONFIG, [cause]).train(step, values(**numbers), flow(**probes)) == []


@pytest.mark.parametrize(
    ("numbers", "probes"),
    [
        ({"binding": 1.0, "norm": 20.0, "loss": 3.0}, {}),
        ({"loss": 3.0}, {"saturated": 1.0, "forget": 0.05}),
        ({"loss": 2.0}, {"slope": -0.8, "ratio": -9.0, "forget": 0.5}),
        ({"loss": 7.0}, {}),
        ({"loss": float("nan")}, {}),
    ],
)
def test_nothing_is_reported_for_a_healthy_run(numbers, probes):
    monitor = TrainingMonitor(CONFIG)
    assert monitor.train(10, values(), flow(**probes)) == []
    for step in (30, 500):
        assert monitor.train(step, values(**numbers), flow(**probes)) == []


@pytest.mark.parametrize(
    ("gap", "step", "cause"),
    [(0.0, 100, ["code-unwired"]), (1e-4, 600, ["code-ignored"]), (1e-4, 100, []), (0.5, 600, [])],
)
def test_a_code_that_is_not_read_shows_in_the_gap(gap, step, cause):
    monitor = TrainingMonitor(CONFIG)
    monitor.train(10, values(), flow())
    assert causes(monitor.evaluation(step, evaluation(gap))) == cause


@pytest.mark.parametrize(
    ("probes", "cause"),
    [
        ({"slope": 0.25, "ratio": 0.4}, "exploding-recurrence"), ({"update": 0.3}, "learning-rate-too-high"),
        ({}, "not-finite"),
    ],
)  # fmt: skip
def test_a_step_that_is_not_finite_names_level_leaf_and_cause(probes, cause):
    monitor = TrainingMonitor(CONFIG)
    monitor.train(10, values(), flow(**probes))
    (alert,) = monitor.on_nonfinite("encoder/word/layer_0/recurrent")
    assert alert.cause == cause
    assert "gradient encoder/word/layer_0/recurrent, level encoder/word" in alert.message
    assert monitor.on_nonfinite("encoder/word/layer_0/recurrent") == []


def test_a_window_keeps_the_last_statistics_and_the_first_nonfinite_gradient():
    metrics = buffer()
    for at in range(3):
        metrics.add(info(finite=at == 0, first_nonfinite=at - 1)._replace(statistics=jnp.float32(at)))
    metrics.summarize()
    assert float(metrics.statistics) == 2
    assert (metrics.nonfinite, metrics.first_nonfinite) == (True, "encoder/word/bias")
    metrics.add(info())
    metrics.summarize()
    assert (metrics.nonfinite, metrics.first_nonfinite) == (False, None)


class Printed(Exception):
    """The expected text was printed."""


class Paper(io.StringIO):
    """Ends a run as soon as it prints a text."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def write(self, text):
        super().write(text)
        if self.wanted in text:
            raise Printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optim", "cause", "end"),
    [
        ({"clip_norm": 1e-6}, "clip-too-tight", Printed),
        ({"learning_rate": 1e30, "clip": "none"}, "learning-rate-too-high", NonFinite),
    ],
)
def test_a_run_reports_on_the_console_and_in_the_log_why_it_fails(config, tmp_path, optim, cause, end):
    paper = Paper("clip-too-tight")
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, **optim))
    with pytest.raises(end):
        fit(config, tmp_path / "run", Console(file=paper, width=100), TrainingMonitor)
    lines = [line for line in read_lines(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "doctor"]
    assert cause in [line["cause"] for line in lines]
    assert f": {cause} (" in paper.getvalue()
    assert lines[0]["step"] % config.train.log_every == 0 or lines[0]["step"] % config.train.save_every == 0
