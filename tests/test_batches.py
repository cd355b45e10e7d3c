"""Batches: nothing lost, nothing twice, nothing out of place; and the same ones in every process."""

import dataclasses
import hashlib
import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.config import DataConfig
from hae_jax.data import batches
from hae_jax.data.batches import Batches, sequential_batches
from hae_jax.data.bucketing import ROWS, optimal_widths, pack
from hae_jax.data.documents import Corpus
from hae_jax.data.stream import StreamBatcher

CONFIG = DataConfig(max_sentences=7, max_tokens=13, batch_size=5, buckets=3)
sizes = st.lists(st.lists(st.integers(1, 13), min_size=1, max_size=7), min_size=1, max_size=43)


def documents_of(lengths):
    """Documents whose sentences have those lengths; no id occurs twice."""
    ids = itertools.count(EOD + 1)
    return [[[next(ids) for _ in range(length)] for length in document] for document in lengths]


def random_documents(number, seed=3, config=CONFIG):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, config.max_sentences + 1, number)
    return documents_of([rng.integers(1, config.max_tokens + 1, count).tolist() for count in counts])


def read_back(batch):
    """The documents of a batch by the definition of `Batch`, with end marks; each row must be used once at most."""
    stacked = [row.tolist() for table in batch.buckets for row in table]
    used = [slot for slot in batch.row_index.ravel().tolist() if slot >= 0]
    assert len(used) == len(set(used))
    assert all(not any(stacked[row]) for row in set(range(len(stacked))) - set(used))
    return [[stacked[slot] for slot in document if slot >= 0] for document in batch.row_index.tolist()]


def with_marks(document):
    marks = [EOS] * (len(document) - 1) + [EOD]
    return [[*ids, mark] for ids, mark in zip(document, marks, strict=True)]


def without_padding(rows):
    """Rows without the padding behind them; there must be none between words."""
    for row in rows:
        kept = [word for word in row if word != PAD]
        assert row == kept + [PAD] * (len(row) - len(kept))
        yield kept


def test_a_batch_reads_as_its_documents():
    documents = [[[5, 6], [7]], [[8, 9, 10]]]
    batch, real = next(sequential_batches(documents, DataConfig(max_sentences=2, max_tokens=3, buckets=1), 3))
    assert real == 2
    (table,) = batch.buckets
    # The shortest sentences come first.
    assert table[:3].tolist() == [[7, EOD, PAD, PAD], [5, 6, EOS, PAD], [8, 9, 10, EOD]]
    assert not table[3:].any()
    assert batch.row_index.tolist() == [[1, 0], [2, -1], [-1, -1]]
    assert table.dtype == batch.row_index.dtype == np.int32


@given(sizes, st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32), st.integers(0, 10**6))
def test_every_sentence_is_stored_once_in_its_row(lengths, size, buckets, seed, step):
    documents = documents_of(lengths)
    config = DataConfig(max_sentences=7, max_tokens=13, batch_size=size, buckets=buckets)
    data = Batches(Corpus.from_documents(documents), config, seed)
    batch = data.batch(step)
    for number, rows in zip(data.documents(step), read_back(batch), strict=True):
        assert list(without_padding(rows)) == with_marks(documents[number])
    assert batch.row_index.shape == (size, 7)
    assert len(batch.buckets) <= buckets
    assert all(len(table) % ROWS == 0 for table in batch.buckets)
    assert batch.buckets[-1].shape[1] == 13 + 1


@given(sizes, st.integers(1, 7), st.integers(0, 10**6))
def test_training_batches_have_the_next_document_of_each_group(lengths, size, step):
    documents = documents_of(lengths)
    config = DataConfig(max_sentences=7, max_tokens=13, batch_size=size)
    groups = np.arange(len(documents)) // 3
    corpus = dataclasses.replace(Corpus.from_documents(documents), groups=groups)
    batch = Batches(corpus, config, 0).batch(step)
    assert (batch.next_tokens.shape, batch.next_tokens.dtype) == ((size, 7 * 13), np.int32)
    for number, row in zip(Batches(corpus, config, 0).documents(step), batch.next_tokens.tolist(), strict=True):
        following = [] if number % 3 == 2 or number + 1 == len(documents) else documents[number + 1]
        ids = [token for sentence in following for token in sentence]
        assert row == ids + [PAD] * (7 * 13 - len(ids))


