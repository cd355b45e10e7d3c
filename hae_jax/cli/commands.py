"""The subcommands of `hae`, as frozen dataclasses: a field is an option, and its docstring the option's help.

JAX takes a second to import, which nobody should wait for who asks for help or mistypes an option. So this module
imports nothing that needs it before a command runs.
"""

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
from tyro.conf import FlagConversionOff, Positional, arg

from hae_jax.cli.doctor import Doctor
from hae_jax.cli.gradients import Gradients
from hae_jax.cli.options import Configured, Trained
from hae_jax.cli.series import Score, SeriesTrain

STDIN = Path("-")
"""As an input: the text comes from standard input."""


@dataclass(frozen=True, kw_only=True)
class Train(Configured, Trained):
    """Trains an autoencoder; the same command again goes on where it left off."""

    workdir: Annotated[Path, arg(help_behavior_hint="(required)")]
    """Folder of the run. If it holds one already, the options start from the config of that, not from a preset."""
    doctor: bool = False
    """Watches gradients, gates, clip and code, and says so, once for each cause, when something goes wrong."""

    def run(self) -> None:
        """Trains until done, out of time, or told to stop by a signal."""
        from hae_jax.doctor.attendant import Attendant
        from hae_jax.training import fit

        raise SystemExit(fit(self.config, self.workdir, watcher=Attendant if self.doctor else None).exit_code)


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Configured):
    """Prints a preset, with the options given, as JSON."""

    def run(self) -> None:
        """Prints the config."""
        print(self.config.to_json(), end="")


@dataclass(frozen=True)
class Columns:
    """Where in its file the text stands."""

    field: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: as in training)")] = None
    """Field of a .jsonl line or column of a .csv that holds the text."""


@dataclass(frozen=True, kw_only=True)
class Reading(Trained):
    """What reads text."""

    input: Path
    """Text: .txt (paragraphs between blank lines), .jsonl or .csv, also .gz; or - for paragraphs on standard input."""
    data: Columns = field(default_factory=Columns)


@dataclass(frozen=True, kw_only=True)
class Writing(Trained):
    """What decodes codes: the most probable word every time, unless sampling or a beam is asked for."""

    beam: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Searches with a beam of so many texts."""
    temperature: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Samples; 1 is the model's own distribution, less is more careful."""
    top_p: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Samples from the most probable words that have this share of the probability together."""
    seed: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Samples from this seed."""

    @property
    def decoding(self) -> dict[str, Any]:
        """The settings of the `Decoding` that the options ask for.

        Raises:
            ValueError: if they ask for two ways.
        """
        wanted = {name: getattr(self, name) for name in ("temperature", "top_p", "seed")}
        sampling = {name: value for name, value in wanted.items() if value is not None}
        if self.beam is None:
            return {"method": "sample", **sampling} if sampling else {}
        if sampling:
            raise ValueError(
                f"beam must stand alone, got {' and '.join(f'--{name}' for name in sampling)} beside it. "
                "Sample or search, not both."
            )
        return {"method": "beam", "beam": self.beam}


@dataclass(frozen=True, kw_only=True)
class Evaluate(Trained):
    """Scores a trained model: loss, code gap, BLEU, ROUGE, exact matches, order of sentences."""

    input: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: the held-out documents)")] = None
    """Text to score it on, read as by `hae reconstruct`."""
    data: Columns = field(default_factory=Columns)
    json: Annotated[FlagConversionOff[bool], arg(metavar="", help_behavior_hint="")] = False
    """Prints one JSON object instead of tables."""

    def run(self) -> None:
        """Prints the scores."""
        from hae_jax.data import Dataset, encode_text, in_order
        from hae_jax.inference.evaluate import evaluate
        from hae_jax.training import Run

        run = Run.load(self.workdir)
        data = run.config.data
        if self.input is None:
            batches = in_order(Dataset.load(self.workdir / "data").heldout, data, data.batch_size)
        else:
            texts = texts_of(self.input, self.data.field or data.field)
            documents, truncated = encode_text(texts, run.tokenizer, data)
            warn_of_truncated(truncated)
            batches = in_order(documents, data, data.batch_size)
        evaluation = evaluate(run.model, run.params, batches, run.tokenizer)
        if self.json:
            write([evaluation.to_dict()])
        else:
            from hae_jax.cli.report import show

            show(evaluation, f"step {run.step} on {self.input or 'the held-out documents'}")


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writing, Reading):
    """Puts text through its code and back; writes JSON lines of source and reconstruction."""

    def run(self) -> None:
        """Writes a line a text."""
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import reconstruct
        from hae_jax.training import Run

        decoding, run = Decoding(**self.decoding), Run.load(self.workdir)
        texts = texts_of(self.input, self.data.field or run.config.data.field)
        pairs = reconstruct(run.model, run.params, run.tokenizer, run.config.data, texts, decoding)
        write(pair._asdict() for pair in pairs)


