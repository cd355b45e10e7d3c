"""A trained model as one object: texts to codes and back, streams of texts, and what is refused."""

import itertools

import jax
import numpy as np
import pytest
from support.random_model import DATA, SHORT, SIZE, TEXTS, trained

from hae_jax.data.batches import sequential_batches
from hae_jax.data.rows import encode_text
from hae_jax.inference import text_batches
from hae_jax.inference import texts as streams
from hae_jax.inference.decoding import GREEDY, BeamSearch, Sampling
from hae_jax.inference.evaluate import evaluate
from hae_jax.inference.texts import iter_decode, iter_encode, iter_reconstruct
from hae_jax.trained import TrainedModel


def same(one, other):
    """Equal up to rounding, since batches of another shape may round differently."""
    if isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, atol=1e-5)
    else:
        assert one == other


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.mark.parametrize(
    "decoding",
    [GREEDY, Sampling(temperature=2.0, seed=3), BeamSearch(beam=3, length_penalty=1.0)],
    ids=lambda decoding: type(decoding).__name__,
)
def test_decoding_the_codes_of_texts_reconstructs_them(model, decoding):
    decoded = model.decode(model.encode(TEXTS, windows=True), decoding)
    assert decoded == model.reconstruct(TEXTS, decoding)
    assert decoded == [each.reconstruction for each in iter_reconstruct(model, TEXTS, decoding)]
    assert len(set(decoded)) > 1


def test_codes_are_rows_of_numbers(model):
    codes = model.encode(SHORT)
    assert (codes.shape, codes.dtype) == ((len(SHORT), SIZE), np.float32)
    assert len(np.unique(codes, axis=0)) == len(SHORT)
    assert model.decode(codes.tolist()) == model.decode(codes)


@pytest.mark.parametrize("docs", [1, 2, 3])
def test_results_do_not_depend_on_the_size_of_batches(model, docs, monkeypatch):
    windows, vectors = model.encode(TEXTS, windows=True), model.embed_sentences(TEXTS)
    scores, decoded = model.log_likelihood(TEXTS), model.decode(windows)
    monkeypatch.setattr(text_batches, "DOCS", docs)
    again = model.encode(TEXTS, windows=True)
    np.testing.assert_allclose(again.codes, windows.codes, atol=1e-5)
    np.testing.assert_array_equal(again.text, windows.text)
    np.testing.assert_allclose(model.log_likelihood(TEXTS), scores, rtol=1e-5)
    jax.tree.map(same, model.embed_sentences(TEXTS), vectors)
    assert model.decode(windows) == decoded == model.reconstruct(TEXTS)


def test_streams_report_the_windows_of_each_text(model):
    result = list(iter_reconstruct(model, TEXTS))
    assert [each.source for each in result] == TEXTS
    assert [each.windows for each in result] == [1, 1, 1, 1, 2]
    # Punctuation marks are tokens.
    assert [each.words for each in result] == [4 + 7 + 3, 3, 4 + 5 + 4, 18, 5 * 3]
    assert [(each.text, each.windows) for each in iter_encode(model, TEXTS)] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2)]
    every = list(iter_encode(model, TEXTS, windows=True))
    assert [(each.text, each.windows) for each in every] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (4, 2)]


@pytest.mark.parametrize("function", [iter_encode, iter_reconstruct])
def test_streams_read_one_batch_of_texts_ahead(model, monkeypatch, function):
    monkeypatch.setattr(text_batches, "DOCS", 2)
    alone = [next(function(model, [text])) for text in TEXTS]
    taken = []

    def endless():
        for text in itertools.cycle(TEXTS):
            taken.append(text)
            yield text

    found, most = [], 0
    for each in itertools.islice(function(model, endless()), 11):
        found.append(each)
        most = max(most, len(taken) - len(found))
    for i, each in enumerate(found):
        jax.tree.map(same, each, alone[i % len(TEXTS)]._replace(**({"text": i} if "text" in each._fields else {})))
    assert most == 1, "a batch is two texts"


def test_streams_number_a_blank_text_among_all(model, monkeypatch):
    monkeypatch.setattr(text_batches, "DOCS", 2)
    results = iter_reconstruct(model, [*TEXTS[:3], " "])
    assert [next(results).source, next(results).source] == TEXTS[:2]
    with pytest.raises(ValueError, match="got ' ' as text 4"):
        next(results)


def test_an_interpolation_starts_and_ends_with_the_reconstructions(model):
    path = model.interpolate(TEXTS[0], TEXTS[2], points=5)
    assert len(path) == 5
    assert [path[0], path[-1]] == model.reconstruct([TEXTS[0], TEXTS[2]])
    codes = model.encode([TEXTS[0], TEXTS[2]])
    assert path[2] == model.decode(codes.mean(0, keepdims=True))[0]


