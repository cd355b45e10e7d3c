"""Refined decoding: distances that never increase, errors that are corrected, and rows of any length."""

import itertools
import re

import numpy as np
import pytest
from support.command import hae, rows
from support.documents import DOCUMENTS, VOCAB, batch
from support.mirrored_model import DATA, mirrored
from support.model_grid import VARIANTS, drawn
from support.random_corpus import corpus as random_documents
from support.random_model import SHORT
from support.random_model import trained as random_model
from support.trained_run import PARAGRAPHS, corpus, trained

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.cli import main
from hae_jax.cli.options import Writing
from hae_jax.config import ModelConfig
from hae_jax.data import sequential_batches
from hae_jax.inference import refine as module
from hae_jax.inference.decoding import GREEDY, BeamSearch, Refined, Sampling
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.refine import PADDING, as_batch, refine
from hae_jax.inference.teacher_forcing import encode
from hae_jax.models.outputs import Code

__all__ = ["corpus", "hae", "trained"]

FIXED = {name: config for name, config in VARIANTS.items() if not config.attention}
FIXED["sentence"] = ModelConfig(embed_dim=5, hidden_dim=3, sentence_dim=7, feedback="sentence")
LIMIT = 21
every_model = pytest.mark.parametrize("name", FIXED)


def decoded(documents, limit):
    """Documents as token ids of greedy decoding."""
    flat = [[token for sentence in document for token in sentence] for document in documents]
    return np.array([row + [PAD] * (limit - len(row)) for row in flat], np.int32)


def random_codes(name, docs=23):
    """A model, its parameters, and the codes of its documents with noise."""
    model, params = drawn(FIXED[name])
    code = np.asarray(encode(model, params, batch()).document)
    code = np.resize(code, (docs, code.shape[1]))
    return model, params, Code(code + np.random.default_rng(5).normal(0, 0.3, code.shape).astype(np.float32))


def distances(model, params, code, tokens):
    found = encode(model, params, as_batch(model, np.asarray(tokens))).document
    return np.linalg.norm(np.asarray(code.document) - np.asarray(found), axis=1)


@every_model
def test_without_rounds_it_is_greedy(name):
    model, params, code = random_codes(name)
    np.testing.assert_array_equal(refine(model, params, code, LIMIT, 0), greedy(model, params, code, LIMIT))


@every_model
def test_distances_never_increase_and_decrease_somewhere(name):
    model, params, code = random_codes(name)
    found = [distances(model, params, code, Refined(rounds)(model, params, code, LIMIT)) for rounds in range(7)]
    for before, after in itertools.pairwise(found):
        assert (after <= before + 1e-5).all()
    assert (found[-1] < found[0] - 0.01).any()


@every_model
def test_a_document_does_not_depend_on_the_others(name):
    model, params, code = random_codes(name)
    together = np.asarray(refine(model, params, code, LIMIT, 3))
    for first, last in ((0, 1), (4, 9)):
        alone = refine(model, params, Code(code.document[first:last]), LIMIT, 3)
        np.testing.assert_array_equal(alone, together[first:last])


def test_words_lost_to_noise_are_recovered():
    # Two blocks for nine tokens, which disturb each other.
    model, documents = mirrored(embed_dim=24), random_documents(64)
    code = np.asarray(encode(model.module, model.params, next(sequential_batches(documents, DATA, 64))[0]).document)
    noise = np.random.default_rng(1).normal(0, 0.3, code.shape).astype(np.float32)
    noisy, limit = Code(code + noise * code.std(0)), DATA.max_sentences * (DATA.max_tokens + 1)
    sources = [[row.tolist() for row in documents.document(index)] for index in range(64)]
    right = [
        sum(map(list.__eq__, split(refine(model.module, model.params, noisy, limit, rounds)), sources))
        for rounds in (0, 1, 8)
    ]
    assert right[0] < right[1] < right[2]
    assert 64 - right[0] > 3 * (64 - right[2])


class Table:
    """Documents of one token, decoded by thresholds of the corrected code, and their codes."""

    config = ModelConfig()

    def __init__(self, monkeypatch, *texts):
        self.thresholds, self.codes = zip(*texts, strict=True)
        self.decoded = []
        monkeypatch.setattr(module, "greedy", self.greedy)
        monkeypatch.setattr(module, "encode", lambda _, __, tokens: Code(np.array(self.codes)[tokens][:, None]))
        monkeypatch.setattr(module, "as_batch", lambda _, tokens: tokens[:, 0])

    def greedy(self, _, __, code, ___):
        self.decoded.append(float(code.document[0, 0]))
        return np.sum(np.asarray(code.document) >= self.thresholds, axis=1, keepdims=True) - 1

    def refine(self, code, rounds):
        function = getattr(refine, "__wrapped__", refine)
        return int(function(self, None, Code(np.array([[code]], np.float32)), 1, rounds)[0, 0])


def test_the_same_text_is_corrected_further(monkeypatch):
    table = Table(monkeypatch, (-9, 0.0), (1.4, 1.0))
    assert [table.refine(1.0, rounds) for rounds in (0, 1, 2)] == [0, 0, 1]
    assert table.decoded[-3:] == [1.0, 1.25, 1.5]


