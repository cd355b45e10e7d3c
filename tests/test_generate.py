import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import batch
from support.markov_text import Markov
from support.model_grid import VARIANTS, drawn

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.inference.beam_search import beam_search
from hae_jax.inference.decode_loop import BLOCK_SIZE, bind, scan_until
from hae_jax.inference.generate import greedy, nucleus, sample, sentences, split, unroll
from hae_jax.inference.parallel_greedy import SENTENCES, parallel_greedy
from hae_jax.models.outputs import Code

DOCS, CODE, VOCAB = 7, 3, 11
LIMIT = 2 * BLOCK_SIZE + 5


def markov(docs=DOCS, vocab=VOCAB, ends=0.0, seed=0):
    """A random Markov model and random codes; `ends` makes the end of a document likelier."""
    keys = jax.random.split(jax.random.key(seed), 4)
    model = Markov(vocab, CODE)
    params = {
        "follow": (2 * jax.random.normal(keys[0], (vocab, vocab))).at[:, EOD].add(ends),
        "embed": jax.random.normal(keys[1], (vocab, CODE)),
        "project": jax.random.normal(keys[2], (CODE, vocab)),
    }
    return model, params, Code(jax.random.normal(keys[3], (docs, CODE)))


def log_probabilities(params, code):
    """log p(next | last) of each document, `[doc, last, next]`, in which PAD is excluded."""
    logits = params["follow"][None] + (code.document @ params["project"])[:, None]
    return np.asarray(jax.nn.log_softmax(logits.at[..., PAD].set(-jnp.inf)), np.float64)


def walk(table, limit):
    """Greedy decoding as a plain loop over one document's table."""
    tokens, last = [], PAD
    while len(tokens) < limit and last != EOD:
        last = int(table[last].argmax())
        tokens.append(last)
    return tokens + [PAD] * (limit - len(tokens))


def exhaustive(table, limit, length_penalty):
    """The best of all texts that end within the limit or fill it."""
    words = range(1, len(table))
    best, argbest = -np.inf, None
    for length in range(1, limit + 1):
        for text in itertools.product(words, repeat=length):
            ended = EOD in text[:-1]
            if ended or (length < limit and text[-1] != EOD):
                continue
            score = sum(table[a, b] for a, b in zip((PAD, *text), text, strict=False)) / length**length_penalty
            if score > best:
                best, argbest = score, text
    return list(argbest) + [PAD] * (limit - len(argbest))


@pytest.mark.parametrize("limit", [1, 5, BLOCK_SIZE, LIMIT])
def test_greedy_equals_a_plain_loop_over_the_model(limit):
    model, params, code = markov(ends=1.0)
    expected = [walk(table, limit) for table in log_probabilities(params, code)]
    assert greedy(model, params, code, limit).tolist() == expected


@pytest.mark.parametrize(("backend", "done"), [("cpu", 3), ("gpu", BLOCK_SIZE)])
def test_the_loop_checks_after_each_block_whether_all_is_done(monkeypatch, backend, done):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    steps, outputs = scan_until(
        lambda steps, at: (steps + 1, at + 1), lambda steps: steps >= 3, jnp.int32(0), 5 * BLOCK_SIZE + 1
    )
    assert steps == done
    assert outputs.tolist() == [*range(1, done + 1), *[0] * (5 * BLOCK_SIZE + 1 - done)]


PARALLEL = {
    "none": VARIANTS["none"],
    "attention": dataclasses.replace(VARIANTS["none"], attention=True),
    "all states": dataclasses.replace(
        VARIANTS["none"], bridge="all_states", conditioning="initial_state", layers=2, sentence_dim=3
    ),
}


def biased(name, ends):
    """A model, parameters and codes; `ends` is added to the logits of EOS and EOD."""
    model, params = drawn(PARALLEL[name])
    bias = params["words"]["bias"].at[jnp.array([EOS, EOD])].add(jnp.array(ends, jnp.float32))
    params = params | {"words": params["words"] | {"bias": bias}}
    return model, params, bind(model, params, "encode")(batch())


def both_ways(name, ends, limit):
    """Texts of codes, decoded in parallel and sequentially."""
    model, params, code = biased(name, ends)
    sequential = unroll(model, params, code, limit, lambda logits, _: logits.argmax(-1))
    return np.asarray(greedy(model, params, code, limit)), np.asarray(sequential)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 2.5)])
