"""Options that several subcommands share, as frozen dataclasses."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from hae_jax.config import Config, differences
from hae_jax.config.idle import idle_fields
from hae_jax.config.presets import PRESETS

if TYPE_CHECKING:
    from hae_jax.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Options of commands that load a trained model."""

    workdir: Path
    """Folder of a trained run."""


@dataclass(frozen=True, kw_only=True)
class Configured(Config):
    """Every field of the config is an option."""

    preset: Annotated[str, arg(metavar="{" + ",".join(PRESETS) + "}")] = "small"
    """Config that provides the defaults of the other options."""

    @property
    def config(self) -> Config:
        """The config without the options of the command."""
        return Config(self.model, self.data, self.optim, self.train)

    def check_given(self, given: Mapping[str, str]) -> None:
        """Refuses options that have no effect with the values of the others.

        Args:
            given: the options that were given, with their values as text.

        Raises:
            ValueError: if there is one.
        """
        for name, reason in idle_fields(self.config).items():
            if name in given:
                raise ValueError(f"--{name} must not be given {reason.condition}, got {given[name]}. {reason.repair}")

    def load_run(self, workdir: Path, free: tuple[str, ...] = ()) -> "TrainedModel":
        """Loads a run.

        Args:
            workdir: its folder.
            free: fields or sections of the config in which the options may differ from the run.

        Raises:
            ValueError: if there is no run, or the options contradict its config.
        """
        from hae_jax.trained import TrainedModel

        model = TrainedModel.load(workdir)
        changed = [name for name in differences(model.config, self.config) if not name.startswith(free)]
        if changed:
            raise ValueError(
                f"options must be those of the run in {workdir}, got another {', '.join(changed)}. "
                "Remove them, or remove --workdir for an untrained model."
            )
        return model

    @contextmanager
    def untrained(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yields the model, its initial parameters, and the data set, which is deleted at the end of the context."""
        from rich.console import Console

        from hae_jax.data.cache import prepare

        console = Console(stderr=True)
        with tempfile.TemporaryDirectory() as folder, console.status(f"reading {self.data.corpus}"):
            data = prepare(self.data, Path(folder) / "data")
            yield *fresh(self.config, data), data


@dataclass(frozen=True)
class Columns:
    """Location of the text in its file."""

    field: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: as in training)")] = None
    """Field of a .jsonl line or column of a .csv that holds the text."""


@dataclass(frozen=True, kw_only=True)
class Reading(Trained):
    """Options of commands that read text."""

    input: Path
    """Text: .txt (paragraphs between blank lines), .jsonl or .csv, also .gz; or - for paragraphs on standard input."""
    data: Columns = field(default_factory=Columns)


@dataclass(frozen=True, kw_only=True)
class Writing(Trained):
    """Options of commands that decode codes: greedily by default, refined, or by sampling or beam search."""

    refine: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Corrects the text this many times at most: encodes it again, and adds the difference to the code."""
    beam: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Uses beam search with a beam of this size."""
    temperature: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Samples at this temperature; 1 is the model's distribution, lower values concentrate it."""
    top_p: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Samples from the smallest set of tokens that has this probability (nucleus sampling)."""
    seed: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Samples with this seed."""

    @property
    def decoding(self) -> Any:
        """The `Decoding` that the options select.

        Raises:
            ValueError: if they select two methods.
        """
        sampling = self._given("temperature", "top_p", "seed")
        for name, others in (("refine", self._given("beam") | sampling), ("beam", sampling)):
            if self._given(name) and others:
                raise ValueError(
                    f"{name} must be used alone, got {' and '.join(f'--{other}' for other in others)}. "
                    "Refine, use a beam, or sample."
                )
        from hae_jax.inference.decoding import GREEDY, BeamSearch, Refined, Sampling

        if self.refine is not None:
            return Refined(self.refine)
        if self.beam is not None:
            return BeamSearch(self.beam)
        return Sampling(**sampling) if sampling else GREEDY

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def fresh(config: Config, data: Any) -> tuple[Any, Any]:
    """Builds the model of a config and initializes its parameters."""
    import jax

    from hae_jax.data.batches import Batches
    from hae_jax.models import build

    model = build(config.model, data.tokenizer.vocab_size)
    first = Batches(data.train, config.data, config.train.seed).batch(0)
    key, _ = jax.random.split(jax.random.key(config.train.seed))
    return model, jax.jit(model.init)({"params": key}, first)["params"]
