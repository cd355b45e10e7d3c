"""The gradient report of a model: batches put together, theory beside, and on the command line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import batch
from support.model_grid import drawn
from support.trained_run import corpus, trained

from hae_jax.cli import main
from hae_jax.config import ModelConfig
from hae_jax.gradients.differentiate import value_grad_and_flow
from hae_jax.gradients.flow import LevelFlow, gradient_flow
from hae_jax.gradients.mean_field import predict
from hae_jax.gradients.report import GradientReport, average_levels, gradient_report, training_stability
from hae_jax.layers.cell import LSTMWeights

__all__ = ["corpus", "trained"]
SIZES = {"embed_dim": 5, "hidden_dim": 3, "sentence_dim": 7}
LEVELS = ["encoder/word", "encoder/sentence", "sentence_decoder/recurrent", "word_decoder/recurrent"]


def report(**options):
    config = ModelConfig(**SIZES, **options)
    model, params = drawn(config)
    return gradient_report(model, config, params, [batch()], jax.random.key(2)), params


def level(curve, rows, forget):
    """A layer as the probe sees it on one batch."""
    number = jnp.asarray(0.0)
    return LevelFlow(jnp.asarray(curve), jnp.asarray(rows), number, number, number, jnp.asarray(forget), number, number)


def test_levels_are_in_the_order_of_the_forward_pass():
    found, _ = report(layers=2)
    assert [name.split("/layer_")[0] for name in found.levels][::2] == LEVELS
    assert [name[-1] for name in found.levels] == ["0", "1"] * 4
    assert [name.split(" ->")[0] for name in found.crossings] == [
        "word_decoder", "sentence_decoder", "encoder/sentence",
    ]  # fmt: skip


def test_batches_are_averaged_by_the_rows_that_are_so_long():
    one = level([1.0, 2.0, np.nan], [4.0, 1.0, 0.0], 0.5)
    other = level([3.0, 4.0], [2.0, 3.0], 0.7)
    found = average_levels([one, other])
    np.testing.assert_allclose(found.curve, [np.sqrt((4 * 1 + 2 * 9) / 6), np.sqrt((1 * 4 + 3 * 16) / 4)])
    assert found.rows == [6, 4]
    assert found.steps == 2
    np.testing.assert_allclose([found.forget, found.timescale], [0.6, -1 / np.log(0.6)], rtol=1e-6)


def test_theory_is_reported_for_the_layers_it_applies_to():
    found, params = report()
    encoder = ["encoder/word/layer_0", "encoder/sentence/layer_0"]
    assert [name for name, level in found.levels.items() if level.predicted is not None] == encoder
    for level in found.levels.values():
        theirs = (level.predicted, level.stretch, level.median, level.spread)
        assert len({number is None for number in theirs}) == 1
        assert level.predicted is None or (np.isfinite(theirs).all() and level.median < level.stretch)
    layer = params["encoder"]["word"]["layer_0"]
    weights = LSTMWeights(layer["kernel"], None, layer["recurrent"], layer["bias"])
    # Reading backwards, padding comes first; the wider of the two tables.
    words = np.asarray(batch().buckets[1])[:, ::-1]
    words = words[(words > 0).any(1)]
    expected = predict(weights, params["words"]["embedding"][words] * (words > 0)[..., None], jnp.asarray(words > 0))
    np.testing.assert_allclose(found.levels[encoder[0]].predicted, expected.slope, rtol=1e-4)


def test_theory_is_silent_about_stacks_and_attended_states():
    assert not [level for level in report(layers=2)[0].levels.values() if level.predicted is not None]
    levels = report(attention=True)[0].levels
    assert [name for name, level in levels.items() if level.predicted is not None] == ["encoder/word/layer_0"]


def test_crossings_are_those_of_the_way_through_the_code():
    """Sentences decoded from the encoder's own vectors are another way to the word encoder; it must not count."""
    crossings = report()[0].crossings
    assert crossings == pytest.approx(report(sentence_loss=0.0, vector_loss=0.0)[0].crossings, rel=1e-5)
    other = ModelConfig(**SIZES)
    model, params = drawn(other)
    _, flow = value_grad_and_flow(model, other, params, batch(), jax.random.key(2))
    name = "encoder/sentence -> encoder/word"
    assert gradient_flow(flow).crossings[name] > 1.2 * crossings[name]