def test_an_evaluation_of_texts_has_the_mean_of_their_likelihoods(model):
    scores = model.evaluate(TEXTS)
    documents, owners = encode_text(TEXTS, model.tokenizer, DATA)
    assert scores.documents == len(documents) == 6
    direct = evaluate(model.module, model.params, sequential_batches(documents, DATA, 2), model.tokenizer)
    np.testing.assert_allclose(scores.loss, direct.loss, rtol=1e-5)
    assert scores.examples == direct.examples
    # Each sentence has an end mark.
    tokens = np.bincount(owners, [sum(len(row) + 1 for row in document) for document in documents])
    np.testing.assert_allclose(-np.average(model.log_likelihood(TEXTS), weights=tokens), scores.loss, rtol=1e-5)


def test_sentence_vectors_belong_to_the_sentences_alone(model):
    vectors = model.embed_sentences(TEXTS)
    assert [each.shape for each in vectors] == [(3, 13), (1, 13), (3, 13), (3, 13), (5, 13)]
    np.testing.assert_allclose(model.embed_sentences(["A hen."])[0][0], vectors[4][4], atol=1e-5)
    np.testing.assert_allclose(model.embed_sentences(["The fox sat."])[0][0], vectors[2][2], atol=1e-5)
    with pytest.raises(ValueError, match=r"model\.kind must be hierarchical to embed sentences, got flat"):
        trained(kind="flat").embed_sentences(TEXTS)


def test_samples_are_functions_of_their_seed(model):
    texts = [model.reconstruct(TEXTS, Sampling(temperature=3.0, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_batches_of_one_call_are_sampled_independently(model, monkeypatch):
    monkeypatch.setattr(text_batches, "DOCS", 1)
    codes = np.repeat(model.encode(TEXTS[:1]), 5, axis=0)
    assert len(set(model.decode(codes, Sampling(temperature=3.0)))) > 1


def test_texts_are_decoded_batch_by_batch(model, monkeypatch):
    monkeypatch.setattr(text_batches, "DOCS", 2)
    parts, decode_batch = [], streams.decode_batch
    monkeypatch.setattr(streams, "decode_batch", lambda *args: parts.append(args) or decode_batch(*args))
    result = iter_decode(model, model.encode(TEXTS, windows=True).codes)
    assert not parts
    next(result)
    assert len(parts) == 1
    assert len(list(result)) == 5
    assert len(parts) == 3


def test_codes_of_half_precision_models_are_stored_as_float32(tmp_path):
    model = trained(dtype="bfloat16")
    np.save(tmp_path / "codes.npy", model.encode(SHORT))
    assert model.decode(np.load(tmp_path / "codes.npy")) == model.reconstruct(SHORT)


def test_with_attention_texts_are_reconstructed_but_codes_are_not_decoded():
    model = trained(attention=True)
    assert len(model.reconstruct(TEXTS)) == len(TEXTS)
    for call in (lambda: model.decode(model.encode(SHORT)), lambda: model.interpolate(*TEXTS[:2])):
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
def test_codes_of_another_model_are_refused(model, codes, message):
    for decode in (model.decode, lambda codes: iter_decode(model, codes)):
        with pytest.raises(ValueError, match=message):
            decode(codes)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("One fox.", r"texts must be a list of strings, got one string\. Write \[text\]\."),
        (b"One fox.", r"texts must be a list of strings, got one string\. Write \[text\]\."),
        (5, r"texts must be a list of strings, got int\. Use a list\."),
        (["One fox.", 2], r"texts must be a list of strings, got int as text 2\. Use str\."),
        ([None], r"texts must be a list of strings, got NoneType as text 1\."),
        ([], "texts must hold at least one text, got none"),
        (["A cat.", " "], "text must hold at least one word, got ' ' as text 2"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "reconstruct", "evaluate", "embed_sentences", "log_likelihood"])
def test_anything_but_a_list_of_texts_is_refused(model, method, texts, message):
    function = getattr(TrainedModel, method)
    # Without the checks of types that the tests add.
    with pytest.raises(ValueError, match=message):
        getattr(function, "__wrapped__", function)(model, texts)


def test_any_iterable_of_texts_is_accepted(model):
    for texts in (tuple(SHORT), iter(SHORT), np.array(SHORT), dict.fromkeys(SHORT)):
        np.testing.assert_array_equal(model.encode(texts), model.encode(SHORT))


@pytest.mark.parametrize(
    ("decoding", "got"), [("beam", "'beam'"), (BeamSearch, "BeamSearch"), (4, "4"), (None, "None")]
)
def test_anything_but_a_decoding_method_is_refused(model, decoding, got):
    for function in (iter_decode, iter_reconstruct):
        with pytest.raises(ValueError, match=f"decoding must be a decoding method, got {got}. Use"):
            list(getattr(function, "__wrapped__", function)(model, TEXTS, decoding))


def test_an_interpolation_has_two_points_at_least(model):
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        model.interpolate(*TEXTS[:2], points=1)


def test_progress_is_shown_on_standard_error_if_requested(model, capfd):
    calls = (
        lambda **options: model.encode(SHORT, **options),
        lambda **options: model.decode(model.encode(TEXTS, windows=True), **options),
        lambda **options: model.reconstruct(SHORT, **options),
    )
    for call in calls:
        call()
        assert capfd.readouterr() == ("", "")
        call(progress=True)
        out, err = capfd.readouterr()
        assert "4/4" in err or "5/5" in err
        assert not out
