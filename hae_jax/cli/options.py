"""What several subcommands have in common, as frozen dataclasses whose fields are options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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
