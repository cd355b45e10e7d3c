import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import batch
from support.markov_text import Markov
from support.mirrored_model import DATA, mirrored
from support.model_grid import VARIANTS, drawn
from support.random_corpus import corpus

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.config import ModelConfig
from hae_jax.data import sequential_batches
from hae_jax.inference.beam_search import beam_search
from hae_jax.inference.decode_loop import BLOCK_SIZE, bind, scan_until
from hae_jax.inference.generate import greedy, nucleus, sample, sentences, split, unroll
from hae_jax.inference.parallel_greedy import parallel_greedy, sentence_vectors
from hae_jax.models.autoregressive import PARALLEL_SENTENCES
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


ALL_STATES = {"bridge": "all_states", "conditioning": "initial_state", "layers": 2}
PARALLEL = {
    "none": VARIANTS["none"],
    "attention": dataclasses.replace(VARIANTS["none"], attention=True),
    "all states": dataclasses.replace(VARIANTS["none"], **ALL_STATES, sentence_dim=3),
}
# Sizes with which texts of random weights have sentences and documents of many lengths.
VARIED = {"embed_dim": 12, "hidden_dim": 16, "sentence_dim": 24, "feedback": "sentence"}
IN_TURN = {
    "sentence": ModelConfig(**VARIED),
    "sentence, attention": ModelConfig(**VARIED, attention=True),
    "sentence, forwards": ModelConfig(**VARIED, reverse=False),
    "sentence, two layers": ModelConfig(**VARIED, layers=2),
    "sentence, all states": ModelConfig(**VARIED | {**ALL_STATES, "sentence_dim": 16}),
}


def biased(name, ends):
    """A model that never prefers PAD, parameters and codes; `ends` is added to the logits of EOS and EOD."""
    model, params = drawn((PARALLEL | IN_TURN)[name])
    bias = params["words"]["bias"].at[jnp.array([EOS, EOD])].add(jnp.array(ends, jnp.float32)).at[PAD].set(-99)
    params = params | {"words": params["words"] | {"bias": bias}}
    code = bind(model, params, "encode")(batch())
    if name in IN_TURN and code.memory is None:
        code = Code(2 * jax.random.normal(jax.random.key(1), (17, code.document.shape[1])))
    return model, params, code


def most_probable(logits, position):
    return logits.argmax(-1)


by_tokens = jax.jit(unroll, static_argnums=(0, 3, 4))


def both_ways(name, ends, limit):
    """Texts of codes, decoded by sentences and token by token."""
    model, params, code = biased(name, ends)
    sequential = by_tokens(model, params, code, limit, most_probable)
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
    assert (found == EOS).sum(1).max() > PARALLEL_SENTENCES


@pytest.mark.parametrize("name", IN_TURN)
def test_decoding_sentences_in_turn_equals_decoding_tokens(name):
    marks = 0
    for ends in ((1.0, 0.0), (5.0, 3.0)):
        found, expected = both_ways(name, ends, LIMIT)
        np.testing.assert_array_equal(found, expected)
        marks += (found == EOS).sum()
    assert marks > 5


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("feedback", ["none", "sentence"])
def test_mirrored_models_decode_the_same_by_sentences_and_by_tokens(feedback, layers):
    model = mirrored(feedback=feedback, layers=layers)
    documents, _ = next(sequential_batches(corpus(23), DATA, 23))
    code = bind(model.module, model.params, "encode")(jax.tree.map(jnp.asarray, documents))
    found = np.asarray(greedy(model.module, model.params, code, LIMIT))
    np.testing.assert_array_equal(found, by_tokens(model.module, model.params, code, LIMIT, most_probable))
    assert len({tuple(row) for row in found.tolist()}) > 10


def test_a_sentence_is_decoded_given_the_encoders_vectors_of_those_before_it():
    """Teacher forcing on the decoded texts, of which every token is the most probable one."""
    model, params, code = biased("sentence", (1.0, 0.0))
    code = Code(code.document[:16])
    documents = [ended_sentences(row) for row in np.asarray(greedy(model, params, code, LIMIT)).tolist()]
    lengths = [len(sentence) for document in documents for sentence in document]
    assert len(set(lengths)) > 3
    assert min(map(len, documents)) == 1 < 4 < max(map(len, documents))
    score = jax.jit(bind(model, params, "score"))
    scores = score(code, batch(documents, widths=(LIMIT,), spare_docs=0))
    later = np.asarray(scores.mask & (scores.sent > 1))
    assert np.asarray(scores.correct)[np.asarray(scores.mask)].all()
    assert later.sum() > 50
    # Not so if the sentences before are others.
    others = [[document[0][::-1], document[-1], *document[2:]] if document[2:] else document for document in documents]
    scores = score(code, batch(others, widths=(LIMIT,), spare_docs=0))
    assert not np.asarray(scores.correct)[np.asarray(scores.mask & (scores.sent > 1))].all()


