"""The subcommands of `hae`, as frozen dataclasses: a field is an option, and its docstring the option's help.

JAX takes a second to import. Help screens and errors in options should not wait for it, so this module imports nothing
that needs it before a command runs.
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagConversionOff, arg

from hae_jax.cli.doctor import Doctor
from hae_jax.cli.gradients import Gradients
from hae_jax.cli.io import array_of, progress_over, save, stream_of, texts_of, write
from hae_jax.cli.latent import Edit, Interpolate, Neighbours, Sample
from hae_jax.cli.options import Columns, Configured, Reading, Trained, Writing
from hae_jax.cli.series import Score, SeriesTrain


@dataclass(frozen=True, kw_only=True)
class Train(Configured, Trained):
    """Trains an autoencoder. The same command resumes an interrupted run."""

    workdir: Annotated[Path, arg(help_behavior_hint="(required)")]
    """Folder of the run. If it holds one already, its config provides the defaults of all options."""
    doctor: bool = False
    """Monitors gradients, gates, clipping and the use of the code, and reports each cause of failure once."""

    def run(self) -> None:
        """Trains until all steps are done, the time is over, or a signal stops it."""
        from hae_jax.training import fit
        from hae_jax.training.monitor import TrainingMonitor

        raise SystemExit(fit(self.config, self.workdir, monitor=TrainingMonitor if self.doctor else None).exit_code)


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Configured):
    """Prints a preset as JSON, with the given options applied."""

    def run(self) -> None:
        """Prints the config."""
        print(self.config.to_json(), end="")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Trained):
    """Evaluates a trained model: loss, code gap, BLEU, ROUGE, exact matches, sentence order."""

    input: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: the held-out documents)")] = None
    """Text to evaluate on, in a format that `hae reconstruct` reads."""
    data: Columns = field(default_factory=Columns)
    json: Annotated[FlagConversionOff[bool], arg(metavar="", help_behavior_hint="")] = False
    """Prints one JSON object instead of tables."""

    def run(self) -> None:
        """Prints the scores."""
        from hae_jax.trained import TrainedModel

        model, texts = TrainedModel.load(self.workdir), None
        if self.input is not None:
            texts = texts_of(self.input, self.data.field or model.config.data.field)
        evaluation = model.evaluate(texts)
        if self.json:
            write([evaluation.to_dict()])
        else:
            from hae_jax.cli.tables import show

            show(evaluation, f"step {model.step} on {self.input or 'the held-out documents'}")


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writing, Reading):
    """Encodes whole texts and decodes their codes; writes JSON lines of source and reconstruction."""

    def run(self) -> None:
        """Writes each line as soon as it is available, with progress on standard error."""
        from hae_jax.inference.texts import iter_reconstruct
        from hae_jax.trained import TrainedModel

        decoding, model = self.decoding, TrainedModel.load(self.workdir)
        with stream_of(self.input, self.data.field or model.config.data.field) as (total, texts):
            words, start = 0, time.monotonic()
            with progress_over("reconstructing", total) as count:
                for result in iter_reconstruct(model, texts, decoding):
                    write([result._asdict()])
                    words += result.words
                    speed = f"{words / (time.monotonic() - start):,.0f} words/s"
                    count(speed)
        print(f"hae: {total:,} documents, {words:,} words, {speed}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Encode(Reading):
    """Encodes texts; writes a .npy with one float32 code per row."""

    output: Path
    """File to write."""
    part: Literal["all", "order", "topic"] = "all"
    """Part of the codes to write; all can be decoded, topic is for search, clusters and classes."""
    windows: Annotated[FlagConversionOff[bool], arg(metavar="", help_behavior_hint="")] = False
    """Encodes whole texts, each in as many codes as it needs. A second file, for example codes.numbers.npy beside
    codes.npy, has the number of each code's text, from 0. Without this option, a long text has the code of its
    beginning."""

    def run(self) -> None:
        """Writes all codes or nothing, with progress on standard error."""
        import numpy as np

        from hae_jax.inference.texts import excess, iter_encode
        from hae_jax.trained import TrainedModel

        if not self.output.parent.is_dir() or self.output.is_dir():
            raise ValueError(f"output must be a file in an existing folder, got {self.output}. Choose another path.")
        model = TrainedModel.load(self.workdir)
        with stream_of(self.input, self.data.field or model.config.data.field) as (total, texts):
            codes: list[np.ndarray] = []
            numbers: list[int] = []
            longer = 0
            with progress_over("encoding", total, printed=False) as count:
                for encoding in iter_encode(model, texts, self.part, self.windows):
                    if encoding.text not in numbers[-1:]:
                        longer += encoding.windows > 1
                        count("")
                    codes.append(encoding.code)
                    numbers.append(encoding.text)
        if self.windows:
            save(np.array(numbers), self.output.with_suffix(".numbers.npy"))
        elif longer:
            print(f"hae: {excess(longer, total, model.config.data)} Use --windows.", file=sys.stderr)
        save(np.stack(codes), self.output)


@dataclass(frozen=True, kw_only=True)
class Decode(Writing):
    """Decodes codes to text; writes JSON lines."""

    input: Path
    """A .npy with one code per row, as written by `hae encode`."""
    numbers: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The second file of `hae encode --windows`, codes.numbers.npy for example: the codes of a text are joined."""

    def run(self) -> None:
        """Writes each line as soon as it is available, with progress on standard error."""
        from hae_jax.inference.texts import Windows, iter_decode
        from hae_jax.trained import TrainedModel

        decoding, codes, model = self.decoding, array_of(self.input), TrainedModel.load(self.workdir)
        numbers = None if self.numbers is None else array_of(self.numbers, "numbers")
        texts = iter_decode(model, codes if numbers is None else Windows(codes, numbers), decoding)
        with progress_over("decoding", len(codes if numbers is None else set(numbers.flat))) as count:
            for text in texts:
                write([{"reconstruction": text}])
                count("")


Command = (
    Train
    | SeriesTrain
    | Evaluate
    | Reconstruct
    | Encode
    | Decode
    | Neighbours
    | Interpolate
    | Edit
    | Sample
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
    "neighbours": Neighbours,
    "interpolate": Interpolate,
    "edit": Edit,
    "sample": Sample,
    "score": Score,
    "gradients": Gradients,
    "doctor": Doctor,
    "config": ShowConfig,
}
"""Subcommands by name, in the order of the help screen."""