@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_decoding_equals_sequential(name, ends):
    np.testing.assert_array_equal(*both_ways(name, ends, LIMIT))


def test_texts_of_many_sentences_are_decoded_in_groups():
    found, expected = both_ways("none", (2.5, 2.0), LIMIT)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(both_ways("none", (2.5, 2.0), 4)[0], found[:, :4])
    # Some end before the limit, some do not.
    assert 0 < (found == EOD).any(1).sum() < len(found)
    assert (found == EOS).sum(1).max() > SENTENCES


def test_a_model_that_does_not_end_its_sentences_is_decoded_sequentially():
    for ends, enough in (((2.5, 2.0), True), ((-9.0, -9.0), False)):
        model, params, code = biased("none", ends)
        assert bool(parallel_greedy(model, params, code, LIMIT)[1]) is enough
    np.testing.assert_array_equal(*both_ways("none", (-9.0, -9.0), LIMIT))


@pytest.mark.usefixtures("double")
def test_parallel_decoding_in_float64():
    np.testing.assert_array_equal(*both_ways("none", (2.5, 2.0), LIMIT))


def test_the_other_couplings_wait_for_the_words():
    assert not any(drawn(VARIANTS[name])[0].parallel_sentences for name in ("sentence, attention", "word, paper"))


def generators():
    key = jax.random.key(3)
    return {
        "greedy": greedy,
        "sample": lambda *args: sample(*args[:3], key, 0.7, 0.9, args[3]),
        "beam": lambda *args: beam_search(*args[:3], 3, args[3]),
    }


@pytest.mark.parametrize("name", generators())
def test_documents_are_padded_after_their_end(name):
    tokens = np.asarray(generators()[name](*markov(ends=2.0), LIMIT))
    assert (tokens == EOD).any()
    after = np.cumsum(tokens == EOD, axis=1) - (tokens == EOD) > 0
    assert (tokens[after] == PAD).all()
    assert (tokens[~after] != PAD).all()


@pytest.mark.parametrize("name", generators())
def test_jit_equals_eager(name):
    model, params, code = markov(ends=1.0)
    compiled = generators()[name](model, params, code, 5)
    with jax.disable_jit():
        assert generators()[name](model, params, code, 5).tolist() == compiled.tolist()


@pytest.mark.parametrize("name", ["greedy", "sample"])  # a beam may change its mind about the beginning
def test_a_longer_limit_only_adds_to_the_text(name):
    short, long = (np.asarray(generators()[name](*markov(), limit)) for limit in (13, LIMIT))
    assert (long[:, :13] == short).all()


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_documents_do_not_see_each_other(name):
    model, params, code = markov(ends=1.0)
    together = generators()[name](model, params, code, LIMIT).tolist()
    alone = [generators()[name](model, params, Code(code.document[i : i + 1]), LIMIT).tolist()[0] for i in range(DOCS)]
    assert together == alone


def test_a_beam_of_one_is_greedy():
    args = markov(ends=1.0)
    assert beam_search(*args, 1, LIMIT).tolist() == greedy(*args, LIMIT).tolist()


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("ends", [-3.0, 0.0, 3.0])
def test_a_full_beam_is_exhaustive_search(length_penalty, ends):
    model, params, code = markov(docs=3, vocab=5, ends=ends, seed=1)
    tables = log_probabilities(params, code)
    found = beam_search(model, params, code, 4**5, 5, length_penalty).tolist()
    assert found == [exhaustive(table, 5, length_penalty) for table in tables]


def test_a_wider_beam_finds_texts_that_greedy_misses():
    model, params, code = markov(docs=31, ends=1.0)
    tables = log_probabilities(params, code)

    def score(texts):
        return [
            sum(table[a, b] for a, b in itertools.pairwise([PAD, *text]) if b != PAD)
            for table, text in zip(tables, texts.tolist(), strict=True)
        ]

    plain, wide = score(greedy(model, params, code, 13)), score(beam_search(model, params, code, 64, 13))
    assert np.all(np.array(wide) >= np.array(plain) - 1e-4)
    assert np.any(np.array(wide) > np.array(plain) + 0.1)


