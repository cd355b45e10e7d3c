"""`hae train` with a preset for series, and `hae score`: anomaly scores of series."""

import csv
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagConversionOff, arg

from hae_jax.cli.options import Trained
from hae_jax.config.series import SERIES
from hae_jax.config.validate import require


@dataclass(frozen=True)
class SeriesData:
    """The series, and how they are cut into windows."""

    corpus: str = "aeon:JapaneseVowels"
    """A .csv (rows are steps, columns channels), .npy or .npz; or aeon:NAME, a data set of the package aeon."""
    window: int = 128
    """Steps of a window; longer series are cut into overlapping windows."""
    missing: Annotated[FlagConversionOff[bool], arg(metavar="", help_behavior_hint="")] = False
    """Treats NaN and empty cells as missing values."""


@dataclass(frozen=True)
class SeriesTraining:
    """Training options; defaults are those of the preset."""

    steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Steps of training."""
    seed: int = 0
    """Seed of parameters and batches."""
    batch_size: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Series, or windows, per step."""
    learning_rate: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Peak learning rate of Adam."""


@dataclass(frozen=True, kw_only=True)
class SeriesTrain(Trained):
    """Trains an autoencoder on continuous series, in memory."""

    workdir: Annotated[Path, arg(help_behavior_hint="(required)")]
    """New folder for the trained model, for `hae score` and `SeriesAutoencoder.load`."""
    preset: Annotated[str, arg(metavar="{" + ",".join(SERIES) + "}")] = "series"
    """Config that provides the defaults of the other options."""
    data: SeriesData = field(default_factory=SeriesData)
    train: SeriesTraining = field(default_factory=SeriesTraining)

    def run(self) -> None:
        """Trains and saves the model."""
        require(self.data.window >= 1, "data.window", "be at least 1", self.data.window, "Use a hundred or so.")
        held = (self.workdir / "config.json").exists()
        require(not held, "workdir", "be a new folder", f"{self.workdir} with a run", "Choose another one.")
        need_sklearn()
        from hae_jax.data.recordings import read_recordings, sliding_windows
        from hae_jax.data.series import as_series
        from hae_jax.estimators import SeriesAutoencoder

        series = as_series(read_recordings(self.data.corpus), self.data.missing, name="series")
        windows = [window for one in series for window in sliding_windows(one, self.data.window)]
        chosen = {("random_state" if name == "seed" else name): value for name, value in vars(self.train).items()}
        model = SeriesAutoencoder(config=SERIES[self.preset], missing=self.data.missing, **chosen).fit(windows)
        model.save(self.workdir)
        last = model.losses_[-20:].mean()
        print(f"{len(windows)} series of {series[0].shape[1]} channels, {len(model.losses_)} steps: "
              f"squared error {last:.4f} of the variance")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Score(Trained):
    """Computes anomaly scores for every step of series; the mean in training is 1."""

    input: str
    """Series, in a format that `hae train` reads."""
    output: Path
    """The .csv to write, with columns series, step, squared_error, score."""
    plot: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: none)")] = None
    """A figure to write: the first series, its reconstruction and its scores."""

    def run(self) -> None:
        """Writes the scores."""
        for name, path in (("output", self.output), ("plot", self.plot)):
            fits = path is None or (path.parent.is_dir() and not path.is_dir())
            require(fits, name, "be a file in an existing folder", path, "Choose another path.")
        need_sklearn()
        from hae_jax.data.recordings import join_windows, read_recordings, sliding_windows
        from hae_jax.data.series import as_series
        from hae_jax.estimators import SeriesAutoencoder

        model = SeriesAutoencoder.load(self.workdir)
        given = as_series(read_recordings(self.input), model.config_.missing, len(model.scaler_.mean), "series")
        with self.output.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["series", "step", "squared_error", "score"])
            for place, one in enumerate(given):
                width, windows = model.length_, sliding_windows(one, model.length_)
                errors, scores = (
                    join_windows(f(windows), len(one), width) for f in (model.errors, model.anomaly_score)
                )
                table.writerows([place, at, *map("{:.6g}".format, pair)]
                                for at, pair in enumerate(zip(errors, scores, strict=True)))  # fmt: skip
                if self.plot and place == 0:
                    from hae_jax.plots import draw_scores

                    draw_scores(one, join_windows(model.reconstruct(windows), len(one), width), scores, self.plot)
        print(f"{len(given)} series scored: {self.output}", file=sys.stderr)


def need_sklearn() -> None:
    """Raises a ValueError if scikit-learn is not installed."""
    installed = importlib.util.find_spec("sklearn") is not None
    require(installed, "scikit-learn", "be installed", "none", "Try: pip install 'hae_jax[sklearn]'")
