"""Sentences inside codes: what is opened, rearranged and closed again is what was meant."""

import json
import re

import numpy as np
import pytest
from support.memorized import memorized, spelled, texts
from test_texts import trained

from hae_jax.batch import EOD, EOS
from hae_jax.cli import main
from hae_jax.data.text import split_sentences
from hae_jax.inference.texts import Windows
from hae_jax.latent import compose, interpolate, morph, rearrange, sentences
from hae_jax.latent.rows import decode_vectors, encode_rows

__all__ = ["memorized"]
TEXTS = texts(30, seed=1)
THREE = texts(12, seed=2, lengths=[3])
TWO = texts(2, seed=3, lengths=[2])
SENTENCES = [split_sentences(text) for text in THREE]


def test_the_fixture_reconstructs_its_text(memorized):
    assert memorized.reconstruct(TEXTS) == [spelled(memorized, text) for text in TEXTS]


def test_the_sentences_of_a_code_are_those_of_the_text(memorized):
    codes = memorized.encode(TEXTS)
    for found, given in zip(sentences(memorized, codes), memorized.embed_sentences(TEXTS), strict=True):
        np.testing.assert_allclose(found, given, atol=1e-5)


def test_composing_the_sentences_of_a_code_returns_the_code(memorized):
    codes = memorized.encode(TEXTS)
    np.testing.assert_allclose(compose(memorized, sentences(memorized, codes)), codes, atol=1e-4)


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [1, 2, 0], [0, 2], [2, 1], [1], [2]])
def test_a_rearranged_code_is_that_of_the_rearranged_text(memorized, order):
    """Also where another sentence is last: its end mark then ends the document, and no other does."""
    meant = [" ".join(parts[at] for at in order) for parts in SENTENCES]
    vectors = [each[order] for each in sentences(memorized, memorized.encode(THREE))]
    np.testing.assert_allclose(compose(memorized, vectors), memorized.encode(meant), atol=1e-4)
    for text, parts, target in zip(THREE[:3], SENTENCES, meant, strict=False):
        code, found = rearrange(memorized, memorized.encode([text]), order)
        np.testing.assert_allclose(code, memorized.encode([target]), atol=1e-4)
        assert found == [spelled(memorized, part) for part in parts]


def test_rearranged_codes_are_decoded_to_rearranged_texts(memorized):
    codes = np.concatenate([rearrange(memorized, memorized.encode([text]), [1, 0, 2])[0] for text in THREE])
    assert memorized.decode(codes) == [spelled(memorized, f"{two} {one} {three}") for one, two, three in SENTENCES]


def test_a_sentence_of_another_text_is_inserted(memorized):
    one, other = SENTENCES[0], SENTENCES[3]
    code, _ = rearrange(memorized, memorized.encode([THREE[0], THREE[3]]), [0, 3, 2])
    np.testing.assert_allclose(code, memorized.encode([f"{one[0]} {other[0]} {one[2]}"]), atol=1e-4)


