"""The prior of sentence vectors: its moments are those observed, and its draws become texts."""

import json

import numpy as np
import pytest
from support.memorized import SENTENCES, memorized, spelled, texts
from test_texts import TEXTS, trained

from hae_jax.cli import main
from hae_jax.data import Corpus
from hae_jax.latent import Prior, sample
from hae_jax.latent.rows import embed_rows

__all__ = ["memorized"]
CORPUS = texts(40, seed=4)


@pytest.fixture
def prior(rng):
    """Fitted on documents of 2 and 3 correlated vectors."""
    mixing = rng.normal(size=(4, 4))
    return Prior.fit([rng.normal(size=(2 + i % 2, 4)) @ mixing + 3 for i in range(400)])


@pytest.mark.parametrize("spread", [0.0, 0.4, 1.0])
def test_mean_and_covariance_are_those_observed(prior, spread):
    drawn = np.concatenate(prior.draw(4000, spread, seed=1))
    deviation = prior.vectors.std(0)
    np.testing.assert_allclose(drawn.mean(0), prior.vectors.mean(0), atol=0.1 * deviation.max())
    scale = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(drawn.T) / scale, np.cov(prior.vectors.T) / scale, atol=0.1)


def test_without_spread_sentences_are_observed_ones_at_their_places():
    """Vectors that name their document's length and their place."""
    documents = [
        np.array([[length, place] for place in range(length)], float) for length in (1, 2, 3) for _ in range(9)
    ]
    for drawn in Prior.fit(documents).draw(50, spread=0.0):
        np.testing.assert_allclose(drawn, [[len(drawn), place] for place in range(len(drawn))], atol=1e-6)


def test_sentences_of_several_rows_are_drawn_whole():
    """Vectors that name their document, sentence and row; documents have sentences of different numbers of rows."""
    rows = [[2, 1], [1, 2], [2, 1], [1, 2], [3]]
    documents = [
        np.array([[document, place, row] for place, count in enumerate(each) for row in range(count)], float)
        for document, each in enumerate(rows)
    ]
    prior = Prior.fit(documents, rows)
    parents = set()
    for drawn in prior.draw(50, spread=0.0):
        places, within = drawn[:, 1].round().astype(int), drawn[:, 2].round().astype(int)
        assert np.bincount(places).tolist() in rows
        for place in set(places):
            (parent,) = set(drawn[places == place, 0].round())
            parents.add((place, int(parent)))
            assert within[places == place].tolist() == list(range(rows[int(parent)][place]))
    assert parents == {(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3)}


def test_rows_must_be_those_of_the_documents(rng):
    with pytest.raises(ValueError, match=r"rows must add up to those of each document, \[2, 3\], got \[2, 2\]"):
        Prior.fit([rng.normal(size=(2, 4)), rng.normal(size=(3, 4))], [[1, 1], [2]])


def test_of_a_corpus_only_whole_sentences_are_used(memorized):
    """The first document continues after a row without an end; the last does not end a sentence."""
    ids = {text: memorized.tokenizer.encode(text) for text in (*SENTENCES, "The old bridge")}
    first, second, third = (ids[text] for text in SENTENCES[:3])
    part = ids["The old bridge"]
    documents = [[first, second], [part, first], [third, part], [first], [second, third], [part, third], [part]]
    prior = Prior.of_corpus(memorized, Corpus.from_documents(documents))
    # [third, part] has no end, so that [first] may begin within a sentence.
    kept = [documents[at] for at in (0, 1, 4, 5)]
    assert prior.lengths.tolist() == [2, 1, 2, 1]
    assert prior.rows.tolist() == [1, 1, 2, 1, 1, 2]
    np.testing.assert_array_equal(prior.vectors, np.concatenate(embed_rows(memorized, kept)))


def test_of_a_corpus_without_full_stops_all_rows_are_used(memorized):
    part = memorized.tokenizer.encode("The old bridge")
    prior = Prior.of_corpus(memorized, Corpus.from_documents([[part, part], [part], [part] * 3]))
    assert (prior.lengths.tolist(), prior.rows.tolist()) == ([2, 1, 3], [1] * 6)


def test_lengths_are_as_frequent_as_observed(prior):
    lengths = [len(drawn) for drawn in prior.draw(2000)]
    assert np.mean(np.equal(lengths, 2)) == pytest.approx(0.5, abs=0.05)


def test_draws_are_functions_of_their_seed(prior):
    one, same, other = (np.concatenate(prior.draw(5, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or not np.allclose(one, other)


def test_observed_sentences_are_decoded_to_themselves(memorized):
    known = {spelled(memorized, sentence) for sentence in SENTENCES}
    found = sample(memorized, Prior.fit(memorized.embed_sentences(CORPUS)), 20, spread=0.0)
    for text in found:
        assert {f"{sentence} ." for sentence in text.removesuffix(" .").split(" . ")} <= known
    assert len(set(found) - {spelled(memorized, text) for text in CORPUS}) > 10, "sentences are combined anew"


def test_documents_longer_than_a_code_are_drawn_whole(memorized):
    long = Prior.fit(memorized.embed_sentences([" ".join(SENTENCES), " ".join(SENTENCES[::-1])]))
    assert {len(drawn) for drawn in long.draw(3)} == {len(SENTENCES)}
    (text,) = sample(memorized, long, 1, spread=0.0)
    assert text.count(" .") == len(SENTENCES)


def test_the_command_samples_from_the_training_documents(memorized, capsys):
    words = ["sample", "--workdir", str(memorized.workdir), "--count", "3", "--spread", "0.2", "--seed"]
    found = []
    for seed in ("1", "1", "2"):
        assert main([*words, seed]) == 0
        found.append([json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()])
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 3
    assert all(found[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 1, "spread": 1.5}, r"spread must lie in \[0, 1\], got 1\.5"),
        ({"count": 1, "spread": float("nan")}, r"spread must lie in \[0, 1\], got nan"),
    ],
)
def test_invalid_draws_are_refused(prior, options, message):
    with pytest.raises(ValueError, match=message):
        prior.draw(**options)


def test_a_prior_needs_two_documents(rng):
    with pytest.raises(ValueError, match="documents must be at least 2, got 1"):
        Prior.fit([rng.normal(size=(2, 4))])


def test_models_without_sentence_vectors_are_refused(memorized):
    prior = Prior.fit(memorized.embed_sentences(CORPUS[:5]))
    with pytest.raises(ValueError, match=r"model\.kind must be hierarchical for sentence vectors, got flat"):
        sample(trained(kind="flat"), prior, 1)
    attending = trained(attention=True)
    with pytest.raises(ValueError, match="codes must come with the encoder's sentence states"):
        sample(attending, Prior.fit(attending.embed_sentences(TEXTS)), 1)
