"""Exact search among codes: equal to brute force, in blocks, from a file that appears when it is complete."""

import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_texts import SIZE, TEXTS, trained

from hae_jax.latent import Index, index
from hae_jax.latent.index import FILES, cache_name


@pytest.fixture(scope="module")
def model():
    return trained()


def alone(codes):
    """An index in which each code is a text."""
    return Index(codes, np.arange(len(codes)))


def brute_force(codes, numbers, queries, count):
    """The nearest texts by all cosines in float64."""
    unit = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-30) for each in (codes, queries)]
    cosines = unit[1].astype(np.float64) @ unit[0].astype(np.float64).T
    texts = np.unique(numbers)
    best = np.stack([cosines[:, numbers == text].max(1) for text in texts], axis=1)
    order = np.argsort(-best, axis=1, kind="stable")[:, :count]
    return texts[order], np.take_along_axis(best, order, axis=1)


@pytest.mark.parametrize("block", [1, 40, 700, 1 << 24])
@pytest.mark.parametrize("chunk", [1, 256])
def test_a_search_is_that_of_scikit_learn(rng, monkeypatch, block, chunk):
    sklearn = pytest.importorskip("sklearn.neighbors")
    monkeypatch.setattr(index, "BLOCK", block)
    monkeypatch.setattr(index, "QUERIES", chunk)
    codes, queries = rng.normal(size=(300, 7)).astype(np.float32), rng.normal(size=(5, 7))
    found = alone(codes).query(queries, count=6)
    other = sklearn.NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(codes.astype(np.float64))
    distance, number = other.kneighbors(queries)
    np.testing.assert_array_equal(found.number, number)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-6)


@pytest.mark.parametrize("block", [1, 40, 700, 1 << 24])
def test_a_text_is_as_near_as_its_nearest_window(rng, monkeypatch, block):
    monkeypatch.setattr(index, "BLOCK", block)
    numbers = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    codes = rng.normal(size=(len(numbers), 5)).astype(np.float32)
    queries = rng.normal(size=(9, 5))
    found, expected = Index(codes, numbers).query(queries, count=7), brute_force(codes, numbers, queries, 7)
    np.testing.assert_array_equal(found.number, expected[0])
    np.testing.assert_allclose(found.similarity, expected[1], atol=1e-6)


@pytest.mark.parametrize("block", [1, 30, 1 << 24])
def test_equally_near_texts_are_in_the_order_of_their_numbers(rng, monkeypatch, block):
    monkeypatch.setattr(index, "BLOCK", block)
    codes = np.tile(rng.normal(size=(3, 6)).astype(np.float32), (20, 1))
    found = alone(codes).query(codes[1:2], count=25)
    assert found.number[0, :20].tolist() == list(range(1, 60, 3))
    assert len(set(found.similarity[0, :20])) == 1
    assert found.similarity[0, 0] == pytest.approx(1)


def test_differences_below_the_rounding_of_float32_decide():
    """The second vector is nearer by 1e-9, which a product in float32 does not show."""
    codes = np.array([[1.0, 3e-4], [1.0, 2.9e-4], [0.0, 1.0]], np.float32)
    assert alone(codes).query(np.array([[1.0, 0.0]]), count=2).number.tolist() == [[1, 0]]


def test_lengths_of_codes_do_not_matter_and_zeros_are_near_to_nothing(rng):
    codes, queries = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(2, 4))
    codes[7] = 0
    scaled = codes * rng.uniform(0.1, 1e3, (30, 1)).astype(np.float32)
    one, other = alone(codes).query(queries, 30), alone(scaled).query(5 * queries, 30)
    np.testing.assert_array_equal(one.number, other.number)
    assert one.similarity[one.number == 7].tolist() == [0.0, 0.0]
    assert alone(codes).query(np.zeros((1, 4)), 3).similarity.tolist() == [[0.0, 0.0, 0.0]]


