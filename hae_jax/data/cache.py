"""A corpus as token ids in memory-mapped files, built once and checked whenever it is opened."""

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

from hae_jax.config import DataConfig
from hae_jax.config.migration import migrate
from hae_jax.data import corpora
from hae_jax.data.corpora import CorpusError
from hae_jax.data.documents import Corpus
from hae_jax.data.text import Tokenizer, split_sentences

Progress = Callable[[str, int, int | None], None]
"""Called now and then with the name of the stage, the paragraphs done, and how many there are if that is known."""

FORMAT = 1
_CHUNK = 1000
_ARRAYS = ("tokens", "sentences", "documents")


class CacheError(ValueError):
    """A store is damaged, or was built for another corpus or other options."""


@dataclass(frozen=True)
class Dataset:
    """What `prepare` leaves in the run's folder."""

    tokenizer: Tokenizer
    train: Corpus
    heldout: Corpus

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Opens a store without a look at the corpus that it came from.

        Raises:
            StoreError: if it is missing or damaged.
        """
        manifest = _manifest(folder)
        for name in manifest["files"]:
            _check(folder, name, manifest)
        parts = (
            Corpus(*(np.memmap(folder / part / name, manifest["types"][name], "r") for name in _ARRAYS))
            for part in ("train", "heldout")
        )
        return cls(Tokenizer.load(folder / "tokenizer.json"), *parts)


_REPAIR = "Delete that folder; it is then built again."


def load_tokenizer(folder: Path) -> Tokenizer:
    """Opens the tokenizer of a store, after making sure that it is the one the store was built with.

    Raises:
        StoreError: if it is missing or another one, even one of the same size.
    """
    _check(folder, "tokenizer.json", _manifest(folder))
    return Tokenizer.load(folder / "tokenizer.json")


def prepare(config: DataConfig, folder: Path, progress: Progress | None = None) -> Dataset:
    """Opens the store in `folder`, after building it if there is none.

    Paragraphs are split into sentences and tokenized; a sentence is cut after `max_tokens` tokens, a paragraph of more
    than `max_sentences` sentences becomes several documents, of which a last one shorter than `min_sentences` is left
    out. Groups are held out as a whole, those whose names have the lowest hashes; the tokenizer sees the others only.
    The store appears all at once when it is complete, and is the same for the same corpus and options.

    Args:
        config: the corpus and how to cut it; `batch_size` and `buckets` do not matter here.
        folder: the store's own folder; it does not exist yet, or is empty, or was filled by this function.
        progress: told how far the work is.

    Raises:
        CorpusError: if the corpus cannot be read, or is too small to learn from.
        TokenizerError: if `vocab_size` is too small for the tokenizer.
        StoreError: if the store is damaged, or was built for another corpus or other options.
    """
    wanted: dict[str, Any] = {"format": FORMAT, "corpus": corpora.identity(config.corpus), "options": _options(config)}
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            _build(config, Path(temporary), wanted, progress or (lambda stage, done, total: None))
            try:
                os.replace(Path(temporary) / "store", folder)
            except OSError:
                # Another process of the same run was faster; what it built is checked below like any other.
                if not (folder / "manifest.json").is_file():
                    raise
    found = _manifest(folder)
    stored = migrate("data", found["options"])
    changed = [name for name, value in wanted["options"].items() if stored.get(name) != value]
    if changed or found["format"] != FORMAT:
        raise CacheError(
            f"data options must stay as they were when {folder} was built, got another "
            f"{', '.join(f'data.{name}' for name in changed) or 'format'}. Use a new folder."
        )
    if found["corpus"] != wanted["corpus"]:
        raise CacheError(
            f"corpus must stay as it was when {folder} was built, got other files in {config.corpus}. Use a new folder."
        )
    return Dataset.load(folder)


def _options(config: DataConfig) -> dict[str, object]:
    # `corpus` is a path, which may be written in many ways: its identity stands for it.
    without = ("corpus", "batch_size", "buckets")
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in without}


def _build(config: DataConfig, work: Path, wanted: dict[str, Any], progress: Progress) -> None:
    sentences, store = work / "sentences.jsonl", work / "store"
    groups, total = _split(config, sentences, progress)
    heldout = set(sorted(groups)[: min(max(1, round(config.holdout * len(groups))), len(groups) - 1)])

    def texts() -> Iterator[str]:
        for done, (group, paragraph) in enumerate(_stored(sentences), 1):
            if group not in heldout:
                yield from paragraph
            if done % _CHUNK == 0:
                progress("vocabulary", done, total)

    tokenizer = Tokenizer.train(texts(), config.tokenizer, config.vocab_size)
    store.mkdir()
    tokenizer.save(store / "tokenizer.json")
    types = {"tokens": "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4", "sentences": "<i8", "documents": "<i8"}
    writers = {held: _Writer(store / part, types) for part, held in (("train", False), ("heldout", True))}
    rows, done = _stored(sentences), 0
    while chunk := list(islice(rows, _CHUNK)):
        ids = iter(tokenizer.encode_all([sentence for _, paragraph in chunk for sentence in paragraph]))
        for group, paragraph in chunk:
            encoded = [words[: config.max_tokens] for words in islice(ids, len(paragraph)) if words]
            writers[group in heldout].write(
                window for window in _windows(encoded, config.max_sentences) if len(window) >= config.min_sentences
            )
        done += len(chunk)
        progress("tokens", done, total)
    for writer in writers.values():
        writer.close()
        if not writer.documents:
            raise CorpusError(
                f"corpus must have documents for training and others to be held out, got too few in {config.corpus}. "
                "Add text, or lower data.min_sentences."
            )
    files = sorted(path for path in store.rglob("*") if path.is_file())
    sums = {path.relative_to(store).as_posix(): [path.stat().st_size, _checksum(path)] for path in files}
    manifest = wanted | {"types": types, "files": sums}
    text = json.dumps(manifest | {"checksum": _digest(manifest)}, indent=2) + "\n"
    (store / "manifest.json").write_text(text, encoding="utf-8")


def _split(config: DataConfig, path: Path, progress: Progress) -> tuple[set[int], int]:
    """Writes the sentences of all paragraphs that are long enough; returns the hashes of their groups, and how many."""
    groups, read, kept = set(), 0, 0
    with path.open("w", encoding="utf-8") as stream:
        for document in corpora.read(config.corpus, config.field):
            sentences = [text for text in split_sentences(document.text) if text.strip()]
            read += 1
            if len(sentences) >= config.min_sentences:
                kept += 1
                digest = hashlib.blake2b(document.group.encode(errors="surrogateescape"), digest_size=8).digest()
                group = int.from_bytes(digest)
                groups.add(group)
                stream.write(json.dumps([group, sentences]) + "\n")
            if read % _CHUNK == 0:
                progress("sentences", read, None)
    progress("sentences", read, read)
    if not kept:
        raise CorpusError(
            f"corpus must have paragraphs of at least {config.min_sentences} sentences, "
            f"got none among {read} in {config.corpus}. Lower data.min_sentences."
        )
    if len(groups) < 2:
        raise CorpusError(
            f"corpus must have at least 2 different texts or files of {config.min_sentences} sentences or more, "
            f"one of them to be held out, got 1 in {config.corpus}. Add text, or lower data.min_sentences."
        )
    return groups, kept


def _stored(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            group, sentences = json.loads(line)
            yield group, sentences


def _windows(sentences: Sequence[Sequence[int]], size: int) -> Iterator[Sequence[Sequence[int]]]:
    for start in range(0, len(sentences), size):
        yield sentences[start : start + size]


class _Writer:
    """Appends documents to the three files of a `Corpus`."""

    def __init__(self, folder: Path, types: dict[str, str]) -> None:
        folder.mkdir()
        self._types = types
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in _ARRAYS}
        self._ends = {"sentences": 0, "documents": 0}
        self.documents = 0
        self._append("sentences", [0])
        self._append("documents", [0])

    def write(self, documents: Iterable[Sequence[Sequence[int]]]) -> None:
        for document in documents:
            for sentence in document:
                self._append("tokens", sentence)
                self._grow("sentences", len(sentence))
            self._grow("documents", len(document))
            self.documents += 1

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _grow(self, name: str, by: int) -> None:
        self._ends[name] += by
        self._append(name, [self._ends[name]])

    def _append(self, name: str, values: Sequence[int]) -> None:
        self._files[name].write(np.asarray(values, self._types[name]).tobytes())


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise CacheError(f"{folder} must hold a manifest.json, got none. Use a folder of its own, new or empty.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        whole = manifest.pop("checksum") == _digest(manifest)
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise CacheError(f"{path} must be as it was written, got something else. {_REPAIR}")
    return manifest


def _check(folder: Path, name: str, manifest: dict[str, Any]) -> None:
    path, (size, checksum) = folder / name, manifest["files"][name]
    if not path.is_file():
        raise CacheError(f"store must hold {name}, got none in {folder}. {_REPAIR}")
    if path.stat().st_size != size:
        raise CacheError(f"{path} must have {size} bytes, got {path.stat().st_size}. {_REPAIR}")
    if _checksum(path) != checksum:
        raise CacheError(f"{path} must have the checksum {checksum}, got {_checksum(path)}. {_REPAIR}")


def _digest(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