def parallel_rows(model, params, vectors, tokens):
    """The tokens decoded from sentence vectors, each by itself."""
    decode_token = bind(model, params, "decode_token")

    def advance(carry, _):
        states, logits = decode_token(*carry, vectors)
        token = logits.argmax(-1).astype(jnp.int32)
        return (states, token), token

    first = bind(model, params, "init_word_state")(vectors), jnp.full(len(vectors), PAD, jnp.int32)
    return jax.lax.scan(advance, first, None, length=tokens)[1].T


def ended_sentences(ids):
    """Sentences with their end marks."""
    parts = [[]]
    for token in ids:
        parts[-1].append(token)
        if token in (EOS, EOD):
            parts.append([])
    return [part for part in parts if part and part[0] != PAD]


@pytest.mark.parametrize("name", ["none", "sentence"])
def test_sentences_are_decoded_from_the_vectors_of_the_decoder(name):
    model, params, code = biased(name, (1.0, 0.0))
    vectors = sentence_vectors(model, params, code, 3, LIMIT)
    assert vectors.shape[1] == 3
    sentence = jax.jit(parallel_rows, static_argnums=(0, 3))
    rows = np.asarray(sentence(model, params, vectors.reshape(-1, vectors.shape[-1]), LIMIT)).reshape(-1, 3, LIMIT)
    for document, text in zip(rows, np.asarray(greedy(model, params, code, LIMIT)).tolist(), strict=True):
        for row, expected in zip(document.tolist(), ended_sentences(text), strict=False):
            assert row[: len(expected)] == expected


@pytest.mark.parametrize("name", ["greedy", "sample", "beam"])
def test_documents_decoded_in_turn_do_not_see_each_other(name):
    model, params, code = biased("sentence", (1.0, 0.0))
    together = np.asarray(generators(temperature=1e-3)[name](model, params, code, LIMIT))
    for at in (0, 3, 16):
        alone = generators(temperature=1e-3)[name](model, params, Code(code.document[at : at + 1]), LIMIT)
        np.testing.assert_array_equal(alone[0], together[at])


def test_a_sentence_is_encoded_only_in_steps_that_end_one():
    """The loop of the word encoder is in one branch of a condition."""
    model, params, code = biased("sentence", (1.0, 0.0))
    state = bind(model, params, "start")(code, LIMIT)
    program = jax.make_jaxpr(bind(model, params, "step"))(state, jnp.zeros(17, jnp.int32))
    (condition,) = (equation for equation in program.eqns if equation.primitive.name == "cond")
    assert sum("while[" in str(branch) for branch in condition.params["branches"]) == 1
    assert str(program).count("while[") == 1


def test_a_model_that_does_not_end_its_sentences_is_decoded_sequentially():
    for ends, enough in (((2.5, 2.0), True), ((-9.0, -9.0), False)):
        model, params, code = biased("none", ends)
        assert bool(parallel_greedy(model, params, code, LIMIT)[1]) is enough
    np.testing.assert_array_equal(*both_ways("none", (-9.0, -9.0), LIMIT))


def test_a_document_that_does_not_end_its_sentence_is_filled_by_it():
    model, params, code = biased("sentence", (-99.0, -99.0))
    found, valid = parallel_greedy(model, params, code, LIMIT)
    assert bool(valid)
    assert not np.isin(found, (PAD, EOS, EOD)).any()


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["none", "sentence"])
def test_decoding_by_sentences_in_float64(name):
    np.testing.assert_array_equal(*both_ways(name, (2.5, 2.0), LIMIT))


def test_sentences_are_decoded_in_parallel_unless_they_depend_on_each_other():
    names = ("none", "sentence, attention", "word, paper")
    assert [drawn(VARIANTS[name])[0].parallel_sentences for name in names] == [PARALLEL_SENTENCES, 1, 0]


def generators(temperature=0.7):
    key = jax.random.key(3)
    return {
        "greedy": greedy,
        "sample": lambda *args: sample(*args[:3], key, temperature, 0.9, args[3]),
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
        def start(self, code, max_tokens):
            return {"code_logits": code.document @ self.project, "counts": jnp.zeros((len(code.document), self.vocab))}

        def step(self, state, token):
            counts = state["counts"] + jax.nn.one_hot(token, self.vocab)
            return {**state, "counts": counts}, self.follow[token] + state["code_logits"] - 30 * counts

    _, params, code = markov(docs=3, ends=-9.0)
    model = Counter(VOCAB, CODE)
    for text in beam_search(model, params, code, 5, 8).tolist():
        assert len(set(text)) == 8
