"""Repairs: what they change and what not, and that an improvement is measured if there is one and only then."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hae_jax.config import Config, differences
from hae_jax.diagnosis.config_fixes import CONFIG_FIXES, fix_config
from hae_jax.doctor import TrainingSetup, repair
from hae_jax.doctor.fixes import FIXES, fix_setup
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.repair import compare, tune_rate
from hae_jax.doctor.rules import RULES

EVIDENCE = {
    "loss_tenfold": 1.0, "loss_faster": 0.5, "faster": 1000.0, "gradient_norm": 3.0, "recurrence_steps": 70,
    "decay_share": 0.9, "reduction": 96.0,
}  # fmt: skip
SERIES = np.random.default_rng(0).normal(size=(6, 8, 5, 3)).astype(np.float32)


def squares(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["x"].sum(-1)) ** 2)


def setup_of(rate=0.1, **change):
    batches = [{"x": x, "row": np.arange(8) + 8 * at} for at, x in enumerate(SERIES)]
    params = {"w": jnp.zeros(3), "square": jnp.full((4, 4), 40.0).at[0].set(-40)}
    return TrainingSetup(squares, params, batches, optax.sgd(rate), **change)


def twins(cause, setup=None, evidence=EVIDENCE):
    normalized = normalize(setup or setup_of())
    return fix_setup(normalized, read_fields(normalized), cause, evidence)


@pytest.mark.parametrize(
    ("cause", "rate", "healed"),
    [
        ("learning-rate-too-high", 3.0, True),
        ("learning-rate-too-low", 1e-6, True),
        ("learning-rate-too-high", 0.1, False),
    ],
)
def test_a_repair_is_healed_if_it_reduces_the_loss_further(cause, rate, healed):
    result = compare(cause, twins(cause, setup_of(rate)), EVIDENCE)
    assert result.healed == healed, str(result)
    assert set(result.losses) == {"sick", "repaired"}
    assert result.losses["sick"][0] == pytest.approx(result.losses["repaired"][0])
    assert ("no better" not in str(result)) == healed
    assert (result.left["repaired"] < result.left["sick"] - 0.05) == healed


@pytest.mark.parametrize(("rate", "best"), [(1e-5, 81), (0.3, 1), (30.0, 1 / 27)])
def test_the_learning_rate_of_a_new_optimizer_is_tuned(rate, best):
    """Gradient descent on squares, whose best learning rate is near a third."""
    found, curve = tune_rate(ShortTraining(normalize(setup_of(rate))))
    assert 0.3 < found / best < 3.5
    assert curve.finite
    assert len(curve.loss) == STEPS


def test_the_learning_rate_is_tuned_if_the_optimizer_is_new():
    assert twins("clip-too-tight").tune_rate
    assert not twins("gates-saturated").tune_rate
    result = compare("clip-too-tight", twins("clip-too-tight"), EVIDENCE)
    assert result.rate > 1
    assert f"learning rate tuned by a factor of {result.rate:.3g}" in str(result)
    assert len(result.losses["repaired"]) == len(result.losses["sick"]) == STEPS


def test_faults_of_the_program_are_not_repaired():
    assert twins("target-leak") is None
    assert twins("over-regularised", evidence={"decay_share": 0.0}) is None


def test_shuffling_keeps_fields_together_and_loses_no_example():
    made = twins("data-not-shuffled")
    rows = np.concatenate([batch["row"] for batch in made.repaired.batches])
    assert sorted(rows) == list(range(48))
    assert list(rows) != sorted(rows)
    for batch in made.repaired.batches:
        np.testing.assert_array_equal(batch["x"], SERIES.reshape(-1, 5, 3)[batch["row"]])


def test_standardizing_gives_mean_0_and_variance_1_and_copies_the_batches():
    setup = setup_of()
    setup = replace(setup, batches=[batch | {"x": 7 * batch["x"] + 900} for batch in setup.batches])
    made = twins("inputs-unscaled", setup)
    numbers = np.stack([batch["x"] for batch in made.repaired.batches])
    np.testing.assert_allclose(numbers.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(numbers.std((0, 1, 2)), 1, atol=1e-3)
    assert made.original.batches[0]["x"].mean() > 800


def test_empty_rows_are_replaced():
    ids = np.tile(np.arange(1, 6), (8, 1))
    ids[:, 3:] = 0
    ids[2:4] = 0
    ids[1] += 1
    ids[1, 3:] = 0
    setup = TrainingSetup(lambda p, b: (b["words"] * p).mean(), jnp.zeros(()), [{"words": ids}], optax.sgd(1.0), pad=0)
    words = twins("masked-nan", setup).repaired.batches[0]["words"]
    assert (words != 0).any(1).all()
    np.testing.assert_array_equal(words, ids[[0, 1, 1, 1, 4, 5, 6, 7]])


def test_blank_sentences_of_documents_are_replaced():
    ids = np.arange(1, 9)[:, None, None] * np.ones((8, 3, 5), int)
    full = ids.copy()
    ids[:, 1:] = 0
    setup = TrainingSetup(lambda p, b: (b["words"] * p).mean(), jnp.zeros(()), [{"words": ids}], optax.sgd(1.0), pad=0)
    words = twins("masked-nan", setup).repaired.batches[0]["words"]
    np.testing.assert_array_equal(words, full)


def test_large_matrices_are_scaled_down_and_a_summed_loss_is_divided():
    assert float(jnp.std(twins("gates-saturated").repaired.params["square"])) == pytest.approx(4**-0.5)
    made = twins("loss-reduction")
    batch, params = made.original.batches[0], made.original.params
    assert 96 * float(made.repaired.loss(params, batch, None)) == pytest.approx(float(squares(params, batch)))


def test_repairs_are_of_causes_that_exist():
    assert (set(FIXES) | set(CONFIG_FIXES)) <= {rule.cause for rule in RULES}


@pytest.mark.parametrize("cause", CONFIG_FIXES)
def test_a_fixed_config_is_valid_and_its_changes_are_described(cause):
    config = Config()
    faulty = replace(
        config,
        model=replace(
            config.model, initializer="normal", conditioning="initial_state", dtype="bfloat16", input_dropout=0.9,
            forget_bias=-4.0, layer_norm="cell",
        ),
        optim=replace(config.optim, weight_decay=2.0),
    )  # fmt: skip
    fixed, description = fix_config(faulty, cause, EVIDENCE)
    names = differences(faulty, fixed)
    assert names
    assert all(name in description for name in names)
    assert Config.from_json(fixed.to_json()) == fixed


def test_a_config_without_the_fault_is_not_changed():
    assert fix_config(Config(), "low-precision", {}) is None
    assert fix_config(Config(), "target-leak", {}) is None


def test_a_setup_that_does_not_work_is_reported_without_a_repair():
    report = repair({"loss": lambda p, b: 1 / 0, "params": jnp.ones(3), "batches": [np.ones((4, 3), np.float32)]})
    assert report.repair is None
    assert report.findings[0].cause == "loss-fails"