def test_a_step_that_overshoots_is_halved(monkeypatch):
    table = Table(monkeypatch, (-9, 0.0), (1.1, 1.0), (1.2, 5.0))
    assert [table.refine(1.0, rounds) for rounds in (0, 1, 2)] == [0, 0, 1]
    assert table.decoded[-3:] == [1.0, 1.25, 1.125]


def test_rounds_end_when_every_text_has_its_code(monkeypatch):
    table = Table(monkeypatch, (-9, 1.0))
    assert table.refine(1.0, 100) == 0
    assert len(table.decoded) == 1


def test_the_topic_of_a_code_does_not_count():
    config = ModelConfig(embed_dim=5, hidden_dim=3, sentence_dim=7, topic_dim=4)
    model, params = drawn(config)
    code = np.array(encode(model, params, batch()).document)
    assert code.shape[1] == 11
    code[:, :7] += np.random.default_rng(5).normal(0, 0.3, (len(code), 7))
    expected = np.asarray(refine(model, params, Code(code), LIMIT, 4))
    assert (expected != np.asarray(greedy(model, params, Code(code), LIMIT))).any()
    other = np.concatenate([code[:, :7], 50 * code[::-1, 7:]], axis=1)
    np.testing.assert_array_equal(refine(model, params, Code(other), LIMIT, 4), expected)


LONG = [[4 + k % 9 for k in range(57)] + [EOS], [EOD]]
RAGGED = [LONG, *[[[EOS]] * 50 + [[5, EOD]]] * 3, *[[[7, 4, 9, EOS]] * 14 + [[EOD]]] * 2]


@every_model
@pytest.mark.parametrize("documents", [DOCUMENTS, [LONG], RAGGED], ids=["short", "long", "ragged"])
def test_decoded_documents_have_the_codes_of_the_same_documents(name, documents):
    model, params = drawn(FIXED[name])
    tokens = decoded(documents, 60)
    found = as_batch(model, tokens)
    assert len(found.row_index) == len(documents)
    assert sum(bucket.size for bucket in found.buckets) <= 2 * PADDING * tokens.size
    expected = encode(model, params, batch(documents, widths=(3, 7, 60))).document[: len(documents)]
    np.testing.assert_allclose(encode(model, params, found).document, expected, atol=1e-5)


@every_model
def test_a_document_without_an_end_is_encoded(name):
    model, params = drawn(FIXED[name])
    unended = np.full((3, LIMIT), VOCAB - 1, np.int32)
    assert np.isfinite(np.asarray(encode(model, params, as_batch(model, unended)).document)).all()


def test_settings_out_of_range_are_refused():
    model, params, code = random_codes("none")
    with pytest.raises(ValueError, match=r"rounds must be at least 0, got -1\. 0 decodes greedily\."):
        refine(model, params, code, LIMIT, -1)
    attention = random_model(attention=True)
    with pytest.raises(ValueError, match=r"codes must have a fixed size to be refined, got those of a model with att"):
        attention.reconstruct(SHORT, Refined())


@pytest.mark.parametrize(
    ("options", "decoding"),
    [
        ({}, GREEDY),
        ({"refine": 0}, Refined(0)),
        ({"refine": 5}, Refined(5)),
        ({"beam": 3}, BeamSearch(3)),
        ({"temperature": 0.0, "seed": 0}, Sampling(temperature=0.0, seed=0)),
    ],
)
def test_options_select_a_method(tmp_path, options, decoding):
    assert Writing(workdir=tmp_path, **options).decoding == decoding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refine": 1, "beam": 3}, "refine must be used alone, got --beam. Refine, use a beam, or sample."),
        ({"refine": 0, "seed": 0}, "refine must be used alone, got --seed. Refine, use a beam, or sample."),
        (
            {"beam": 3, "temperature": 0.0, "top_p": 0.5},
            "beam must be used alone, got --temperature and --top_p. Refine, use a beam, or sample.",
        ),
    ],
)
def test_two_methods_at_once_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _ = Writing(workdir=tmp_path, **options).decoding


def test_the_commands_refine(hae, trained, corpus, tmp_path, capsys):
    text, codes = ("--workdir", trained, "--input", corpus), tmp_path / "codes.npy"
    plain = rows(hae("reconstruct", *text))
    assert rows(hae("reconstruct", *text, "--refine", 0)) == plain
    refined = rows(hae("reconstruct", *text, "--refine", 4))
    assert [row["source"] for row in refined] == PARAGRAPHS
    assert refined != plain
    hae("encode", *text, "--output", codes, "--windows")
    numbers = codes.with_suffix(".numbers.npy")
    found = rows(hae("decode", "--workdir", trained, "--input", codes, "--numbers", numbers, "--refine", 4))
    assert [row["reconstruction"] for row in found] == [row["reconstruction"] for row in refined]
    assert main(["decode", "--workdir", str(trained), "--input", str(codes), "--refine", "2", "--beam", "2"]) == 2
    assert capsys.readouterr().err == "hae: refine must be used alone, got --beam. Refine, use a beam, or sample.\n"