def test_temperature_zero_is_greedy():
    model, params, code = markov(ends=1.0)
    for temperature in (0.0, 1e-6):
        cold = sample(model, params, code, jax.random.key(5), temperature, 1.0, LIMIT)
        assert cold.tolist() == greedy(model, params, code, LIMIT).tolist()


def test_a_tiny_nucleus_is_greedy():
    model, params, code = markov(ends=1.0)
    drawn = sample(model, params, code, jax.random.key(5), 1.0, 1e-6, LIMIT)
    assert drawn.tolist() == greedy(model, params, code, LIMIT).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_have_the_frequencies_of_the_softmax(temperature):
    draws = 20_000
    model, params, code = markov(docs=1)
    many = Code(jnp.repeat(code.document, draws, axis=0))
    drawn = sample(model, params, many, jax.random.key(7), temperature, 1.0, 1)
    expected = np.exp(log_probabilities(params, code)[0, PAD] / temperature)
    expected /= expected.sum()
    frequency = np.bincount(np.asarray(drawn)[:, 0], minlength=VOCAB) / draws
    assert np.all(np.abs(frequency - expected) < 5 * np.sqrt(expected / draws) + 1e-9)


def test_a_nucleus_holds_the_fewest_tokens_that_reach_its_share():
    probability = jnp.array([0.05, 0.3, 0.1, 0.3, 0.25])
    keys = jax.random.split(jax.random.key(9), 500)
    for top_p, size in [(0.2, 1), (0.29, 1), (0.5, 2), (0.7, 3), (0.9, 4), (0.97, 5), (1.0, 5)]:
        drawn = jax.vmap(lambda key: nucleus(key, jnp.log(probability)[None], 1.0, top_p)[0])(keys)  # noqa: B023
        assert len(np.unique(drawn)) == size, top_p


def test_another_key_draws_another_text():
    args = markov()
    texts = [sample(*args, jax.random.key(seed), 1.0, 1.0, LIMIT).tolist() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_padding_is_never_predicted():
    model, params, code = markov()
    params["follow"] = params["follow"].at[:, PAD].set(100.0)
    assert (np.asarray(greedy(model, params, code, 1)) != PAD).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: greedy(*a, 0), "max_tokens must be at least 1, got 0"),
        (lambda a: sample(*a, jax.random.key(0), -1.0, 1.0, 5), "temperature must be finite and at least 0, got -1.0"),
        (lambda a: sample(*a, jax.random.key(0), np.nan, 1.0, 5), "temperature must be finite and at least 0, got nan"),
        (lambda a: sample(*a, jax.random.key(0), np.inf, 1.0, 5), "temperature must be finite and at least 0, got inf"),
        (lambda a: sample(*a, jax.random.key(0), 1.0, 0.0, 5), r"top_p must lie in \(0, 1\], got 0.0"),
        (lambda a: sample(*a, jax.random.key(0), 1.0, 1.1, 5), r"top_p must lie in \(0, 1\], got 1.1"),
        (lambda a: beam_search(*a, 0, 5), "beam must be at least 1, got 0"),
        (lambda a: beam_search(*a, 2, 5, -0.5), "length_penalty must be at least 0, got -0.5"),
    ],
)
def test_settings_out_of_range_are_rejected(call, message):
    with pytest.raises(ValueError, match=message):
        call(markov())


def test_ids_are_cut_into_sentences():
    assert split(np.array([[5, 6, EOS, 7, EOD, PAD], [EOS, 8, EOS, EOD, PAD, PAD], [PAD] * 6])) == [
        [[5, 6], [7]],
        [[], [8], []],
        [],
    ]
    assert sentences(iter([5, 6])) == [[5, 6]]


def test_trees_of_states_follow_their_beams():
    """Each step's state must be that of the beam it continues: here the state counts the words decoded."""

    class Counter(Markov):
        def start(self, code):
            return {"code_logits": code.document @ self.project, "counts": jnp.zeros((len(code.document), self.vocab))}

        def step(self, state, token):
            counts = state["counts"] + jax.nn.one_hot(token, self.vocab)
            return {**state, "counts": counts}, self.follow[token] + state["code_logits"] - 30 * counts

    _, params, code = markov(docs=3, ends=-9.0)
    model = Counter(VOCAB, CODE)
    for text in beam_search(model, params, code, 5, 8).tolist():
        assert len(set(text)) == 8