def test_only_training_batches_have_next_documents():
    corpus = Corpus.from_documents(random_documents(11))
    assert not Batches(corpus, CONFIG, 0).batch(0).next_tokens.any(), "the groups are unknown"
    assert next(sequential_batches(corpus, CONFIG, 3))[0].next_tokens is None
    assert StreamBatcher(CONFIG).batch(random_documents(3)).next_tokens is None


@given(sizes, st.integers(1, 7), st.integers(1, 5))
def test_documents_in_order_lose_nothing(lengths, size, buckets):
    documents = documents_of(lengths)
    config = DataConfig(max_sentences=7, max_tokens=13, buckets=buckets)
    seen, shapes = [], set()
    for batch, real in sequential_batches(documents, config, size):
        rows = read_back(batch)
        assert not any(rows[real:])
        seen += [list(without_padding(document)) for document in rows[:real]]
        shapes.add((batch.row_index.shape, *(table.shape for table in batch.buckets)))
    assert seen == [with_marks(document) for document in documents]
    assert len(shapes) == 1


@given(sizes, st.integers(1, 7), st.integers(1, 5))
def test_parts_of_a_stream_lose_nothing_and_have_few_shapes(lengths, size, buckets):
    # The shortest documents first: every part needs more room than the one before it.
    documents = documents_of(sorted(lengths, key=lambda document: (len(document), sum(document))))
    room, seen, shapes = StreamBatcher(DataConfig(max_sentences=7, max_tokens=13, buckets=buckets)), [], []
    for start in range(0, len(documents), size):
        batch = room.batch(documents[start : start + size])
        rows = read_back(batch)
        assert len(rows) == min(size, len(documents))
        seen += [list(without_padding(document)) for document in rows if document]
        shapes.append([len(table) for table in batch.buckets])
    assert seen == [with_marks(document) for document in documents]
    assert all(before <= after for before, after in itertools.pairwise(map(sum, shapes)))


def test_a_stream_soon_has_the_shape_that_it_keeps():
    room, shapes = StreamBatcher(CONFIG), set()
    for seed in range(200):
        batch = room.batch(random_documents(64, seed))
        shapes.add(tuple(len(table) for table in batch.buckets))
    assert len(shapes) <= 3


