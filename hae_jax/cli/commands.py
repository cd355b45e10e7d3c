"""The subcommands of `hae`, as frozen dataclasses: a field is an option, and its docstring the option's help.

JAX takes a second to import, which nobody should wait for who asks for help or mistypes an option. So this module
imports nothing that needs it before a command runs.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagConversionOff, Positional, arg

from hae_jax.cli.doctor import Doctor
from hae_jax.cli.gradients import Gradients
from hae_jax.cli.io import codes_of, progress_over, save, stream_of, texts_of, warn_of_truncated, write
from hae_jax.cli.options import Columns, Configured, Reading, Trained, Writing
from hae_jax.cli.reconstruct import Reconstruct
from hae_jax.cli.series import Score, SeriesTrain


@dataclass(frozen=True, kw_only=True)
class Train(Configured, Trained):
    """Trains an autoencoder; the same command again goes on where it left off."""

    workdir: Annotated[Path, arg(help_behavior_hint="(required)")]
    """Folder of the run. If it holds one already, the options start from the config of that, not from a preset."""
    doctor: bool = False
    """Watches gradients, gates, clip and code, and says so, once for each cause, when something goes wrong."""

    def run(self) -> None:
        """Trains until done, out of time, or told to stop by a signal."""
        from hae_jax.training import fit
        from hae_jax.training.monitor import TrainingMonitor

        raise SystemExit(fit(self.config, self.workdir, monitor=TrainingMonitor if self.doctor else None).exit_code)


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Configured):
    """Prints a preset, with the options given, as JSON."""

    def run(self) -> None:
        """Prints the config."""
        print(self.config.to_json(), end="")


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
        from hae_jax.data import Dataset, encode_text, sequential_batches
        from hae_jax.inference.evaluate import evaluate
        from hae_jax.trained import TrainedModel

        run = TrainedModel.load(self.workdir)
        data = run.config.data
        if self.input is None:
            batches = sequential_batches(Dataset.load(self.workdir / "data").heldout, data, data.batch_size)
        else:
            texts = texts_of(self.input, self.data.field or data.field)
            documents, truncated = encode_text(texts, run.tokenizer, data)
            warn_of_truncated(truncated)
            batches = sequential_batches(documents, data, data.batch_size)
        evaluation = evaluate(run.model, run.params, batches, run.tokenizer)
        if self.json:
            write([evaluation.to_dict()])
        else:
            from hae_jax.cli.tables import show

            show(evaluation, f"step {run.step} on {self.input or 'the held-out documents'}")


@dataclass(frozen=True, kw_only=True)
class Encode(Reading):
    """Turns text into codes; writes a .npy of one float32 row a text."""

    output: Path
    """File to write."""

    def run(self) -> None:
        """Writes the codes, all or nothing, and shows on standard error how far it is."""
        import numpy as np

        from hae_jax.inference.texts import encodings
        from hae_jax.trained import TrainedModel

        if not self.output.parent.is_dir() or self.output.is_dir():
            raise ValueError(f"output must be a file in an existing folder, got {self.output}. Choose another path.")
        run = TrainedModel.load(self.workdir)
        with stream_of(self.input, self.data.field or run.config.data.field) as (total, texts):
            codes, truncated = [], []
            with progress_over("encoding", total, printed=False) as count:
                for encoding in encodings(run.model, run.params, run.tokenizer, run.config.data, texts):
                    codes.append(encoding.code)
                    truncated.append(encoding.truncated)
                    count("")
        save(np.stack(codes), self.output)
        warn_of_truncated(truncated)


@dataclass(frozen=True, kw_only=True)
class Decode(Writing):
    """Turns codes back into text; writes JSON lines."""

    input: Path
    """The .npy that `hae encode` wrote, or any of one code a row."""

    def run(self) -> None:
        """Writes a line a code as soon as there is one, and shows on standard error how far it is."""
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import decode
        from hae_jax.trained import TrainedModel

        decoding, codes, run = Decoding(**self.decoding), codes_of(self.input), TrainedModel.load(self.workdir)
        texts = decode(run.model, run.params, run.tokenizer, run.config.data, codes, decoding)
        with progress_over("decoding", len(codes)) as count:
            for text in texts:
                write([{"reconstruction": text}])
                count("")


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
        from hae_jax.trained import TrainedModel

        decoding, run = Decoding(**self.decoding), TrainedModel.load(self.workdir)
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
