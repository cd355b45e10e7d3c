"""The doctor beside a run speaks up once for each cause, and lets the healthy work."""

import dataclasses
import io

import jax.numpy as jnp
import pytest
from rich.console import Console
from test_fit import config as small
from test_metrics_buffer import info, window

from hae_jax.config import Config, OptimConfig
from hae_jax.gradients.flow import GradientFlow, LevelFlow
from hae_jax.inference.evaluate import Evaluation
from hae_jax.training import NonFinite, fit
from hae_jax.training.metrics_log import read_lines
from hae_jax.training.monitor import TrainingMonitor

config = small
CONFIG = Config(optim=OptimConfig(warmup=10))


def seen(slope=-0.1, ratio=-0.5, forget=0.7, saturated=0.1, update=2e-3):
    curve = jnp.ones(9)
    numbers = (jnp.float32(x) for x in (1.0, slope, ratio, forget, 5.0, saturated))
    return GradientFlow(
        {"encoder/word/layer_0": LevelFlow(curve, curve, *numbers)}, {}, {"kernel": jnp.float32(update)}
    )


def values(loss=5.0, norm=2.0, binding=0.3):
    return {"loss": loss, "norm": norm, "binding": binding}


def evaluation(gap, loss=2.0):
    texts = ("bleu", "bleu_limit", "rouge1", "rouge2", "rougeL", "exact_match", "exact_limit", "coherence")
    scores = dict.fromkeys(texts)
    sizes = {"by_length": {}, "by_position": {}, "documents": 20, "tokens": 99, "examples": ()}
    return Evaluation(loss=loss, perplexity=9.0, token_accuracy=0.3, code_gap=gap, **scores, **sizes)


def causes(remarks):
    return [remark.cause for remark in remarks]


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
def test_each_cause_is_spoken_of_once(cause, step, numbers, probes):
    doctor = TrainingMonitor(CONFIG)
    assert doctor.train(10, values(), seen()) == []
    assert causes(doctor.train(step, values(**numbers), seen(**probes))) == [cause]
    assert doctor.train(step + 10, values(**numbers), seen(**probes)) == []
    assert TrainingMonitor(CONFIG, [cause]).train(step, values(**numbers), seen(**probes)) == []


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
def test_a_run_that_goes_on_well_is_left_alone(numbers, probes):
    doctor = TrainingMonitor(CONFIG)
    assert doctor.train(10, values(), seen(**probes)) == []
    for step in (30, 500):
        assert doctor.train(step, values(**numbers), seen(**probes)) == []


@pytest.mark.parametrize(
    ("gap", "step", "cause"),
    [(0.0, 100, ["code-unwired"]), (1e-4, 600, ["code-ignored"]), (1e-4, 100, []), (0.5, 600, [])],
)
def test_a_code_that_is_not_read_shows_in_the_gap(gap, step, cause):
    doctor = TrainingMonitor(CONFIG)
    doctor.train(10, values(), seen())
    assert causes(doctor.evaluation(step, evaluation(gap))) == cause


@pytest.mark.parametrize(
    ("probes", "cause"),
    [
        ({"slope": 0.25, "ratio": 0.4}, "exploding-recurrence"), ({"update": 0.3}, "learning-rate-too-high"),
        ({}, "not-finite"),
    ],
)  # fmt: skip
def test_a_step_that_is_not_finite_names_level_leaf_and_cause(probes, cause):
    doctor = TrainingMonitor(CONFIG)
    doctor.train(10, values(), seen(**probes))
    (remark,) = doctor.breakdown("encoder/word/layer_0/recurrent")
    assert remark.cause == cause
    assert "gradient encoder/word/layer_0/recurrent, level encoder/word" in remark.words
    assert doctor.breakdown("encoder/word/layer_0/recurrent") == []


def test_a_window_keeps_what_was_seen_last_and_names_the_first_culprit():
    stretch = window()
    for at in range(3):
        stretch.add(info(finite=at == 0, culprit=at - 1)._replace(seen=jnp.float32(at)))
    stretch.close()
    assert float(stretch.seen) == 2
    assert stretch.culprit == ["encoder/word/bias"]
    stretch.add(info())
    stretch.close()
    assert stretch.culprit == []


class Heard(Exception):
    """What was waited for was said."""


class Paper(io.StringIO):
    """Ends a run as soon as it says something."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def write(self, text):
        super().write(text)
        if self.wanted in text:
            raise Heard


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optim", "cause", "end"),
    [
        ({"clip_norm": 1e-6}, "clip-too-tight", Heard),
        ({"learning_rate": 1e30, "clip": "none"}, "learning-rate-too-high", NonFinite),
    ],
)
def test_a_run_says_on_the_screen_and_in_the_journal_why_it_goes_wrong(config, tmp_path, optim, cause, end):
    paper = Paper("clip-too-tight")
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, **optim))
    with pytest.raises(end):
        fit(config, tmp_path / "run", Console(file=paper, width=100), TrainingMonitor)
    said = [line for line in read_lines(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "doctor"]
    assert cause in [line["cause"] for line in said]
    assert f": {cause} (" in paper.getvalue()
    assert said[0]["step"] % config.train.log_every == 0 or said[0]["step"] % config.train.save_every == 0
