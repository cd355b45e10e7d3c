"""The benchmark of the doctor: its grammar of models, its proof of health without the doctor, and how it counts."""

from dataclasses import fields as attributes
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from benchmarks.doctor import accuracy, proof
from benchmarks.doctor.models import tasks
from benchmarks.doctor.models.diseases import ACCEPTED, possible, sick_twin
from benchmarks.doctor.models.grammar import CHOICES, KINDS, USUAL, draw
from benchmarks.doctor.models.layers import equinox, plain
from benchmarks.doctor.models.losses import constant, cross_entropy, errors, output_shape, score
from benchmarks.doctor.models.sequences import PAD
from benchmarks.doctor.patient import pack, patient, unpack
from benchmarks.harness.record import slug, write
from hae_jax.doctor.rules import RULES

SEEDS = range(150)


def test_every_choice_of_the_grammar_is_drawn_and_seeds_repeat():
    drawn = [draw(kind, seed) for kind in KINDS for seed in SEEDS]
    for name, values in USUAL.items():
        if name not in ("shape", "error", "task", "length"):
            assert set(values) <= {getattr(v, name) for v in drawn}, name
    assert {v.shape for v in drawn} == {"", "1", "time", "time 1", "wide", "time wide"}
    assert {v.error for v in drawn} == {"ids", "one-hot", "binary", "square", "absolute", "huber"}
    assert {v.task for v in drawn} >= {task for each in CHOICES.values() for task in each.get("task", ())}
    assert drawn == [draw(kind, seed) for kind in KINDS for seed in SEEDS]
    assert len(set(drawn)) == len(drawn)


def test_half_of_the_variants_are_held_out_with_their_twins():
    drawn = [draw(kind, seed) for kind in KINDS for seed in SEEDS]
    assert 0.45 < np.mean([v.held_out for v in drawn]) < 0.55
    for v in drawn[::7]:
        twin = sick_twin(v)
        assert twin.held_out == v.held_out
        assert {each.name for each in attributes(v) if getattr(v, each.name) != getattr(twin, each.name)} <= {
            "disease",
            "severity",
        }
        assert twin.disease in possible(v)


def test_diseases_are_causes_that_the_doctor_knows_and_all_that_can_be_injected_are():
    causes = {rule.cause for rule in RULES}
    made = {disease for kind in KINDS for seed in SEEDS for disease in possible(draw(kind, seed))}
    known = causes | {disease for disease in ACCEPTED if set(ACCEPTED[disease]) & causes}
    assert made <= known
    assert {sick_twin(draw(kind, seed)).disease for kind in KINDS for seed in range(300)} == made


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_reads_from_a_users_batch_what_was_put_into_it(kind):
    for seed in range(40):
        v = draw(kind, seed)
        batch = {name: each[: v.batch] for name, each in tasks.fields(v).items()}
        read = unpack(v, pack(v, batch))
        expected = set(batch) - ({"real"} if v.real == "all" else set())
        assert set(read) == expected, v
        for name in expected:
            np.testing.assert_array_equal(read[name], batch[name], err_msg=f"{name} of {v}")


def test_targets_of_texts_are_the_inputs_reversed_sorted_or_enciphered():
    for seed in range(60):
        v = draw("seq2seq", seed)
        made = tasks.fields(v)
        for x, y in zip(made["x"][:20].tolist(), made["y"][:20].tolist(), strict=True):
            x, y = ([each for each in row if each != PAD] for row in (x, y))
            wanted = {"copy": list, "reverse": lambda ids: ids[::-1], "sort": sorted}.get(v.task)
            assert len(x) == len(y)
            assert y == wanted(x) if wanted else len(set(zip(x, y, strict=True))) == len(set(x)) == len(set(y))


