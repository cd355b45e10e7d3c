"""The document estimator: codes, scores, and files."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need hae_jax[sklearn]")

from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.trained_run import PARAGRAPHS, windows

from hae_jax.cli import main
from hae_jax.config.presets import preset
from hae_jax.estimators import DocumentAutoencoder
from hae_jax.trained import TrainedModel

SHORT = [text for text in PARAGRAPHS if windows(text) == 1]
"""Texts that fit into one code."""


@pytest.fixture(scope="module")
def fitted():
    return DocumentAutoencoder("tiny", steps=4, vocab_size=600, random_state=3).fit(PARAGRAPHS)


@pytest.mark.slow
def test_texts_are_encoded_and_codes_decoded(fitted):
    codes = fitted.transform(SHORT[:5])
    assert codes.shape == (5, 256)
    assert fitted.inverse_transform(codes) == fitted.reconstruct(SHORT[:5])
    assert fitted.get_feature_names_out()[-1] == "documentautoencoder255"
    assert make_pipeline(fitted, StandardScaler()).fit_transform(SHORT).shape == (len(SHORT), 256)


@pytest.mark.slow
def test_texts_longer_than_a_code_have_one_row_and_a_warning(fitted):
    longer = len(PARAGRAPHS) - len(SHORT)
    with pytest.warns(UserWarning, match=f"{longer} of 41 texts exceed one code"):
        assert fitted.transform(PARAGRAPHS).shape == (41, 256)
    assert len(fitted.reconstruct(PARAGRAPHS)) == 41


@pytest.mark.slow
def test_a_part_of_a_code_is_a_choice_of_the_estimator(fitted, tmp_path):
    fitted.save(tmp_path)
    codes, size = fitted.transform(SHORT[:3]), preset("tiny").model.sentence_dim
    order, topic = (DocumentAutoencoder.load(tmp_path).set_params(part=part) for part in ("order", "topic"))
    np.testing.assert_array_equal(order.transform(SHORT[:3]), codes[:, :size])
    np.testing.assert_array_equal(topic.transform(SHORT[:3]), codes[:, size:])
    assert len(order.get_feature_names_out()) == size
    with pytest.raises(ValueError, match=r"part must be 'all' to decode codes, got 'order'\. Use set_params"):
        order.inverse_transform(order.transform(SHORT[:3]))


def test_a_part_that_codes_lack_is_refused():
    message = "part must be all or order for a model without a topic part, got topic"
    with pytest.raises(ValueError, match=message):
        DocumentAutoencoder("paper", part="topic").fit(PARAGRAPHS)


@pytest.mark.slow
def test_scores_of_a_text_do_not_depend_on_the_others(fitted):
    scores = fitted.score_samples(PARAGRAPHS)
    np.testing.assert_allclose(scores[7:9], fitted.score_samples(PARAGRAPHS[7:9]), rtol=1e-4)
    assert (-np.log(600) - 1 < scores).all()
    assert (scores < -0.5).all()


@pytest.mark.slow
def test_a_saved_estimator_is_a_workdir(fitted, tmp_path, capsys):
    fitted.save(tmp_path / "run")
    loaded = DocumentAutoencoder.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.transform(SHORT[:3]), fitted.transform(SHORT[:3]))
    loaded.save(tmp_path / "copy")
    assert main(["interpolate", "--workdir", str(tmp_path / "copy"), "--points", "2", "One bridge.", "The rain."]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert isinstance(loaded.model_, TrainedModel)
    with pytest.raises(pickle.PicklingError, match="a fitted DocumentAutoencoder must be saved by its method save"):
        pickle.dumps(fitted)
    assert pickle.loads(pickle.dumps(clone(fitted))).get_params() == fitted.get_params()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("One text.", r"texts must be a list of strings, got one string\. Write \[text\]\."),
        (["One.", 2], r"texts must be a list of strings, got int as text 2\. Use str\."),
        ([], r"texts must hold at least one text, got none\. Add some text\."),
    ],
)
def test_invalid_texts_are_refused(given, message):
    fit = DocumentAutoencoder.fit
    # Without the checks of types that the tests add.
    with pytest.raises(ValueError, match=message):
        getattr(fit, "__wrapped__", fit)(DocumentAutoencoder("tiny"), given)


def test_a_workdir_must_hold_a_run(tmp_path):
    with pytest.raises(ValueError, match="workdir must hold a run"):
        DocumentAutoencoder.load(tmp_path)
    with pytest.raises(ValueError, match=r"preset must be one of .* Did you mean 'tiny'\?"):
        DocumentAutoencoder("tinny").fit(PARAGRAPHS)


@pytest.mark.slow
def test_verbose_shows_the_training(capfd):
    model = DocumentAutoencoder("tiny", steps=2, vocab_size=600, verbose=True).fit(PARAGRAPHS)
    out, err = capfd.readouterr()
    assert "step 2/2" in err
    assert "held-out loss" in err
    assert model.transform(SHORT[:3]).shape == (3, 256)
    assert "3/3" in capfd.readouterr().err
    assert not out