def test_an_index_with_fewer_texts_returns_all(rng):
    codes = rng.normal(size=(3, 4)).astype(np.float32)
    found = alone(codes).query(codes, count=10)
    assert found.number.shape == found.similarity.shape == (3, 3)
    assert found.number[:, 0].tolist() == [0, 1, 2]
    assert alone(codes).query(codes[:0], count=10).number.shape == (0, 3)


def test_a_search_needs_the_memory_of_a_block(rng, tmp_path, monkeypatch):
    rows, size = 120_000, 64
    codes = np.lib.format.open_memmap(tmp_path / FILES[0], "w+", np.float32, (rows, size))
    for start in range(0, rows, 10_000):
        codes[start : start + 10_000] = rng.normal(size=(10_000, size))
    codes.flush()
    np.save(tmp_path / FILES[1], np.arange(rows))
    monkeypatch.setattr(index, "BLOCK", 1 << 17)
    stored = Index.load(tmp_path)
    assert isinstance(stored.codes, np.memmap)
    tracemalloc.start()
    found = stored.query(np.asarray(codes[[5, 119_999]]), count=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.number[:, 0].tolist() == [5, 119_999]
    # The codes are 31 MB; one number of each text's place, and blocks of 0.5 MB, are held.
    assert peak < 3 * rows * 8 + 8 * 4 * (1 << 17)
    assert peak < codes.nbytes / 3


def test_an_index_holds_the_codes_of_all_windows(model, tmp_path):
    built = Index.build(model, iter(TEXTS), tmp_path / "index")
    windows = model.encode(TEXTS, windows=True)
    assert len(windows.text) > len(TEXTS)
    np.testing.assert_allclose(built.codes, windows.codes, atol=1e-6)
    np.testing.assert_array_equal(built.numbers, windows.text)
    assert (built.codes.shape[1], built.codes.dtype) == (SIZE, np.float32)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["codes.npy", "index", "numbers.npy"]
    again = Index.load(tmp_path / "index")
    np.testing.assert_array_equal(again.codes, np.load(tmp_path / "index" / "codes.npy"))


def test_an_interrupted_build_leaves_nothing(model, tmp_path):
    def texts():
        yield from TEXTS * 40
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index.build(model, texts(), tmp_path / "index")
    with pytest.raises(ValueError, match="at least one text, got none"):
        Index.build(model, [], tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_the_header_has_the_same_length_for_any_number_of_rows(tmp_path):
    lengths = set()
    for rows in (0, 1, 10**6, 10**12):
        with (tmp_path / "header").open("wb") as stream:
            index._write_header(stream, rows, 1024)
            lengths.add(stream.tell())
    assert len(lengths) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_index_is_refused(model, tmp_path, name):
    Index.build(model, TEXTS, tmp_path / "index")
    path = tmp_path / "index" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"index must hold whole \.npy files, got .+index\. Remove it to build"):
        Index.load(tmp_path / "index")


def test_the_name_of_a_stored_index_depends_on_model_corpus_and_part(model, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("One text.", encoding="utf-8")
    first = cache_name(model, str(corpus), "text", "all")
    assert first == cache_name(trained(), str(corpus), "text", "all")
    other = replace(model, params=jax.tree.map(lambda x: x + np.float32(1e-3), model.params))
    names = {first, cache_name(other, str(corpus), "text", "all"), cache_name(model, str(corpus), "text", "order")}
    names.add(cache_name(model, str(corpus), "body", "all"))
    corpus.write_text("Another text.", encoding="utf-8")
    names.add(cache_name(model, str(corpus), "text", "all"))
    assert len(names) == 5


@pytest.mark.parametrize(
    ("codes", "count", "message"),
    [
        (np.zeros((1, 4)), 0, "count must be at least 1, got 0"),
        (np.zeros((1, 5)), 3, r"codes must have shape \[any, 4\], got \[1, 5\]"),
    ],
)
def test_invalid_queries_are_refused(codes, count, message):
    with pytest.raises(ValueError, match=message):
        alone(np.eye(4, dtype=np.float32)).query(codes, count)