def test_all_formulas_of_a_cross_entropy_agree_with_scipy():
    rng = np.random.default_rng(0)
    logits, ids = rng.normal(size=(5, 4, 6)).astype(np.float32), rng.integers(0, 6, (5, 4))
    wanted = -np.take_along_axis(scipy.special.log_softmax(logits, -1), ids[..., None], -1)[..., 0]
    v = replace(draw("language model", 0), error="ids")
    for formula in range(4):
        np.testing.assert_allclose(cross_entropy(replace(v, formula=formula), logits, ids), wanted, rtol=1e-5)
        rows = np.eye(6, dtype=np.float32)[ids]
        one_hot = replace(v, formula=formula, error="one-hot")
        np.testing.assert_allclose(cross_entropy(one_hot, logits, rows), wanted, rtol=1e-5)


def test_predictions_meet_labels_in_their_shape_unless_that_is_the_disease():
    rng = np.random.default_rng(1)
    output = rng.normal(size=(6, 1)).astype(np.float32)
    v = replace(draw("regressor", 0), task="whole", shape="", error="square")
    target = rng.normal(size=6).astype(np.float32)
    np.testing.assert_allclose(errors(v, output, target), (output[:, 0] - target) ** 2, rtol=1e-5)
    assert errors(replace(v, disease="targets-broadcast"), output, target).shape == (6, 6)
    assert errors(replace(v, shape="1"), output, target[:, None]).shape == (6, 1)


def entropy(shares):
    return -(shares * np.log(shares)).sum()


BASELINES = {
    "square": lambda y: y.var(),
    "absolute": lambda y: np.abs(y - np.median(y)).mean(),
    "huber": lambda y: min(scipy.special.huber(1, y - at).mean() for at in np.linspace(y.min(), y.max(), 500)),
    "ids": lambda y: entropy(np.unique(y, return_counts=True)[1] / y.size),
    "binary": lambda y: entropy(np.array([y.mean(), 1 - y.mean()])),
}


@pytest.mark.parametrize("error", BASELINES)
def test_the_baseline_is_the_loss_of_the_best_constant(error):
    kind = "regressor" if error in ("square", "absolute", "huber") else "classifier"
    drawn = (draw(kind, seed) for seed in range(400))
    v = next(v for v in drawn if (v.error, v.task, v.shape, v.real) == (error, "tags", "time", "lengths"))
    v = replace(v, weighted=False, extra=False)
    made = tasks.fields(v)
    best = np.broadcast_to(constant(v, made), output_shape(v, made["y"]))
    loss = float(score(v, {"output": jnp.asarray(best)}, made))
    assert loss == pytest.approx(BASELINES[error](made["y"][made["real"]]), rel=1e-3)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_layers_keep_their_state_where_a_step_is_not_real(cell):
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.float32)
    real = jnp.arange(5) < jnp.array([[3], [5]])
    v = replace(draw("classifier", 0), cell=cell, units=4)
    kits = [plain.Layers(replace(v, loop=loop), {}) for loop in ("scan", "map", "unrolled")]
    for number, layers in enumerate((*kits, equinox.Layers(v, {}))):
        reverse = number % 2 == 1
        state, outputs = layers.recur("r", x, None, real, reverse)
        short, _ = layers.recur("r", x[:1, :3], None, None, reverse)
        np.testing.assert_allclose(state[-1][0], short[-1][0], atol=1e-6)
        assert outputs.shape == (2, 5, 4)


def test_health_is_proved_by_learning_and_a_model_that_does_not_learn_is_not_counted(tmp_path, monkeypatch):
    drawn = (draw("regressor", seed) for seed in range(400))
    v = next(v for v in drawn if (v.library, v.loop, v.layers, v.data, v.speed) == ("plain", "scan", 1, "letters", 1))
    v = replace(v, optimizer="adam", schedule="constant", bidirectional=False, convolution=False)
    healthy = proof.prove(patient(v))
    frozen = proof.prove(patient(replace(v, disease="learning-rate-too-low", severity=1.0)))
    assert healthy.learns
    assert healthy.last < 0.9 * healthy.baseline
    assert not frozen.learns
    assert proof.is_sick(frozen, healthy)
    assert not proof.is_sick(healthy, healthy)
    monkeypatch.setattr(accuracy, "prove", lambda patient: frozen)
    monkeypatch.setattr(accuracy, "examine", lambda setup: pytest.fail("it was examined"))
    assert [set(result) for result in accuracy.pair(v, tmp_path)] == [{"name", "kind", "disease", "proof"}]


