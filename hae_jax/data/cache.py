"""A tokenized corpus on disk: built once, memory-mapped, and verified whenever it is opened."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hae_jax.config import DataConfig
from hae_jax.config.migration import migrate
from hae_jax.data import corpora
from hae_jax.data.corpora import CorpusError
from hae_jax.data.documents import Corpus, CorpusWriter
from hae_jax.data.manifest import NAME, CacheError, check_file, read_manifest, write_manifest
from hae_jax.data.rows import split_rows, split_windows
from hae_jax.data.text import split_sentences
from hae_jax.data.tokenizer import Tokenizer

Progress = Callable[[str, int, int | None], None]
"""Called repeatedly with the name of the stage, the number of paragraphs done, and their total, or None if unknown."""

FORMAT = 2
"""2: sentences longer than a row are continued in further rows, and groups are stored."""
READABLE = (1, FORMAT)
"""1, of versions before 0.5: they were truncated. Its documents are used as they are, also to resume a training run."""
_CHUNK = 1000


@dataclass(frozen=True)
class Dataset:
    """A tokenized corpus.

    Attributes:
        tokenizer: trained on the training documents.
        train: the training documents.
        heldout: the documents of held-out groups.
    """

    tokenizer: Tokenizer
    train: Corpus
    heldout: Corpus

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Opens a cache; its corpus is not needed.

        Raises:
            CacheError: if the cache is missing or damaged.
        """
        manifest = read_manifest(folder)
        for name in manifest["files"]:
            check_file(folder, name, manifest)
        parts = (Corpus.open(folder / part, manifest["types"]) for part in ("train", "heldout"))
        return cls(Tokenizer.load(folder / "tokenizer.json"), *parts)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Opens the tokenizer of a cache and verifies its checksum.

    Raises:
        CacheError: if it is missing or another one, even one of the same size.
    """
    check_file(folder, "tokenizer.json", read_manifest(folder))
    return Tokenizer.load(folder / "tokenizer.json")


def prepare(config: DataConfig, folder: Path, progress: Progress | None = None) -> Dataset:
    """Opens the cache in `folder`, and builds it first if there is none.

    Paragraphs are split into sentences and tokenized. A sentence of more than `max_tokens` tokens becomes several rows;
    a paragraph of more than `max_sentences` rows becomes several documents, its windows. Paragraphs of fewer than
    `min_sentences` sentences and windows of fewer rows are dropped. Groups are held out as a whole, those whose names
    have the lowest hashes; the tokenizer is trained on the other groups only. The cache appears atomically when it is
    complete, and is a function of corpus and options.

    Args:
        config: the corpus and its preprocessing; `batch_size` and `buckets` are ignored.
        folder: the cache's own folder: missing, empty, or filled by this function.
        progress: called with the progress of each stage.

    Raises:
        CorpusError: if the corpus cannot be read, or is too small.
        TokenizerError: if `vocab_size` is too small for the tokenizer.
        CacheError: if the cache is damaged, or was built for another corpus or with other options.
    """
    entries: dict[str, Any] = {"format": FORMAT, "corpus": corpora.identity(config.corpus), "options": _options(config)}
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            _build(config, Path(temporary), entries, progress or (lambda stage, done, total: None))
            try:
                os.replace(Path(temporary) / "cache", folder)
            except OSError:
                # Another process of the same run was faster; its cache is verified below like any other.
                if not (folder / NAME).is_file():
                    raise
    found = read_manifest(folder)
    stored = migrate("data", found["options"])
    changed = [name for name, value in entries["options"].items() if stored.get(name) != value]
    if changed or found["format"] not in READABLE:
        raise CacheError(
            f"data options must be those that {folder} was built with, got another "
            f"{', '.join(f'data.{name}' for name in changed) or 'format'}. Use a new folder."
        )
    if found["corpus"] != entries["corpus"]:
        raise CacheError(
            f"corpus must be the one that {folder} was built from, got other files in {config.corpus}. "
            "Use a new folder."
        )
    return Dataset.load(folder)


def _options(config: DataConfig) -> dict[str, object]:
    # A path can be written in many ways, so `corpus` is compared by its identity instead.
    without = ("corpus", "batch_size", "buckets")
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in without}


def _build(config: DataConfig, work: Path, entries: dict[str, Any], progress: Progress) -> None:
    sentences, folder = work / "sentences.jsonl", work / "cache"
    groups, total = _write_sentences(config, sentences, progress)
    heldout = set(sorted(groups)[: min(max(1, round(config.holdout * len(groups))), len(groups) - 1)])

    def training_sentences() -> Iterator[str]:
        for done, (group, paragraph) in enumerate(_read_sentences(sentences), 1):
            if group not in heldout:
                yield from paragraph
            if done % _CHUNK == 0:
                progress("vocabulary", done, total)

    tokenizer = Tokenizer.train(training_sentences(), config.tokenizer, config.vocab_size)
    folder.mkdir()
    tokenizer.save(folder / "tokenizer.json")
    token = "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"
    types = {"tokens": token, "sentences": "<i8", "documents": "<i8", "groups": "<u8"}
    writers = {held: CorpusWriter(folder / part, types) for part, held in (("train", False), ("heldout", True))}
    paragraphs, done = _read_sentences(sentences), 0
    while chunk := list(islice(paragraphs, _CHUNK)):
        ids = iter(tokenizer.encode_all([sentence for _, paragraph in chunk for sentence in paragraph]))
        for group, paragraph in chunk:
            windows = split_windows(split_rows(list(islice(ids, len(paragraph))), config), config)
            kept = (window for window in windows if len(window) >= config.min_sentences)
            writers[group in heldout].write(kept, group)
        done += len(chunk)
        progress("tokens", done, total)
    for writer in writers.values():
        writer.close()
        if not writer.documents:
            raise CorpusError(
                f"corpus must have documents both for training and to hold out, got too few in {config.corpus}. "
                "Add text, or lower data.min_sentences."
            )
    write_manifest(folder, entries | {"types": types})


def group_number(group: str) -> int:
    """Returns the number by which a corpus stores the group of a document: a hash of its name.

    Example:
        >>> group_number("1790-washington") == group_number("1790-washington") != group_number("1791-washington")
        True
    """
    return int.from_bytes(hashlib.blake2b(group.encode(errors="surrogateescape"), digest_size=8).digest())


def _write_sentences(config: DataConfig, path: Path, progress: Progress) -> tuple[set[int], int]:
    """Writes the sentences of all paragraphs that are long enough.

    Returns:
        The hashes of the groups of these paragraphs, and the number of paragraphs.
    """
    groups, read, kept = set(), 0, 0
    with path.open("w", encoding="utf-8") as stream:
        for document in corpora.read(config.corpus, config.field):
            sentences = split_sentences(document.text)
            read += 1
            if len(sentences) >= config.min_sentences:
                kept += 1
                group = group_number(document.group)
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
            f"so that one can be held out, got 1 in {config.corpus}. Add text, or lower data.min_sentences."
        )
    return groups, kept


def _read_sentences(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            group, sentences = json.loads(line)
            yield group, sentences