@given(st.integers(1, 97), st.integers(1, 11), st.integers(0, 5))
def test_each_epoch_visits_each_document_once(number, size, seed):
    config = DataConfig(max_sentences=7, max_tokens=13, batch_size=size)
    data = Batches(Corpus.from_documents(random_documents(number)), config, seed)
    seen = np.concatenate([data.documents(step) for step in range(3 * number // size + 1)])
    for epoch in range(3):
        assert sorted(seen[epoch * number : (epoch + 1) * number]) == list(range(number))


def test_epochs_and_seeds_differ():
    corpus = Corpus.from_documents(random_documents(101))
    orders = set()
    for seed in (0, 1):
        data = Batches(corpus, CONFIG, seed)
        orders |= {tuple(np.concatenate([data.documents(first + i) for i in range(20)])) for first in (0, 101)}
    assert len(orders) == 4


def test_a_batch_depends_on_seed_and_step_only():
    corpus = Corpus.from_documents(random_documents(103))
    forwards, backwards = Batches(corpus, CONFIG, 17), Batches(corpus, CONFIG, 17)
    there = [forwards.batch(step) for step in range(50)]
    for step in reversed(range(50)):
        again = backwards.batch(step)
        np.testing.assert_array_equal(again.row_index, there[step].row_index)
        for one, other in zip(again.buckets, there[step].buckets, strict=True):
            np.testing.assert_array_equal(one, other)


DIGEST = """
import hashlib
import numpy as np
from hae_jax.config import DataConfig
from hae_jax.data.batches import Batches
from hae_jax.data.documents import Corpus
corpus = Corpus.from_documents([[[4 + i] * (1 + (i * j) % 11) for j in range(1 + i % 7)] for i in range(67)])
data = Batches(corpus, DataConfig(max_sentences=7, max_tokens=13, batch_size=5, buckets=3), 29)
arrays = [array for step in (0, 13, 999) for array in (*data.batch(step).buckets, data.batch(step).row_index)]
digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
"""


def test_batches_are_the_same_in_every_process():
    here: dict[str, object] = {}
    exec(DIGEST, here)
    program = DIGEST + "print(digest)"
    there = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    assert there == here["digest"]
    assert len(there) == hashlib.sha256().digest_size * 2


def test_each_batch_takes_one_document_of_each_length():
    corpus = Corpus.from_documents(documents_of([[3] * (1 + i % 5) for i in range(5 * 23)]))
    data = Batches(corpus, DataConfig(max_sentences=5, max_tokens=13, batch_size=5), 0)
    for step in range(100):
        assert sorted(len(corpus.document(i)) for i in data.documents(step)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("spare", [batches.SPARE, -3.0])
def test_a_run_has_two_shapes_at_most(spare, monkeypatch):
    monkeypatch.setattr(batches, "SPARE", spare)
    data = Batches(Corpus.from_documents(random_documents(211)), CONFIG, 5)
    shapes = {tuple(table.shape for table in data.batch(step).buckets) for step in range(300)}
    assert len(shapes) == (1 if spare > 0 else 2)
    widest = max(shapes)[-1]
    assert widest[0] <= 40  # 5 documents of 7 sentences, rounded up to a multiple of 8


def test_a_full_table_spills_into_the_next():
    # 9 sentences of one word for a table of 8 rows; the ninth spills into the wider one.
    corpus = Corpus.from_documents([[[5 + i]] for i in range(9)])
    batch = pack(corpus, np.arange(9), (2, 5), (8, 8), 9, 1)
    assert [table.shape for table in batch.buckets] == [(8, 2), (8, 5)]
    assert batch.row_index.ravel().tolist() == list(range(9))
    assert batch.buckets[1][0].tolist() == [13, EOD, PAD, PAD, PAD]


def test_the_widest_table_grows_when_it_overflows():
    corpus = Corpus.from_documents([[[5, 6, 7, 8]]] * 11)
    batch = pack(corpus, np.arange(11), (2, 5), (8, 8), 11, 1)
    assert [table.shape for table in batch.buckets] == [(8, 2), (16, 5)]
    assert batch.row_index.ravel().tolist() == list(range(8, 19))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=11), st.integers(1, 4))
def test_widths_are_the_best_of_all(counts, buckets):
    histogram = np.array([0, *counts])
    last = len(histogram) - 1

    def cells(widths):
        return sum(n * min(w for w in widths if w >= length) for length, n in enumerate(histogram) if n)

    every = (
        (*narrower, last) for k in range(buckets) for narrower in itertools.combinations(range(1, last), k)
    )  # all ways to choose at most `buckets` widths
    found = optimal_widths(histogram, buckets)
    assert found[-1] == last
    assert len(found) <= buckets
    assert list(found) == sorted(set(found))
    assert cells(found) == min(cells(widths) for widths in every)


def test_sentences_of_one_length_need_one_more_table_at_most():
    assert optimal_widths(np.array([0, 0, 0, 7]), 5) == (3,)
    assert optimal_widths(np.array([0, 0, 7, 0]), 5) == (2, 3)


def test_most_cells_are_words():
    config = DataConfig(max_sentences=4, max_tokens=16, buckets=3)
    data = Batches(Corpus.from_documents(random_documents(3001, config=config)), config, 0)
    tables = [table for step in range(50) for table in data.batch(step).buckets]
    assert sum((table != PAD).sum() for table in tables) / sum(table.size for table in tables) > 0.6


def test_a_batch_of_32_takes_less_than_3_milliseconds():
    config = DataConfig()
    data = Batches(Corpus.from_documents(random_documents(5003, config=config)), config, 0)
    seconds = []
    for step in range(100):
        start = time.perf_counter()
        data.batch(step)
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 3e-3


def test_no_documents_make_no_batches():
    assert list(sequential_batches([], CONFIG, 3)) == []
    with pytest.raises(ValueError, match="at least one document, got none"):
        Batches(Corpus.from_documents([]), CONFIG, 0)


def test_a_document_without_sentences_is_spare_room():
    batch, real = next(sequential_batches([[], [[5]]], CONFIG, 2))
    assert real == 2
    assert (batch.row_index[0] == -1).all()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([[5]] * 8, r"at most 7 sentences \(data.max_sentences\), got 8"),
        ([[5] * 14], r"at most 13 tokens a sentence \(data.max_tokens\), got 14"),
    ],
)
def test_a_document_that_is_too_large_is_reported(document, message):
    with pytest.raises(ValueError, match=message):
        list(sequential_batches([document], CONFIG, 2))
    with pytest.raises(ValueError, match=message):
        Batches(Corpus.from_documents([document]), CONFIG, 0)


def test_a_negative_step_is_reported():
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        Batches(Corpus.from_documents([[[5]]]), CONFIG, 0).batch(-1)
