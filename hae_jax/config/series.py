"""Autoencoders of continuous series as frozen dataclasses, and some of them by name."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from hae_jax.config.migration import migrate
from hae_jax.config.model import ModelConfig
from hae_jax.config.run import OptimConfig
from hae_jax.config.validate import require, require_choice, require_positive


@dataclass(frozen=True)
class SeriesConfig:
    """An autoencoder of continuous series with squared error, and how it is trained."""

    sizes: tuple[int, ...] = (128, 64)
    """Units of the encoder's layers, bottom first; the decoder mirrors them, and the last one is the size of the
    code."""
    spans: tuple[int, ...] = ()
    """Makes a hierarchy of one layer a level: so many steps are a window, so many windows a segment, and so on; the
    last layer reads what is left. Without spans every layer reads every step."""
    memory: int = 0
    """With the scheme "mirror": units of the top level's LSTM, which has room for all that it reads if they are as many
    as all its vectors have numbers. Lower levels have the units that a window needs. States become vectors, of the
    sizes given, by an affine map, and back. 0 with all other schemes, whose vectors are states."""
    decoding: Literal["repeat", "previous"] = "repeat"
    """What the decoder reads at every step: the code (as behind a Keras RepeatVector), or the previous value as well:
    the true one while training, its own in use."""
    reverse: bool = True
    """The encoder reads backwards, and so has read last what will be said first."""
    scaling: Literal["channel", "none"] = "channel"
    """Whether every channel is brought to mean 0 and deviation 1, as learned on the training data."""
    missing: bool = False
    """Whether NaN stands for a missing value, of which the encoder is told; otherwise NaN is an error."""
    cell: ModelConfig = field(default_factory=ModelConfig)
    """Options of the LSTM cells; sizes and what concerns words play no part."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup=20))
    """Clipping, Adam and the learning rate."""
    steps: int = 1000
    """Steps of training, and of the learning-rate schedule."""
    batch_size: int = 32
    """Series a step."""
    seed: int = 0
    """Seed of parameters, batches and dropout."""

    def __post_init__(self) -> None:
        require_choice(self, "series")
        require_positive(self, "series", "steps", "batch_size")
        require(
            len(self.sizes) >= 1, "series.sizes", "hold at least one size", self.sizes, "Use (128, 64), for example."
        )
        for name, least in (("sizes", 1), ("spans", 2)):
            got = getattr(self, name)
            fits = all(isinstance(size, int) and size >= least for size in got)
            require(fits, f"series.{name}", f"be whole numbers from {least} on", got, "Use a tuple of them.")
        require(
            not self.spans or len(self.spans) == len(self.sizes) - 1, "series.spans",
            f"be one fewer than series.sizes ({len(self.sizes)})", len(self.spans),
            "The last layer reads what the spans leave; use an empty tuple for a flat stack.",
        )  # fmt: skip
        require(self.seed >= 0, "series.seed", "be at least 0", self.seed, "Use any whole number from 0 on.")
        require(
            self.cell.bridge == "top_hidden", "series.cell.bridge", 'be "top_hidden"', self.cell.bridge,
            "The code is what the top layer gives away.",
        )  # fmt: skip
        self._check_mirror()

    def _check_mirror(self) -> None:
        mirrored = self.cell.initializer == "mirror"
        require(
            (self.memory >= 1) == mirrored, "series.memory",
            "be at least 1 with series.cell.initializer mirror, and 0 otherwise", self.memory,
            "Use 256, or another initializer.",
        )  # fmt: skip
        if not mirrored:
            return
        require(
            len(self.sizes) == len(self.spans) + 1, "series.sizes",
            f"hold one size a level ({len(self.spans) + 1}) with series.cell.initializer mirror", self.sizes,
            "A flat stack of several layers needs another initializer and memory 0.",
        )  # fmt: skip
        require(self.reverse, "series.reverse", "be set with series.cell.initializer mirror", self.reverse,
             "What is to be said first has to be read last.")  # fmt: skip
        for name, plain in (("layer_norm", "none"), ("recurrent_dropout", 0), ("zoneout_hidden", 0)):
            got = getattr(self.cell, name)
            require(got == plain, f"series.cell.{name}", f"be {plain} with series.cell.initializer mirror", got,
                 "The states are what is remembered, number by number.")  # fmt: skip

    @property
    def architecture(self) -> "SeriesConfig":
        """The config, forgetting what decides about training alone: such models share their compiled programs."""
        fresh = SeriesConfig()
        return dataclasses.replace(
            self, optim=fresh.optim, steps=fresh.steps, batch_size=fresh.batch_size, seed=fresh.seed
        )

    def to_json(self) -> str:
        """Returns the config as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SeriesConfig":
        """Reads what `to_json` wrote.

        Example:
            >>> SeriesConfig.from_json(SeriesConfig(sizes=(5, 3)).to_json()).sizes
            (5, 3)

        Raises:
            ValueError: if the text is no JSON object of this config's fields.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            parts: dict[str, Any] = {
                "cell": ModelConfig(**migrate("model", raw.pop("cell"))),
                "optim": OptimConfig(**migrate("optim", raw.pop("optim"))),
            }
            raw |= {name: tuple(raw[name]) for name in ("sizes", "spans")}
            return cls(**parts, **raw)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"config must hold a SeriesConfig, got {error}. Restore the file.") from None


_KERAS = ModelConfig(initializer="keras", forget_bias=1.0)
_ARTICLE: dict[str, Any] = {
    "sizes": (128, 64),
    "reverse": False,
    "optim": OptimConfig(learning_rate=1e-3, warmup=0, final=1.0, clip="per_tensor", clip_norm=1.0, eps=1e-7),
}
SERIES: dict[str, SeriesConfig] = {
    "series": SeriesConfig(
        sizes=(24, 64),
        spans=(10,),
        memory=256,
        cell=ModelConfig(initializer="mirror"),
        optim=OptimConfig(learning_rate=1e-3, warmup=50),
    ),
    "remedy-clipping": SeriesConfig(**_ARTICLE, cell=_KERAS),
    "remedy-dropout": SeriesConfig(
        **_ARTICLE, cell=dataclasses.replace(_KERAS, input_dropout=0.2, recurrent_dropout=0.2)
    ),
    "remedy-layernorm": SeriesConfig(**_ARTICLE, cell=dataclasses.replace(_KERAS, use_bias=False, layer_norm="output")),
}
"""Autoencoders of series by name: ours, and three pieces of usual advice as they are usually written down for Keras,
LSTM(128) -> LSTM(64) with a mirrored decoder: a clip of each tensor's gradient at norm 1 under Adam 1e-3; dropout 0.2
of inputs and of the recurrence; glorot's kernels without biases, and a layer normalisation after each LSTM."""