def test_more_sentences_than_a_code_holds_become_windows(memorized):
    most = memorized.config.data.max_sentences
    codes, found = rearrange(memorized, memorized.encode(THREE[:2]))
    assert (len(found), len(codes)) == (6, -(-6 // most))
    text = memorized.decode(Windows(codes, np.zeros(len(codes), int)))
    assert text == [spelled(memorized, " ".join(THREE[:2]))]


def test_vectors_are_decoded_without_their_end_marks(memorized):
    rows = [memorized.tokenizer.encode(part) for part in SENTENCES[0]]
    (vectors,) = memorized.embed_sentences(THREE[:1])
    assert list(decode_vectors(memorized, vectors)) == rows
    assert not {EOS, EOD} & {token for row in decode_vectors(memorized, vectors) for token in row}


def test_documents_are_encoded_as_texts_are(memorized):
    documents = [[memorized.tokenizer.encode(part) for part in parts] for parts in SENTENCES]
    np.testing.assert_allclose(encode_rows(memorized, documents), memorized.encode(THREE), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"feedback": "sentence"},
        {"feedback": "word"},
        {"bridge": "all_states", "layers": 2, "sentence_dim": 13},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_other_models_have_sentences_too(options):
    """Untrained: composed codes are those of the sentences that the vectors are decoded to, whatever these are."""
    model = trained(**options)
    given, data = ["The cat sat. It rained.", "One fox."], model.config.data
    vectors = model.embed_sentences(given)
    rows = list(decode_vectors(model, np.concatenate(vectors)))
    assert all(len(row) <= data.max_tokens for row in rows)
    meant = encode_rows(model, [rows[:2], rows[2:]])
    np.testing.assert_allclose(compose(model, vectors), meant, atol=1e-5)
    found = sentences(model, meant)
    assert [each.shape[1] for each in found] == [vectors[0].shape[1]] * 2
    code, parts = rearrange(model, meant, [0])
    assert (code.shape, len(parts)) == ((1, meant.shape[1]), sum(map(len, found)))
    assert len(morph(model, *given, points=3)) == 3


@pytest.mark.parametrize(("order", "got"), [([0, 3], "got 3"), ([-1], "got -1"), ([], "got none")])
def test_a_number_without_a_sentence_is_refused(memorized, order, got):
    with pytest.raises(ValueError, match=rf"order must hold numbers of sentences, from 0 to 2, {got}\. "):
        rearrange(memorized, memorized.encode(THREE[:1]), order)


@pytest.mark.parametrize("shape", [(0, 64), (4, 64), (2, 63), (64,)])
def test_vectors_of_another_shape_are_refused(memorized, shape):
    function = getattr(compose, "__wrapped__", compose)
    with pytest.raises(ValueError, match=re.escape(f"1 to 3 rows of 64 numbers, got shape {list(shape)}")):
        function(memorized, [np.zeros(shape, np.float32)])


def test_vectors_that_are_not_finite_are_refused(memorized):
    with pytest.raises(ValueError, match="vectors must be finite"):
        compose(memorized, [np.full((2, 64), np.nan, np.float32)])


def test_a_morph_starts_and_ends_with_the_reconstructions(memorized):
    for start, end in ((THREE[0], THREE[1]), (THREE[0], TWO[0]), (TWO[0], THREE[0])):
        path = morph(memorized, start, end, points=4)
        assert [path[0], path[-1]] == memorized.reconstruct([start, end])


def test_a_morph_changes_one_sentence_after_the_other(memorized):
    start, end = SENTENCES[1], SENTENCES[7]
    path = morph(memorized, " ".join(start), " ".join(end), points=4)
    for changed, text in enumerate(path):
        meant = " ".join([*end[:changed], *start[changed:]])
        assert text == spelled(memorized, meant)


def test_between_two_points_of_a_morph_one_sentence_is_between(memorized):
    start, end = SENTENCES[1], SENTENCES[7]
    path = morph(memorized, " ".join(start), " ".join(end), points=7)
    for changed in range(3):
        text = path[2 * changed + 1]
        assert text.startswith(spelled(memorized, " ".join(end[:changed])))
        assert text.endswith(spelled(memorized, " ".join(start[changed + 1 :])))


def test_surplus_sentences_appear_and_disappear_in_their_turn(memorized):
    counts = [text.count(" .") for text in morph(memorized, THREE[0], TWO[0], points=7)]
    assert counts[0] == 3
    assert counts[-1] == 2
    assert counts[4] == 3, "the turn of the third sentence begins after two thirds"
    back = [text.count(" .") for text in morph(memorized, TWO[0], THREE[0], points=7)]
    assert (back[4], back[5]) == (2, 3)


def test_a_morph_of_two_points_has_the_ends_alone(memorized):
    assert morph(memorized, THREE[0], THREE[1], points=2) == interpolate(memorized, THREE[0], THREE[1], points=2)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        morph(memorized, THREE[0], THREE[1], points=1)


@pytest.mark.parametrize("path", [interpolate, morph])
def test_nothing_of_texts_longer_than_a_code_is_cut_off(memorized, path):
    long = " ".join(THREE[:2])
    found = path(memorized, long, THREE[2], points=3)
    assert [found[0], found[2]] == [spelled(memorized, long), spelled(memorized, THREE[2])]


def test_commands_edit_and_morph(memorized, capsys):
    assert main(["edit", "--workdir", str(memorized.workdir), "--order", "2,0", THREE[0]]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    parts = [spelled(memorized, part) for part in SENTENCES[0]]
    assert row == {"sentences": dict(zip("012", parts, strict=True)), "reconstruction": f"{parts[2]} {parts[0]}"}
    words = ["interpolate", "--workdir", str(memorized.workdir), "--points", "4", "--morph", THREE[0], THREE[1]]
    assert main(words) == 0
    rows = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [row["morph"] for row in rows] == morph(memorized, THREE[0], THREE[1], points=4)
    assert [row["reconstruction"] for row in rows] == interpolate(memorized, THREE[0], THREE[1], points=4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--order", "1,a", "One."], "order must be numbers between commas, got '1,a'. "),
        (["--order", "0,3", THREE[0]], "order must hold numbers of sentences, from 0 to 2, got 3. "),
        ([], "hae edit must be given a text, got none. "),
    ],
)
def test_invalid_edits_are_refused_in_one_line(memorized, capsys, words, message):
    assert main(["edit", "--workdir", str(memorized.workdir), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
