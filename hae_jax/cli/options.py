"""What several subcommands have in common, as frozen dataclasses whose fields are options."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from hae_jax.config import Config
from hae_jax.config.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What asks for a trained model."""

    workdir: Path
    """Folder of a trained run."""


@dataclass(frozen=True, kw_only=True)
class Configured(Config):
    """Every field of the config is an option."""

    preset: Annotated[str, arg(metavar="{" + ",".join(PRESETS) + "}")] = "small"
    """Config that the other options start from."""

    @property
    def config(self) -> Config:
        """The config alone."""
        return Config(self.model, self.data, self.optim, self.train)

    @contextmanager
    def untrained(self) -> Iterator[tuple[Any, Any, Any]]:
        """Makes the model, its fresh parameters and the data set, which lasts as long as the context."""
        from rich.console import Console

        from hae_jax.data.cache import prepare

        console = Console(stderr=True)
        with tempfile.TemporaryDirectory() as folder, console.status(f"reading {self.data.corpus}"):
            data = prepare(self.data, Path(folder) / "data")
            yield *fresh(self.config, data), data


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


def fresh(config: Config, data: Any) -> tuple[Any, Any]:
    """Makes the model of a config, and its fresh parameters."""
    import jax

    from hae_jax.data.batches import Batches
    from hae_jax.models import build

    model = build(config.model, data.tokenizer.vocab_size)
    first = Batches(data.train, config.data, config.train.seed).at(0)
    key, _ = jax.random.split(jax.random.key(config.train.seed))
    return model, jax.jit(model.init)({"params": key}, first)["params"]