def test_cells_hold_every_model_once_and_any_beginning_has_all_kinds():
    cells = [cell for cell in accuracy.cells(quick=False) if cell.config["group"] == "models"]
    drawn = [(cell.config["kind"], seed) for cell in cells for seed in cell.seeds]
    assert len(set(drawn)) == len(drawn) >= 600
    for cell in cells[:: len(KINDS) + 1]:
        assert all(
            draw(cell.config["kind"], seed).held_out == (cell.config["half"] == "held out") for seed in cell.seeds
        )
    assert {cell.config["kind"] for cell in cells[: len(KINDS)]} == set(KINDS)
    loaded = [cell for cell in accuracy.cells(quick=False) if cell.config["group"] == "load"]
    assert [cell.config["kind"] for cell in loaded] == list(KINDS)


def result(name, disease, causes, kind="forecaster", **more):
    return {
        "name": name, "kind": kind, "disease": disease, "causes": causes, "reported": kind, "kinds": [kind],
        "verdict": "findings" if causes else "healthy", "unsettled": [], "steps": 200, "seconds": 3.0, **more,
    }  # fmt: skip


def group(name, half, *results):
    config = {"group": "models", "kind": "forecaster", "half": half}
    return {"cell": name, "config": config, "numbers": {"results": list(results)}}


def test_the_tables_count_held_out_models_that_learn_and_verdicts_under_load():
    unproved = {"name": "d", "kind": "forecaster", "disease": "healthy", "proof": []}
    held = group(
        "a", "held out", result("a", "healthy", []), result("b", "target-leak", ["target-leak"]),
        result("c", "code-unwired", ["target-leak"]), unproved,
    )  # fmt: skip
    tuned = group("b", "tuning", result("e", "healthy", ["code-unwired"]))
    loaded = {"cell": "c", "config": {"group": "load"}, "numbers": {"alone": [["healthy"], ["unknown"]]}}
    loaded["numbers"]["beside"] = [["healthy"], ["findings", "target-leak"]]
    text = accuracy.render([held, tuned, loaded])
    assert "| 2 sick, held out | right cause first | 1/2" in text
    assert "| 1 healthy, held out | false alarm | 0/1" in text
    assert "| 1 healthy, tuning | false alarm, tuning half | 1/1" in text
    assert "| 2 healthy, both halves | disturbed | 1/2" in text
    assert "| 3 drawn | do not learn, and are not counted | 1 |" in text
    assert "| same verdict | 1/2" in text
    assert "| forecaster | 0/1 (0-79 %) | 1/2" in accuracy.render_kinds([held, tuned])
    assert "| `code-unwired` | 0/1 (0-79 %) | target-leak (1) |" in accuracy.render_causes([held])


def test_processes_are_busy_only_as_long_as_they_are_needed():
    with accuracy.busy_processes() as busy:
        assert len(busy) == accuracy.BUSY
        assert all(process.poll() is None for process in busy)
    assert all(process.poll() is not None for process in busy)


def test_verdicts_can_be_recomputed_from_stored_evidence(tmp_path):
    path = tmp_path / f"doctor-{slug()}.json"
    write(
        path, group("forecaster | tuning | 0", "tuning", result("forecaster | 3 | state-swapped", "state-swapped", []))
    )
    folder = tmp_path / "work" / path.stem / "forecaster---tuning---0"
    folder.mkdir(parents=True)
    accuracy.kept_at(folder, "forecaster | 3 | state-swapped").write_text('{"evidence": {"state_swapped": true}}')
    assert accuracy.rejudge(tmp_path, tmp_path / "work") == 1
    assert "| 1 sick, tuning | right cause first, tuning half | 1/1" in accuracy.render(accuracy.read(path))
    assert accuracy.rejudge(tmp_path, tmp_path / "work") == 0
