"""Models of public threads get the right cause, healthy ones none, and setups that do not work a clear report."""

import contextlib
import io
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.doctor.models.seq2seq import Seq2Seq, text, trained_on_text
from benchmarks.doctor.models.threads import HEALTHY, THREADS
from hae_jax.doctor import TrainingSetup, examine

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = ("neubig/nn4nlp-code#13",)
"""Threads that are settled before the first step, for a quick run."""


def check(name):
    cause, setup = THREADS[name]
    report = examine(setup())
    assert [each.cause for each in report.findings][:1] == [cause], str(report)
    assert not report.healthy


@pytest.mark.parametrize("name", QUICK)
def test_the_cause_is_found(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(THREADS) - set(QUICK)))
def test_the_cause_of_every_thread_is_found(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_in_healthy_models(name):
    report = examine(HEALTHY[name]())
    assert report.findings == [], str(report)
    assert report.healthy
    assert report.steps > 0


def test_the_example_of_the_readme_prints_its_report():
    text = (Path(__file__).parents[1] / "hae_jax" / "doctor" / "README.md").read_text(encoding="utf-8")
    (program,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "text"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})
    # Measured values may differ between machines.
    numbers = re.compile(r"\d[\d.]*")
    assert numbers.sub("#", printed.getvalue()) == numbers.sub("#", shown)
    assert shown.splitlines()[0].startswith("target-leak")


def linear(params, batch, key):
    return jnp.mean((batch @ params - 1) ** 2)


ONES = [np.ones((4, 3), np.float32)]


def report_of(**change):
    report = examine({"loss": linear, "params": jnp.ones(3), "batches": ONES, "optimizer": optax.adam(1e-3)} | change)
    assert not report.healthy
    json.dumps(report.to_dict(), allow_nan=False)
    return report


def unreadable(self):
    raise RuntimeError("closed")


@pytest.mark.parametrize(
    ("change", "cause", "message"),
    [
        ({"loss": lambda p, b: 1 / 0}, "loss-fails", "ZeroDivisionError"),
        ({"loss": lambda p, b: b @ p}, "loss-fails", "must be a single number"),
        ({"loss": lambda p, b: (b @ p).sum() / 0 + q}, "loss-fails", "'q' is not defined. Call it by hand"),
        ({"loss": lambda p, b: float((b @ p).sum())}, "loss-fails", "Write it with jax.numpy"),
        ({"loss": lambda p, b: np.exp(b @ p).sum()}, "loss-fails", "Write it with jax.numpy"),
        ({"loss": lambda p, b: p.sum() if p.sum() > 0 else -p.sum()}, "loss-fails", "Write it with jax.numpy"),
        (
            {"loss": lambda p, b: jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, jnp.square(p).sum())},
            "loss-fails",
            "must have a gradient",
        ),
        ({"loss": "cross entropy"}, "loss-fails", "must be a function, got 'cross entropy' (str)"),
        ({"loss": None}, "loss-fails", "setup must have loss"),
        ({"params": None}, "no-parameters", "setup must have params"),
        ({"params": {}}, "no-parameters", "got none"),
        ({"params": {"steps": np.arange(3)}}, "no-parameters", "got none"),
        ({"params": jax.ShapeDtypeStruct((3,), np.float32)}, "no-parameters", "got none"),
        ({"batches": None}, "no-batches", "setup must have batches"),
        ({"batches": iter(())}, "no-batches", "got none"),
        ({"batches": 5}, "no-batches", "arrays of numbers, got none"),
        ({"batches": (1 / 0 for _ in range(3))}, "no-batches", "division by zero"),
        ({"batches": [np.array(["a", "b"])]}, "no-batches", "arrays of numbers, got none"),
        ({"batches": [np.ones((4, 0), int)]}, "no-batches", "got arrays of shape (4, 0)"),
        ({"free_run": 3}, "patient-fails", "free_run must be a function, got 3 (int)"),
        ({"optimizer": "adam"}, "optimizer-fails", "'str' object has no attribute 'init'"),
        ({"optimizer": optax.adam}, "optimizer-fails", "Give one of optax"),
        ({"optimizer": optax.lbfgs()}, "optimizer-fails", "missing 3 required keyword-only arguments"),
        ({"optimizer": optax.masked(optax.sgd(1), {"other": True})}, "optimizer-fails", "must initialize and update"),
    ],
)
def test_what_cannot_be_examined_is_reported_and_not_raised(change, cause, message):
    (finding,) = report_of(**change).findings
    assert finding.cause == cause
    assert message in finding.evidence["message"]
    assert finding.evidence["message"].endswith(finding.repair["change"])


def test_an_object_whose_attributes_raise_is_reported():
    broken = type("Broken", (), {"loss": staticmethod(linear), "params": property(unreadable)})()
    (finding,) = examine(broken).findings
    assert finding.cause == "patient-fails"
    assert "RuntimeError: closed" in finding.evidence["message"]


