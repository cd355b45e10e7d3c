"""Repairs: what is changed, what stays, and that healing is seen where there is some and only there."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hae_jax.config import Config, differences
from hae_jax.diagnosis.config_fixes import CONFIG_FIXES, fix_config
from hae_jax.doctor import TrainingSetup, repair
from hae_jax.doctor.fixes import FIXES, outside
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.repair import suit, trial
from hae_jax.doctor.rules import RULES

EVIDENCE = {
    "loss_tenfold": 1.0, "loss_faster": 0.5, "faster": 1000.0, "gradient_norm": 3.0, "recurrence_steps": 70,
    "decay_share": 0.9, "reduction": 96.0,
}  # fmt: skip
SERIES = np.random.default_rng(0).normal(size=(6, 8, 5, 3)).astype(np.float32)


def squares(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["x"].sum(-1)) ** 2)


def patient(rate=0.1, **change):
    batches = [{"x": x, "row": np.arange(8) + 8 * at} for at, x in enumerate(SERIES)]
    params = {"w": jnp.zeros(3), "square": jnp.full((4, 4), 40.0).at[0].set(-40)}
    return TrainingSetup(squares, params, batches, optax.sgd(rate), **change)


def twins(cause, given=None):
    case = normalize(given or patient())
    return outside(case, read_fields(case), cause, EVIDENCE)


@pytest.mark.parametrize(
    ("cause", "rate", "healed"),
    [
        ("learning-rate-too-high", 3.0, True),
        ("learning-rate-too-low", 1e-6, True),
        ("learning-rate-too-high", 0.1, False),
    ],
)
def test_healing_is_seen_where_the_twin_learns_what_the_patient_does_not(cause, rate, healed):
    made = trial(cause, twins(cause, patient(rate)), EVIDENCE, 60.0)
    assert made.healed == healed, str(made)
    assert set(made.losses) == {"sick", "repaired"}
    assert made.losses["sick"][0] == pytest.approx(made.losses["repaired"][0])
    assert ("no better" not in str(made)) == healed
    assert (made.left["repaired"] < made.left["sick"] - 0.05) == healed


@pytest.mark.parametrize(("rate", "best"), [(1e-5, 81), (0.3, 1), (30.0, 1 / 27)])
def test_the_rate_of_a_new_optimizer_is_found(rate, best):
    """Of plain descent on squares, whose rate should be near a third."""
    found, course = suit(ShortTraining(normalize(patient(rate))), 60.0)
    assert 0.3 < found / best < 3.5
    assert course.finite
    assert len(course.loss) == STEPS


def test_the_rate_is_looked_for_where_the_optimizer_is_new():
    assert twins("clip-too-tight").tuned
    assert not twins("gates-saturated").tuned
    made = trial("clip-too-tight", twins("clip-too-tight"), EVIDENCE, 60.0)
    assert made.rate > 1
    assert f"the rate times {made.rate:.3g}" in str(made)
    assert len(made.losses["repaired"]) == len(made.losses["sick"]) == STEPS


def test_what_only_the_user_can_change_is_not_tried():
    assert twins("target-leak") is None
    assert (
        outside(*(lambda c: (c, read_fields(c)))(normalize(patient())), "over-regularised", {"decay_share": 0.0})
        is None
    )


def test_shuffling_keeps_fields_together_and_loses_nobody():
    made = twins("data-not-shuffled")
    rows = np.concatenate([batch["row"] for batch in made.repaired.batches])
    assert sorted(rows) == list(range(48))
    assert list(rows) != sorted(rows)
    for batch in made.repaired.batches:
        np.testing.assert_array_equal(batch["x"], SERIES.reshape(-1, 5, 3)[batch["row"]])


def test_scaling_gives_numbers_size_one_and_leaves_the_patients_alone():
    given = patient()
    sick = replace(given, batches=[batch | {"x": 7 * batch["x"] + 900} for batch in given.batches])
    made = twins("inputs-unscaled", sick)
    every = np.stack([batch["x"] for batch in made.repaired.batches])
    np.testing.assert_allclose(every.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(every.std((0, 1, 2)), 1, atol=1e-3)
    assert made.sick.batches[0]["x"].mean() > 800


def test_rows_without_words_give_way_to_others():
    ids = np.tile(np.arange(1, 6), (8, 1))
    ids[:, 3:] = 0
    ids[2:4] = 0
    ids[1] += 1
    ids[1, 3:] = 0
    given = TrainingSetup(lambda p, b: (b["words"] * p).mean(), jnp.zeros(()), [{"words": ids}], optax.sgd(1.0), pad=0)
    words = twins("masked-nan", given).repaired.batches[0]["words"]
    assert (words != 0).any(1).all()
    np.testing.assert_array_equal(words, ids[[0, 1, 1, 1, 4, 5, 6, 7]])


def test_sentences_without_words_give_way_to_others_in_documents_too():
    ids = np.arange(1, 9)[:, None, None] * np.ones((8, 3, 5), int)
    whole = ids.copy()
    ids[:, 1:] = 0
    given = TrainingSetup(lambda p, b: (b["words"] * p).mean(), jnp.zeros(()), [{"words": ids}], optax.sgd(1.0), pad=0)
    words = twins("masked-nan", given).repaired.batches[0]["words"]
    np.testing.assert_array_equal(words, whole)


def test_large_matrices_are_shrunk_and_a_loss_is_divided():
    assert float(jnp.std(twins("gates-saturated").repaired.params["square"])) == pytest.approx(4**-0.5)
    made = twins("loss-reduction")
    batch = made.sick.batches[0]
    params = made.sick.params
    assert 96 * float(made.repaired.loss(params, batch, None)) == pytest.approx(float(squares(params, batch)))


def test_repairs_are_of_causes_that_exist():
    assert (set(FIXES) | set(CONFIG_FIXES)) <= {rule.cause for rule in RULES}


@pytest.mark.parametrize("cause", CONFIG_FIXES)
def test_a_prescription_is_a_valid_config_that_says_what_it_changes(cause):
    config = Config()
    sick = replace(
        config,
        model=replace(
            config.model, initializer="normal", feed="start", dtype="bfloat16", input_dropout=0.9, forget_bias=-4.0,
            layer_norm="cell",
        ),
        optim=replace(config.optim, weight_decay=2.0),
    )  # fmt: skip
    changed, said = fix_config(sick, cause, EVIDENCE)
    names = differences(sick, changed)
    assert names
    assert all(name in said for name in names)
    assert Config.from_json(changed.to_json()) == changed


def test_a_config_that_is_not_at_fault_is_not_changed():
    assert fix_config(Config(), "low-precision", {}) is None
    assert fix_config(Config(), "target-leak", {}) is None


def test_a_patient_that_cannot_run_is_reported_without_a_repair():
    report = repair({"loss": lambda p, b: 1 / 0, "params": jnp.ones(3), "batches": [np.ones((4, 3), np.float32)]})
    assert report.repair is None
    assert report.findings[0].cause == "loss-fails"
