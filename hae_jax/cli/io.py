"""Input and output of the commands: texts, codes, JSON lines."""

import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

STDIN = Path("-")
"""As an input: text from standard input."""


@contextmanager
def corpus_of(source: Path) -> Iterator[str]:
    """Yields a corpus that can be read more than once; standard input is copied to a temporary file of paragraphs."""
    from hae_jax.data import CorpusError

    if source != STDIN:
        yield str(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.txt"
        with path.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        try:
            yield str(path)
        except CorpusError as error:
            raise CorpusError(str(error).replace(str(path), "standard input")) from None


def texts_of(source: Path, field: str) -> list[str]:
    """Reads the texts of a corpus, or the paragraphs of standard input."""
    from hae_jax.data import read

    with corpus_of(source) as corpus:
        return [document.text for document in read(corpus, field)]


@contextmanager
def stream_of(source: Path, field: str) -> Iterator[tuple[int, Iterator[str]]]:
    """Yields the number of texts of an input, and an iterator over them."""
    from hae_jax.data import read

    with corpus_of(source) as corpus:
        # Read twice: an unreadable text is found before any work, and nothing has to be kept in memory.
        yield sum(1 for _ in read(corpus, field)), (document.text for document in read(corpus, field))


def array_of(path: Path, name: str = "codes") -> np.ndarray:
    """Reads a .npy; the model checks its shape and type."""
    data = path.read_bytes()
    try:
        codes = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, BadZipFile):
        raise ValueError(f"{name} must be a whole .npy file of numbers, got {path}. Encode texts anew.") from None
    if not isinstance(codes, np.ndarray):
        raise ValueError(f"{name} must be one array in a .npy file, got the archive {path}. Save the array by itself.")
    return codes


def save(array: np.ndarray, path: Path) -> None:
    """Writes a .npy atomically."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            np.save(stream, array)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write(rows: Iterable[dict]) -> None:
    """Writes JSON lines to standard output as they arrive; a signal is handled after the line.

    Raises:
        SystemExit: if a signal arrived while a line was written.
    """
    from hae_jax.training.interrupt import Interrupt

    for row in rows:
        with Interrupt() as interrupt:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        if interrupt.received is not None:
            raise SystemExit(128 + interrupt.received)


@contextmanager
def progress_over(what: str, total: int, printed: bool = True) -> Iterator[Callable[[str], None]]:
    """Shows progress on standard error; yields a function to call after each result, with numbers to show.

    Args:
        what: name of the work.
        total: number of results.
        printed: whether results are printed meanwhile; a bar on the same terminal would interfere with them.
    """
    from rich.console import Console

    from hae_jax.training.progress import bar

    console = Console(stderr=True)
    with bar(console, console.is_terminal and not (printed and sys.stdout.isatty())) as progress:
        task = progress.add_task(what, total=total, numbers="")
        yield lambda numbers: progress.update(task, advance=1, numbers=numbers)