def test_oddities_that_do_no_harm_are_noted():
    batch = {"x": ONES[0], "text": np.array(list("abcd")), "ids": np.ones((4, 0), int)}
    setup = {"loss": lambda p, b: linear(p, b["x"], None), "params": jnp.ones(3), "batches": [batch] * 2}
    report = examine(setup)
    assert report.steps > 0
    assert set(report.notes) == {
        "batches ended after 2; they are repeated",
        "ids is empty: its shape is (4, 0)",
        "text holds no numbers; the loss always gets the first batch's",
        "no optimizer was given; Adam with learning rate 0.001 is used",
    }


def test_a_loss_that_is_never_finite_is_reported_as_such():
    report = report_of(loss=lambda p, b: jnp.log(-jnp.sum(p**2) * b.sum()))
    assert [each.cause for each in report.findings] == ["not-finite"]


def test_a_loader_that_fails_is_noted():
    def some():
        yield from ONES * 3
        raise OSError("disk")

    report = examine({"loss": linear, "params": jnp.ones(3), "batches": some(), "optimizer": optax.adam(1e-3)})
    assert any("failed after 3 (OSError: disk)" in note for note in report.notes)
    assert report.steps > 0


def test_a_model_whose_recurrence_cannot_be_examined_is_not_reported_as_healthy():
    """A cell called in a loop of Python; and ids outside of the vocabulary, which JAX clips."""

    def loss(params, words):
        h = jnp.zeros((len(words), 8))
        for at in range(6):
            h = jnp.tanh(params["table"][words[:, at]] + h @ params["square"])
        logits = h @ params["table"].T
        return optax.softmax_cross_entropy_with_integer_labels(logits, words[:, 5]).mean()

    rng = np.random.default_rng(0)
    params = {"table": rng.normal(size=(9, 8)).astype(np.float32), "square": np.eye(8, dtype=np.float32)}
    batches = [rng.integers(1, 9, (12, 6)) for _ in range(4)]
    batches[1][0, 0] = 9
    setup = {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2), "vocab": 9}
    report = examine(setup)
    assert not report.healthy
    assert "Python unrolled the loops" in report.not_run["states"]
    assert "ids range from 1 to 9, but the vocabulary has 9; JAX clips them silently" in report.notes


def test_the_report_is_the_json_of_the_schema():
    report = examine(THREADS["neubig/nn4nlp-code#13"][1]())
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert {"healthy", "findings", "seconds", "steps"} <= set(found)
    finding = found["findings"][0]
    assert set(finding) == {"cause", "severity", "confidence", "evidence", "repair", "instead_of"}
    assert set(finding["repair"]) == {"change", "why"}
    assert "pass the code to the decoder" in str(report)


def test_a_setup_may_be_an_object_of_the_user():
    class Trainer:
        def __init__(self):
            vars(self).update(trained_on_text(Seq2Seq(passed=False), text(3)))
            self.loss_fn, self.tx = self.loss, self.optimizer
            del self.loss, self.optimizer

    assert examine(Trainer()).findings[0].cause == "code-unwired"


def test_legacy_keys_and_losses_with_auxiliary_output_are_accepted():
    def loss(params, batch, rng):
        noise = jax.random.normal(rng, batch.shape) if rng.shape == (2,) else 1 / 0
        return jnp.mean((batch @ params - noise[:, 0]) ** 2), {"anything": batch}

    report = examine(TrainingSetup(loss, jnp.ones(3), ONES, optax.adam(1e-3)))
    assert report.findings == [] or report.findings[0].cause not in ("loss-fails", "no-batches")
    assert report.steps > 0


def test_a_setup_may_be_given_by_its_parts_and_progress_is_called():
    seen = []
    report = examine(
        loss=linear,
        params=jnp.ones(3),
        batches=ONES * 4,
        optimizer=optax.adam(1e-3),
        progress=lambda name, share: seen.append((name, share)),
    )
    assert report.kind == "unknown"
    assert report.steps == 200
    names, shares = zip(*seen, strict=True)
    assert {"contents", "training", "rates"} <= set(names)
    assert list(shares) == sorted(shares)
    assert 0 == shares[0] < shares[-1] < 1


def test_a_model_of_no_framework_is_refused_on_one_line():
    report = examine(object(), ONES)
    assert report.findings[0].cause == "patient-fails"
    assert "model must be one of Keras, PyTorch" in report.findings[0].evidence["message"]
    assert report.exit_code == 1


def test_repairs_are_in_the_words_of_the_framework():
    """A slug that the framework has no words for keeps those for JAX."""
    from hae_jax.doctor.rules import FRAMEWORK_CHANGES, judge, word_repairs

    findings, _ = judge({"input_read_sd": 50.0, "input_read_mean": 0.0})
    for framework, changes in FRAMEWORK_CHANGES.items():
        (worded,) = word_repairs(findings, framework)
        assert worded.repair["change"] == changes.get("inputs-unscaled", findings[0].repair["change"])
    assert word_repairs(findings, "jax") == findings
