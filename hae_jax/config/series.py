"""Configs of autoencoders of continuous series, and presets by name."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from hae_jax.config.migration import migrate, migrate_cell
from hae_jax.config.model import CellConfig
from hae_jax.config.run import OptimConfig
from hae_jax.config.validate import require, require_choice, require_positive


@dataclass(frozen=True)
class SeriesConfig:
    """An autoencoder of continuous series with squared error, and its training."""

    sizes: tuple[int, ...] = (128, 64)
    """Units of the encoder's layers, bottom first; the decoder mirrors them, and the last one is the size of the
    code."""
    spans: tuple[int, ...] = ()
    """Number of steps in a window, of windows in a segment, and so on: a hierarchy with one layer per level, of which
    the last one reads all that remains. Without spans every layer reads every step."""
    memory: int = 0
    """With the initializer "mirror": units of the top level's LSTM. It can store all of its inputs if there are as many
    units as their vectors have components; lower levels have as many units as a window needs. Affine maps compress
    states to vectors of `sizes`, and expand them again. 0 with all other initializers, where the vectors are states."""
    decoding: Literal["repeat", "previous"] = "repeat"
    """Input of the decoder at every step: the code (like after a Keras RepeatVector), or also the previous value: the
    true one in training, the decoded one afterwards."""
    reverse: bool = True
    """The encoder reads its inputs in reverse order, so that the last input is the first to be decoded."""
    scaling: Literal["channel", "none"] = "channel"
    """Whether every channel is scaled to mean 0 and standard deviation 1, as estimated from the training data."""
    missing: bool = False
    """Whether NaN is a missing value, indicated to the encoder by an additional input; otherwise NaN is an error."""
    cell: CellConfig = field(default_factory=CellConfig)
    """Options of the LSTM cells."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup=20))
    """Clipping, Adam and the learning rate."""
    steps: int = 1000
    """Steps of training, and of the learning-rate schedule."""
    batch_size: int = 32
    """Series per step."""
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
            "The last layer has no span; use an empty tuple for a flat stack.",
        )  # fmt: skip
        require(self.seed >= 0, "series.seed", "be at least 0", self.seed, "Use any whole number from 0 on.")
        require(
            type(self.cell) is CellConfig, "series.cell", "be a CellConfig", type(self.cell).__name__,
            "Only texts have the fields of ModelConfig.",
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
             "The first step to be decoded must be the last to be read.")  # fmt: skip
        for name, plain in (("layer_norm", "none"), ("recurrent_dropout", 0), ("zoneout_hidden", 0)):
            got = getattr(self.cell, name)
            require(got == plain, f"series.cell.{name}", f"be {plain} with series.cell.initializer mirror", got,
                 "A shift register stores its inputs unchanged.")  # fmt: skip

    @property
    def architecture(self) -> "SeriesConfig":
        """The config with default values for the fields of training: models that differ in these alone share their
        compiled functions."""
        fresh = SeriesConfig()
        return dataclasses.replace(
            self, optim=fresh.optim, steps=fresh.steps, batch_size=fresh.batch_size, seed=fresh.seed
        )

    def to_json(self) -> str:
        """Returns the config as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SeriesConfig":
        """Reads the output of `to_json`, of this version or an earlier one (see `hae_jax.config.migration`).

        Example:
            >>> SeriesConfig.from_json(SeriesConfig(sizes=(5, 3)).to_json()).sizes
            (5, 3)

        Raises:
            ValueError: if the text is not a JSON object of this config's fields.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            parts: dict[str, Any] = {
                "cell": CellConfig(**migrate_cell(raw.pop("cell"))),
                "optim": OptimConfig(**migrate("optim", raw.pop("optim"))),
            }
            raw |= {name: tuple(raw[name]) for name in ("sizes", "spans")}
            return cls(**parts, **raw)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"config must hold a SeriesConfig, got {error}. Restore the file.") from None


_KERAS = CellConfig(initializer="keras", forget_bias=1.0)
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
        cell=CellConfig(initializer="mirror"),
        optim=OptimConfig(learning_rate=1e-3, warmup=50),
    ),
    "remedy-clipping": SeriesConfig(**_ARTICLE, cell=_KERAS),
    "remedy-dropout": SeriesConfig(
        **_ARTICLE, cell=dataclasses.replace(_KERAS, input_dropout=0.2, recurrent_dropout=0.2)
    ),
    "remedy-layernorm": SeriesConfig(**_ARTICLE, cell=dataclasses.replace(_KERAS, use_bias=False, layer_norm="output")),
}
"""Presets by name: the recommended one, and three common remedies in their usual form for Keras, with LSTM(128) ->
LSTM(64) and a mirrored decoder: clipping of each tensor's gradient to norm 1 with Adam 1e-3; dropout 0.2 of inputs and
recurrence; Glorot kernels without biases, and layer normalization after each LSTM."""
