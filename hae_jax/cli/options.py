"""What several subcommands have in common, as frozen dataclasses whose fields are options."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from hae_jax.config import Config
from hae_jax.presets import PRESETS


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

        from hae_jax.data.store import prepare

        console = Console(stderr=True)
        with tempfile.TemporaryDirectory() as folder, console.status(f"reading {self.data.corpus}"):
            data = prepare(self.data, Path(folder) / "data")
            yield *fresh(self.config, data), data


def fresh(config: Config, data: Any) -> tuple[Any, Any]:
    """Makes the model of a config, and its fresh parameters."""
    import jax

    from hae_jax.data.batches import Batches
    from hae_jax.models import build

    model = build(config.model, data.tokenizer.vocab_size)
    first = Batches(data.train, config.data, config.train.seed).at(0)
    key, _ = jax.random.split(jax.random.key(config.train.seed))
    return model, jax.jit(model.init)({"params": key}, first)["params"]
