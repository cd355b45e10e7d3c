"""Neighbours of texts, in Python and by `hae neighbours`: whole texts, each found by its own words."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.memorized import memorized, texts

import hae_jax
from hae_jax.cli import main
from hae_jax.latent import Index, Neighbour, between, neighbours

__all__ = ["memorized"]
CORPUS = list(dict.fromkeys(texts(40, seed=5)))
SHORT = "Nobody had asked for it."


@pytest.fixture
def copy(memorized, tmp_path):
    """A copy of the workdir, and a corpus beside it."""
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"body": text}) + "\n" for text in CORPUS), encoding="utf-8"
    )
    return shutil.copytree(memorized.workdir, tmp_path / "run")


def search(capsys, workdir, *words):
    """Rows of `hae neighbours`."""
    capsys.readouterr()
    corpus = workdir.with_name("corpus.jsonl")
    code = main(["neighbours", "--workdir", str(workdir), "--corpus", str(corpus), "--data.field", "body", *words])
    written = capsys.readouterr()
    assert code == 0, written.err
    return [json.loads(line) for line in written.out.splitlines()]


def test_each_text_is_its_own_nearest_neighbour(memorized):
    found = neighbours(memorized, CORPUS, CORPUS, count=3)
    assert [[len(each), each[0].number] for each in found] == [[3, number] for number in range(len(CORPUS))]
    assert all(each[0].similarity == pytest.approx(1, abs=1e-5) for each in found)


def test_neighbours_are_those_of_the_codes(memorized):
    codes = memorized.encode(CORPUS)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    expected = np.argsort(-codes[:5] @ codes.T, axis=1, kind="stable")[:, :4]
    found = neighbours(memorized, CORPUS[:5], CORPUS, count=4, part="all")
    assert [[neighbour.number for neighbour in each] for each in found] == expected.tolist()


def test_long_queries_and_long_texts_are_compared_window_by_window(memorized):
    long = " ".join(CORPUS[1:20:6])
    (found,) = neighbours(memorized, [CORPUS[13]], [CORPUS[0], long, CORPUS[2]], count=3, part="all")
    assert sorted(neighbour.number for neighbour in found) == [0, 1, 2]
    (reverse,) = neighbours(memorized, [long], [CORPUS[0], CORPUS[13], CORPUS[2]], count=3, part="all")
    similarity = {neighbour.number: neighbour.similarity for neighbour in found}
    assert similarity[1] == pytest.approx({n.number: n.similarity for n in reverse}[1], abs=1e-5)
    (whole,) = neighbours(memorized, [long], [CORPUS[0], long], count=2, part="all")
    assert whole[0] == Neighbour(1, pytest.approx(1, abs=1e-5))


def test_a_path_leads_through_the_texts_nearest_to_points_on_the_line(memorized):
    """With codes in a plane, so that the nearest texts are known."""
    topics = memorized.encode(CORPUS, part="topic")
    first, last = topics[4], topics[9]
    shares = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    index = Index((1 - shares[:, None]) * first + shares[:, None] * last, np.arange(5), "topic")
    found = between(memorized, CORPUS[4], CORPUS[9], index, points=11)
    assert [neighbour.number for neighbour in found] == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert [round(neighbour.similarity, 4) for neighbour in found[::5]] == [1, 1, 1]
    back = between(memorized, CORPUS[9], CORPUS[4], index, points=11)
    assert [neighbour.number for neighbour in back] == [neighbour.number for neighbour in found][::-1]


def test_a_path_between_long_texts_joins_the_means_of_their_windows(memorized):
    long = " ".join(CORPUS[:6])
    windows = memorized.encode([long], part="topic", windows=True).codes
    assert len(windows) > 1
    index = Index(np.stack([windows.mean(0), windows[0]]), np.arange(2), "topic")
    found = between(memorized, long, CORPUS[0], index, points=2)
    assert found[0] == Neighbour(0, pytest.approx(1, abs=1e-5))


def test_the_command_adds_the_nearest_texts_to_an_interpolation(copy, capsys):
    corpus, ends = copy.with_name("corpus.jsonl"), [CORPUS[2], CORPUS[8]]
    words = ["interpolate", "--workdir", str(copy), "--corpus", str(corpus), "--data.field", "body", "--points", "3"]
    capsys.readouterr()
    assert main([*words, *ends]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(row) for row in rows] == [["share", "reconstruction", "nearest"]] * 3
    assert [rows[0]["nearest"], rows[-1]["nearest"]] == ends
    assert rows[1]["nearest"] in CORPUS


def test_the_command_prints_texts_and_encodes_the_corpus_once(copy, capsys, monkeypatch):
    rows = search(capsys, copy, "--count", "2", CORPUS[7], CORPUS[3])
    assert [(row["query"], row["rank"]) for row in rows[::2]] == [(CORPUS[7], 1), (CORPUS[3], 1)]
    assert [(row["number"], row["text"]) for row in rows[::2]] == [(7, CORPUS[7]), (3, CORPUS[3])]
    assert [row["rank"] for row in rows] == [1, 2, 1, 2]
    assert all(row["text"] == CORPUS[row["number"]] for row in rows)
    monkeypatch.setattr(Index, "build", None)
    assert search(capsys, copy, "--count", "2", CORPUS[7], CORPUS[3]) == rows


def test_the_command_reads_texts_from_a_file(copy, capsys):
    (copy.parent / "queries.csv").write_text(f"body\n{CORPUS[5]}\n{CORPUS[6]}\n", encoding="utf-8")
    rows = search(capsys, copy, "--count", "1", "--input", str(copy.parent / "queries.csv"), CORPUS[4])
    assert [row["number"] for row in rows] == [4, 5, 6]


def test_another_corpus_has_another_index(copy, capsys):
    search(capsys, copy, SHORT)
    before = set((copy / "index").iterdir())
    corpus = copy.with_name("corpus.jsonl")
    corpus.write_text(corpus.read_text(encoding="utf-8") + json.dumps({"body": SHORT}) + "\n", encoding="utf-8")
    rows = search(capsys, copy, SHORT, "--count", "1")
    assert [row["number"] for row in rows] == [len(CORPUS)]
    assert len(set((copy / "index").iterdir()) - before) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A text.", "--count", "0"], "count must be at least 1, got 0. "),
        (["A text.", "--part", "tpoic"], "--part must be one of all, order, topic, got 'tpoic'. Did you mean topic?"),
        ([], "texts must hold at least one text, got none. "),
        ([" "], "text must hold at least one word, got ' ' as text 1. "),
        (["A text.", "--data.field", "text"], "data.field must be one of body in "),
    ],
)
def test_bad_input_is_refused_in_one_line(copy, capsys, words, message):
    corpus = str(copy.with_name("corpus.jsonl"))
    field = [] if "--data.field" in words else ["--data.field", "body"]
    assert main(["neighbours", "--workdir", str(copy), "--corpus", corpus, *field, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_index_of_another_part_is_refused(memorized):
    index = Index(memorized.encode(CORPUS[:2]), np.arange(2), "all")
    assert neighbours(memorized, CORPUS[:1], index, 1)[0][0].number == 0
    with pytest.raises(ValueError, match=r"part must be that of the index \(all\), got order\. "):
        neighbours(memorized, CORPUS[:1], index, 1, "order")


def test_the_package_is_imported_when_it_is_first_used():
    code = "import sys, hae_jax; print('jax' in sys.modules, hae_jax.latent.neighbours.__name__)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["False", "neighbours"]
    assert hae_jax.latent.Index is Index
