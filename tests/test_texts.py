import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hae_jax.config import DataConfig, ModelConfig
from hae_jax.data.batches import encode_text, sequential_batches
from hae_jax.data.text import Tokenizer
from hae_jax.inference import texts as module
from hae_jax.inference.decoding import Decoding
from hae_jax.inference.texts import decode, encode, encodings, interpolate, reconstruct
from hae_jax.models import build
from hae_jax.models.outputs import Code

TEXTS = [
    "The cat sat. The dog ran away from it! It rained.",
    "One fox.",
    "A dog ran. A cat ran away. The fox sat.",
    "It rained on the cat and on the dog and on the fox and on and on.",
    "A fox. A dog. A cat. A gnu. A hen.",
]
CONFIG = DataConfig(max_sentences=3, max_tokens=7)
SIZE = 19


def trained(**options):
    """A model with parameters large enough for each code to say something else."""
    tokenizer = Tokenizer.train(TEXTS, "word", 50)
    config = ModelConfig(embed_dim=11, hidden_dim=13, sentence_dim=SIZE, sentence_loss=0.0, **options)
    model = build(config, tokenizer.vocab_size)
    batch = next(sequential_batches(encode_text(TEXTS, tokenizer, CONFIG)[0], CONFIG, 5))[0]
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), batch)["params"], np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.7, x.shape).astype(np.float32), shapes)
    return model, params, tokenizer, CONFIG


def same(one, other):
    """Numbers need not be the same to the last bit where batches differ."""
    if isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, atol=1e-5)
    else:
        assert one == other


@pytest.fixture(scope="module")
def use():
    return trained()


@pytest.mark.parametrize(
    "decoding",
    [Decoding(), Decoding("sample", temperature=2.0, seed=3), Decoding("beam", beam=3, length_penalty=1.0)],
    ids=lambda decoding: decoding.method,
)
def test_decoding_the_codes_of_texts_reconstructs_them(use, decoding):
    there_and_back = list(decode(*use, encode(*use, TEXTS), decoding))
    assert there_and_back == [each.reconstruction for each in reconstruct(*use, TEXTS, decoding)]
    assert len(set(there_and_back)) > 1


def test_codes_are_rows_of_numbers(use):
    codes = encode(*use, TEXTS)
    assert (codes.shape, codes.dtype) == ((len(TEXTS), SIZE), np.float32)
    assert len(np.unique(codes, axis=0)) == len(TEXTS)


@pytest.mark.parametrize("docs", [1, 2, 3])
def test_it_does_not_matter_how_many_texts_go_at_once(use, docs, monkeypatch):
    together, written = encode(*use, TEXTS), list(decode(*use, encode(*use, TEXTS)))
    monkeypatch.setattr(module, "DOCS", docs)
    np.testing.assert_allclose(encode(*use, TEXTS), together, atol=1e-5)
    assert list(decode(*use, together)) == written == [each.reconstruction for each in reconstruct(*use, TEXTS)]


def test_reconstructions_stand_beside_their_sources_and_tell_what_was_cut_off(use):
    result = list(reconstruct(*use, TEXTS))
    assert [each.source for each in result] == TEXTS
    assert [each.truncated for each in result] == [False, False, False, True, True]
    assert [each.truncated for each in encodings(*use, TEXTS)] == [False, False, False, True, True]
    # Points count as words; of the last two, 7 words of a sentence and 3 sentences are read.
    assert [each.words for each in result] == [4 + 7 + 3, 3, 4 + 5 + 4, 7, 3 + 3 + 3]


@pytest.mark.parametrize("function", [encodings, reconstruct])
def test_texts_are_taken_when_it_is_their_turn_and_results_come_before_the_next_are(use, monkeypatch, function):
    monkeypatch.setattr(module, "DOCS", 2)
    alone = [next(function(*use, [text])) for text in TEXTS]
    taken = []

    def endless():
        for text in itertools.cycle(TEXTS):
            taken.append(text)
            yield text

    found, most = [], 0
    for each in itertools.islice(function(*use, endless()), 11):
        found.append(each)
        most = max(most, len(taken) - len(found))
    for i, each in enumerate(found):
        jax.tree.map(same, each, alone[i % len(TEXTS)])
    assert most == 1, "a part is two texts"