@pytest.mark.parametrize("options", [{"kind": "flat"}, {"feedback": "word", "attention": True, "layer_norm": "output"}])
def test_every_model_can_be_examined(options):
    found, _ = report(**options)
    assert np.isfinite(found.norm)
    assert all(np.isfinite(level.ratio) for level in found.levels.values())
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_what_is_not_a_number_is_null_in_json():
    short = average_levels([level([1.0], [2.0], 0.5)])
    assert np.isnan(short.slope)
    values = GradientReport(1.0, 1.0, {"encoder/layer_0": short}, {"decoder -> encoder": np.inf}).to_dict()
    assert values["levels"]["encoder/layer_0"]["slope"] is None
    assert values["crossings"]["decoder -> encoder"] is None


def test_no_batch_is_an_error():
    config = ModelConfig(**SIZES)
    model, params = drawn(config)
    with pytest.raises(ValueError, match=r"batches must hold a batch, got none\. Give more text"):
        gradient_report(model, config, params, [], jax.random.key(0))


def test_metrics_give_the_stability_of_training():
    lines = [{"kind": "train", "step": 20 * (k + 1), "norm": 1.0, "binding": 0.5, "skipped": 0} for k in range(30)]
    lines[25] |= {"norm": None, "binding": None}
    for line in lines[25:]:
        line["skipped"] = 20
    lines.insert(3, {"kind": "evaluation", "step": 80, "loss": 1.0})
    found = training_stability(lines)
    np.testing.assert_allclose(found, [0.5 * 29 / 30, 1 / 30, 1 / 30])
    assert training_stability([{"kind": "final", "step": 0}]) is None


@pytest.fixture
def hae(capsys):
    """Runs `hae gradients`; returns the exit code, standard output and standard error."""

    def run(*words):
        capsys.readouterr()
        code = main(["gradients", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_a_fresh_model_is_shown_and_drawn(hae, corpus, tmp_path):
    options = ("--preset", "tiny", "--data.corpus", corpus, "--model.word_gain", "0.9", "--batches", "2")
    code, out, _ = hae(*options, "--png", tmp_path / "g.png")
    assert code == 0
    assert "encoder/word " in out
    assert "word_decoder" in out
    assert out.endswith("g.png\n")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


def test_a_trained_model_is_reported_as_json(hae, trained, tmp_path):
    code, out, _ = hae("--workdir", trained, "--json", "--png", tmp_path / "g.svg")
    assert code == 0
    found = json.loads(out)
    assert set(found) == {"loss", "norm", "levels", "crossings", "training"}
    assert 0 <= found["training"]["binding"] <= 1
    assert "<svg" in (tmp_path / "g.svg").read_text()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--batches", "0"], "batches must be at least 1, got 0. More batches reduce the variance."),
        (
            ["--png", "nowhere/g.png"],
            "png must be a file in a writable folder, got nowhere/g.png.",
        ),
        (["--png", "g.txt"], "png must end in .png, .pdf or .svg, got g.txt. Choose another name."),
        (["--workdir", "nowhere"], "workdir must hold a run, got no config.json in nowhere."),
    ],
)
def test_bad_input_gets_a_clear_error(hae, words, complaint):
    code, out, err = hae(*words)
    assert code == 2
    assert not out
    assert err.startswith(f"hae: {complaint}")


def test_options_that_the_run_does_not_have_are_refused(hae, trained, tmp_path):
    code, _, err = hae("--workdir", trained, "--model.hidden_dim", "7", "--png", tmp_path / "g.png")
    assert code == 2
    assert "options must be those of the run in" in err
    assert "got another model.hidden_dim. Remove them" in err
