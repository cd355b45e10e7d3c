"""The cache: what is kept, what is held out, and that nothing incomplete or damaged is ever used."""

import dataclasses
import json
import re

import numpy as np
import pytest

from hae_jax.batch import PAD
from hae_jax.config import DataConfig
from hae_jax.data import cache, corpora
from hae_jax.data.cache import Dataset, prepare
from hae_jax.data.corpora import CorpusError
from hae_jax.data.documents import ARRAYS, Corpus
from hae_jax.data.manifest import CacheError, write_manifest

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven")


def address(group, paragraphs=3):
    """Paragraphs of 5 sentences, each of which starts with the name of its group."""
    return "\n\n".join(
        " ".join(f"Name{group} said {NUMBERS[(group + i + j) % 7]} things." for j in range(5))
        for i in range(paragraphs)
    )


@pytest.fixture
def config(tmp_path):
    (tmp_path / "corpus").mkdir()
    for group in range(11):
        (tmp_path / "corpus" / f"{group}.txt").write_text(address(group))
    return DataConfig(corpus=str(tmp_path / "corpus"), vocab_size=97, max_sentences=3, max_tokens=5, holdout=0.2)


def texts(corpus, tokenizer):
    return [[tokenizer.decode(ids) for ids in corpus.document(i)] for i in range(len(corpus))]


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_paragraphs_become_windows_of_rows_and_nothing_is_lost(config, tmp_path):
    data = prepare(dataclasses.replace(config, max_tokens=4), tmp_path / "data")
    # 5 sentences of 5 tokens, "Name said number things .", are 10 rows of 3 or 2: windows of 3, 3, 2 and 2 rows.
    assert [len(d) for d in texts(data.train, data.tokenizer)] == [3, 3, 2, 2] * (len(data.train) // 4)
    assert len(data.train) + len(data.heldout) == 11 * 3 * 4
    for part in (data.train, data.heldout):
        joined = [row for document in texts(part, data.tokenizer) for row in document]
        sentences = [" ".join(pair) for pair in zip(joined[::2], joined[1::2], strict=True)]
        assert all(re.fullmatch(r"(name\d+|<unk>) said (\w+|<unk>) things \.", sentence) for sentence in sentences)
        assert {len(ids) for i in range(len(part)) for ids in part.document(i)} == {2, 3}


def test_the_next_document_is_the_next_window_or_paragraph_of_the_same_address(config, tmp_path):
    config = dataclasses.replace(config, tokenizer="bpe", vocab_size=260, max_tokens=99)
    data = prepare(config, tmp_path / "data")
    for part in (data.train, data.heldout):
        number = len(part)
        following = part.next_tokens(np.arange(number), 3 * 99)
        names = [data.tokenizer.decode(part.document(i)[0]).split()[0] for i in range(number)]
        last = 0
        for i in range(number):
            found = following[i][following[i] != PAD].tolist()
            if i + 1 < number and names[i] == names[i + 1]:
                assert found == [int(token) for row in part.document(i + 1) for token in row]
            else:
                assert not found
                last += 1
        assert last == len(set(names)) > 1


def test_texts_of_a_table_have_their_own_windows_alone(config, tmp_path):
    lines = [json.dumps({"text": address(i, 1)}) for i in range(11)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    data = prepare(dataclasses.replace(config, corpus=str(tmp_path / "rows.jsonl")), tmp_path / "data")
    # Two windows each: the last one has no next document.
    known = data.train.next_tokens(np.arange(len(data.train)), 15).any(axis=1)
    assert known.tolist() == [True, False] * (len(data.train) // 2)


def old_format(folder):
    """Rewrites a cache as versions before 0.5 wrote it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for part in ("train", "heldout"):
        (folder / part / "groups").unlink()
        del manifest["files"][f"{part}/groups"]
    del manifest["types"]["groups"], manifest["checksum"], manifest["files"]
    (folder / "manifest.json").unlink()
    write_manifest(folder, manifest | {"format": 1})


def test_a_cache_without_groups_is_used_and_has_no_next_documents(config, tmp_path):
    data = prepare(config, tmp_path / "data")
    old_format(tmp_path / "data")
    before = content(tmp_path / "data")
    old = prepare(config, tmp_path / "data")
    assert content(tmp_path / "data") == before
    assert texts(old.train, old.tokenizer) == texts(data.train, data.tokenizer)
    assert old.train.groups is None
    assert not old.train.next_tokens(np.arange(len(old.train)), 15).any()
    assert data.train.next_tokens(np.arange(len(data.train)), 15).any()


def test_a_cache_of_an_unknown_format_is_refused(config, tmp_path):
    prepare(config, tmp_path / "data")
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    del manifest["checksum"], manifest["files"]
    (tmp_path / "data" / "manifest.json").unlink()
    write_manifest(tmp_path / "data", manifest | {"format": 99})
    with pytest.raises(CacheError, match=r"got another format\. Use a new folder"):
        prepare(config, tmp_path / "data")


def test_a_remainder_that_is_too_short_is_left_out(config, tmp_path):
    data = prepare(dataclasses.replace(config, min_sentences=3), tmp_path / "data")
    assert len(data.train) + len(data.heldout) == 11 * 3
    assert {len(data.train.document(i)) for i in range(len(data.train))} == {3}


def test_groups_are_held_out_as_a_whole(config, tmp_path):
    # One id a byte, so that no name is unknown.
    data = prepare(dataclasses.replace(config, tokenizer="bpe", vocab_size=260, max_tokens=99), tmp_path / "data")
    named = [{s.split()[0] for d in texts(part, data.tokenizer) for s in d} for part in (data.train, data.heldout)]
    assert [len(names) for names in named] == [9, 2]
    assert named[0].isdisjoint(named[1])


def test_the_vocabulary_comes_from_training_documents_only(config, tmp_path):
    data = prepare(config, tmp_path / "data")
    names = [s.split()[0] for d in texts(data.heldout, data.tokenizer) for s in d]
    assert set(names) == {"<unk>"}


def test_copies_of_a_text_are_never_on_both_sides(config, tmp_path):
    lines = [json.dumps({"text": address(i % 13, 1)}) for i in range(13 * 5)]
    (tmp_path / "copies.jsonl").write_text("\n".join(lines))
    config = dataclasses.replace(config, corpus=str(tmp_path / "copies.jsonl"))
    data = prepare(config, tmp_path / "data")
    assert len(data.heldout) == 2 * 5 * round(0.2 * 13)
    assert len(data.train) == 2 * 5 * 13 - len(data.heldout)


def test_sentences_without_a_word_are_dropped(config, tmp_path):
    (tmp_path / "corpus" / "0.txt").write_text(address(0).replace(". ", ". \u3000 \n"))
    data = prepare(config, tmp_path / "data")
    assert all(len(ids) for part in (data.train, data.heldout) for i in range(len(part)) for ids in part.document(i))


def test_arrays_are_memory_mapped_and_small(config, tmp_path):
    data = prepare(config, tmp_path / "data")
    for array in (data.train.tokens, data.train.sentences, data.heldout.documents):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert data.train.tokens.itemsize == 2


def test_a_cache_is_built_once(config, tmp_path, monkeypatch):
    first = prepare(config, tmp_path / "data")
    monkeypatch.setattr(corpora, "read", lambda corpus, field: pytest.fail("the corpus was read again"))
    again = prepare(dataclasses.replace(config, batch_size=3, buckets=5), tmp_path / "data")
    assert texts(again.train, again.tokenizer) == texts(first.train, first.tokenizer)


def test_two_caches_of_one_corpus_are_equal_to_the_byte(config, tmp_path):
    for name in ("one", "two/deep"):
        prepare(config, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two" / "deep")


def test_a_cache_opens_without_its_corpus(config, tmp_path):
    data = prepare(config, tmp_path / "data")
    for path in (tmp_path / "corpus").iterdir():
        path.unlink()
    loaded = Dataset.load(tmp_path / "data")
    assert texts(loaded.heldout, loaded.tokenizer) == texts(data.heldout, data.tokenizer)


def test_progress_is_reported_stage_by_stage(config, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_CHUNK", 7)
    seen = []
    prepare(config, tmp_path / "data", lambda *call: seen.append(call))
    assert list(dict.fromkeys(call[0] for call in seen)) == ["sentences", "vocabulary", "tokens"]
    assert ("sentences", 33, 33) in seen
    assert seen[-1] == ("tokens", 33, 33)


def test_an_interrupted_build_leaves_nothing(config, tmp_path):
    def stop(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "run" / "data", stop)
    assert list((tmp_path / "run").iterdir()) == []
    assert len(prepare(config, tmp_path / "run" / "data").train)


def test_the_cache_of_a_faster_process_is_used(config, tmp_path):
    def race(stage, done, total):
        if stage == "tokens":
            prepare(config, tmp_path / "data")

    data = prepare(config, tmp_path / "data", race)
    assert len(data.train) + len(data.heldout) == 66
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "data"]


@pytest.mark.parametrize("name", [f"{part}/{array}" for part in ("train", "heldout") for array in ARRAYS])
def test_a_flipped_bit_is_reported(config, tmp_path, name):
    prepare(config, tmp_path / "data")
    path = tmp_path / "data" / name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(CacheError, match=f"{name} must have the checksum .* Delete that folder"):
        prepare(config, tmp_path / "data")


@pytest.mark.parametrize("name", ["train/tokens", "tokenizer.json"])
def test_a_file_that_is_cut_off_or_missing_is_reported(config, tmp_path, name):
    prepare(config, tmp_path / "data")
    path = tmp_path / "data" / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CacheError, match=f"{name} must have {size} bytes, got {size - 1}. Delete that folder"):
        prepare(config, tmp_path / "data")
    path.unlink()
    with pytest.raises(CacheError, match=f"must hold {name}, got none"):
        prepare(config, tmp_path / "data")


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-9], lambda t: t.replace("<u2", "<u4"), lambda t: "[]", lambda t: "{}"]
)
def test_a_damaged_manifest_is_reported(config, tmp_path, damage):
    prepare(config, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CacheError, match=re.escape(f"{path} must be unchanged since it was written")):
        prepare(config, tmp_path / "data")


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.txt").write_text("mine")
    with pytest.raises(CacheError, match="must hold a manifest"):
        prepare(config, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["precious.txt"]


def test_other_options_are_reported_by_name(config, tmp_path):
    prepare(config, tmp_path / "data")
    with pytest.raises(CacheError, match=r"got another data.vocab_size, data.max_tokens. Use a new folder"):
        prepare(dataclasses.replace(config, max_tokens=6, vocab_size=31), tmp_path / "data")


def test_another_corpus_is_reported(config, tmp_path):
    prepare(config, tmp_path / "data")
    (tmp_path / "corpus" / "0.txt").write_text("Changed. Text.")
    with pytest.raises(CacheError, match="corpus must be the one that"):
        prepare(config, tmp_path / "data")


def test_a_corpus_may_move(config, tmp_path):
    prepare(config, tmp_path / "data")
    (tmp_path / "corpus").rename(tmp_path / "moved")
    prepare(dataclasses.replace(config, corpus=str(tmp_path / "moved")), tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("One.\n\nTwo.\n\nThree.", "paragraphs of at least 2 sentences, got none among 3"),
        ("One. Two.\n\nShort.", "at least 2 different texts or files"),
        ("One. Two.\n\nOne. Two.", "at least 2 different texts or files"),
    ],
)
def test_a_corpus_that_is_too_small_is_reported(config, tmp_path, text, message):
    path = tmp_path / "small.txt"
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        prepare(dataclasses.replace(config, corpus=str(path)), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_missing_corpus_makes_no_folder(config, tmp_path):
    with pytest.raises(CorpusError, match="Check the path"):
        prepare(dataclasses.replace(config, corpus=str(tmp_path / "nowhere")), tmp_path / "run" / "data")
    assert not (tmp_path / "run").exists()


def test_two_texts_are_enough(config, tmp_path):
    (tmp_path / "two.txt").write_text(f"{address(1, 1)}\n\n{address(2, 1)}")
    data = prepare(dataclasses.replace(config, corpus=str(tmp_path / "two.txt")), tmp_path / "data")
    assert [len(data.train), len(data.heldout)] == [2, 2]
    assert isinstance(data.train, Corpus)