@dataclass(frozen=True, kw_only=True)
class Encode(Reading):
    """Turns text into codes; writes a .npy of one float32 row a text."""

    output: Path
    """File to write."""

    def run(self) -> None:
        """Writes the codes, all or nothing."""
        from hae_jax.data import encode_text
        from hae_jax.inference.texts import encode
        from hae_jax.training import Run

        if not self.output.parent.is_dir() or self.output.is_dir():
            raise ValueError(f"output must be a file in an existing folder, got {self.output}. Choose another path.")
        run = Run.load(self.workdir)
        texts = texts_of(self.input, self.data.field or run.config.data.field)
        warn_of_truncated(encode_text(texts, run.tokenizer, run.config.data)[1])
        save(encode(run.model, run.params, run.tokenizer, run.config.data, texts), self.output)


@dataclass(frozen=True, kw_only=True)
class Decode(Writing):
    """Turns codes back into text; writes JSON lines."""

    input: Path
    """The .npy that `hae encode` wrote, or any of one code a row."""

    def run(self) -> None:
        """Writes a line a code."""
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import decode
        from hae_jax.training import Run

        decoding, codes, run = Decoding(**self.decoding), codes_of(self.input), Run.load(self.workdir)
        texts = decode(run.model, run.params, run.tokenizer, run.config.data, codes, decoding)
        write({"reconstruction": text} for text in texts)


@dataclass(frozen=True, kw_only=True)
class Interpolate(Writing):
    """Decodes the points between the codes of two texts; writes JSON lines."""

    texts: Positional[tuple[str, str]]
    """The text to begin with, and the text to arrive at, in quotes."""
    points: int = 7
    """How many points, both ends included."""

    def run(self) -> None:
        """Writes a line a point."""
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import interpolate
        from hae_jax.training import Run

        decoding, run = Decoding(**self.decoding), Run.load(self.workdir)
        texts = interpolate(
            run.model, run.params, run.tokenizer, run.config.data, *self.texts, self.points, decoding
        )  # fmt: skip
        write({"share": at / (self.points - 1), "reconstruction": text} for at, text in enumerate(texts))


Command = (
    Train
    | SeriesTrain
    | Evaluate
    | Reconstruct
    | Encode
    | Decode
    | Interpolate
    | Score
    | Gradients
    | Doctor
    | ShowConfig
)
COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "evaluate": Evaluate,
    "reconstruct": Reconstruct,
    "encode": Encode,
    "decode": Decode,
    "interpolate": Interpolate,
    "score": Score,
    "gradients": Gradients,
    "doctor": Doctor,
    "config": ShowConfig,
}
"""Subcommands by name, in the order in which one meets them."""


def texts_of(source: Path, field: str) -> list[str]:
    """Reads the texts of a corpus, or the paragraphs of standard input."""
    from hae_jax.data import CorpusError, read

    if source != STDIN:
        return [document.text for document in read(str(source), field)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.txt"
        path.write_bytes(sys.stdin.buffer.read())
        try:
            return [document.text for document in read(str(path), field)]
        except CorpusError as error:
            raise CorpusError(str(error).replace(str(path), "standard input")) from None


def codes_of(path: Path) -> np.ndarray:
    """Reads a .npy; what its array must look like, the model knows."""
    data = path.read_bytes()
    try:
        codes = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"codes must be a whole .npy file of numbers, got {path}: {error}. Encode anew.") from None
    if not isinstance(codes, np.ndarray):
        raise ValueError(f"codes must be one array in a .npy file, got the archive {path}. Save the array by itself.")
    return codes


def save(codes: np.ndarray, path: Path) -> None:
    """Writes a .npy that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            np.save(stream, codes)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write(rows: Iterable[dict]) -> None:
    """Writes JSON lines to standard output."""
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


def warn_of_truncated(truncated: list[bool]) -> None:
    """Tells on standard error how many texts the model has no room for."""
    if any(truncated):
        print(f"hae: {sum(truncated)} of {len(truncated)} texts are too long for the model: cut off.", file=sys.stderr)