def test_a_blank_text_is_told_by_its_number_among_all(use, monkeypatch):
    monkeypatch.setattr(module, "DOCS", 2)
    results = reconstruct(*use, [*TEXTS[:3], " "])
    assert [next(results).source, next(results).source] == TEXTS[:2]
    with pytest.raises(ValueError, match="got ' ' as text 4"):
        next(results)


def test_an_interpolation_leads_from_one_reconstruction_to_the_other(use):
    path = interpolate(*use, TEXTS[0], TEXTS[2], points=5)
    assert len(path) == 5
    assert [path[0], path[-1]] == [each.reconstruction for each in reconstruct(*use, [TEXTS[0], TEXTS[2]])]
    codes = encode(*use, [TEXTS[0], TEXTS[2]])
    assert path[2] == next(decode(*use, codes.mean(0, keepdims=True)))


def test_samples_depend_on_their_seed_alone(use):
    texts = [list(reconstruct(*use, TEXTS, Decoding("sample", temperature=3.0, seed=seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_each_part_of_many_codes_is_sampled_anew(use, monkeypatch):
    monkeypatch.setattr(module, "DOCS", 1)
    codes = np.repeat(encode(*use, TEXTS[:1]), 5, axis=0)
    assert len(set(decode(*use, codes, Decoding("sample", temperature=3.0)))) > 1


def test_what_the_first_codes_say_does_not_wait_for_the_others(use, monkeypatch):
    monkeypatch.setattr(module, "DOCS", 2)
    parts, write = [], module.write
    monkeypatch.setattr(module, "write", lambda *args: parts.append(args) or write(*args))
    result = decode(*use, encode(*use, TEXTS))
    assert not parts
    next(result)
    assert len(parts) == 1
    assert [next(result) for _ in TEXTS[1:]]
    assert len(parts) == 3


def test_codes_of_half_precision_models_go_through_float32(tmp_path):
    use = trained(dtype="bfloat16")
    np.save(tmp_path / "codes.npy", encode(*use, TEXTS))
    result = decode(*use, np.load(tmp_path / "codes.npy"))
    assert list(result) == [each.reconstruction for each in reconstruct(*use, TEXTS)]


def test_with_attention_texts_go_through_but_codes_alone_do_not():
    use = trained(attention=True)
    assert len(list(reconstruct(*use, TEXTS))) == len(TEXTS)
    for call in (lambda: decode(*use, encode(*use, TEXTS)), lambda: interpolate(*use, *TEXTS[:2])):
        with pytest.raises(ValueError, match="codes must come with the encoder's sentence states"):
            call()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, SIZE + 1), np.float32), r"shape \[any, 19\], got float32 of shape \[2, 20\]"),
        (np.zeros(SIZE, np.float32), r"got float32 of shape \[19\]"),
        (np.full((2, SIZE), "a"), r"got <U1 of shape \[2, 19\]"),
        (np.full((2, SIZE), np.nan), "codes must be finite"),
    ],
)
def test_codes_of_another_model_are_refused(use, codes, message):
    with pytest.raises(ValueError, match=message):
        decode(*use, codes)


def test_texts_that_say_nothing_are_refused(use):
    with pytest.raises(ValueError, match="texts must hold at least one text, got none"):
        encode(*use, [])
    with pytest.raises(ValueError, match="text must hold at least one word, got ' ' as text 2"):
        list(reconstruct(*use, ["A cat.", " "]))
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        interpolate(*use, *TEXTS[:2], points=1)


def test_an_unknown_method_is_refused(use):
    unknown = SimpleNamespace(method="gready")
    with pytest.raises(ValueError, match="method must be greedy, sample or beam, got 'gready'"):
        Decoding.__call__(unknown, *use[:2], Code(jnp.zeros((2, SIZE))), 5)
