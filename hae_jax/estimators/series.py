"""The autoencoder of series as a scikit-learn estimator."""

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from rich.console import Console
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data.series import Scaler, SeriesArray, as_series, pad_series
from hae_jax.estimators.anomaly_score import MahalanobisScorer
from hae_jax.estimators.archive import Archive, refuse
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.progress import bar
from hae_jax.training.series import train


class SeriesAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):
    """Encodes series into vectors, decodes them, and scores anomalies by reconstruction errors.

    Series are a list of arrays [time] or [time, channel], of any lengths, or one array [series, time] or [series, time,
    channel]; all have the same number of channels.

    Args:
        sizes: sizes of the vectors of each level, lowest first, or of the layers of a flat stack; the last one is the
            size of the code.
        spans: steps per window, windows per segment, ...; empty for a flat stack, with orthogonal initialization.
        decoding: input of the decoder at every step: "repeat", the code; "previous", also the previous value.
        steps: training steps.
        batch_size: series per step.
        learning_rate: peak learning rate of Adam.
        missing: whether NaN marks a missing value.
        contamination: share of the training series that `predict` classifies as outliers.
        config: a config, or the name of a preset, for all other options; arguments above that are not None override
            it.
        random_state: seed of parameters, batches and noise.
        verbose: shows a progress bar of training on standard error.

    Attributes:
        config_: the config, with all arguments applied.
        scaler_: mean and standard deviation of each channel.
        params_: the trained parameters.
        losses_: training loss of every step, the squared error relative to the variance: 1 if the mean is predicted.
        scorer_: distribution of the errors of the training series.
        length_: steps of the longest training series.
        offset_: score below which a series is classified as an outlier.

    Example:
        >>> waves = [np.sin(np.arange(n) / 2) for n in (9, 14, 11, 16)]
        >>> model = SeriesAutoencoder(sizes=(5, 3), steps=3).fit(waves)
        >>> codes = model.transform(waves)
        >>> codes.shape, [wave.shape for wave in model.inverse_transform(codes[:2], lengths=[9, 14])]
        ((4, 3), [(9, 1), (14, 1)])
    """

    def __init__(
        self,
        sizes: tuple[int, ...] | None = None,
        spans: tuple[int, ...] | None = None,
        decoding: Literal["repeat", "previous"] | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        missing: bool = False,
        contamination: float = 0.1,
        config: SeriesConfig | str = "series",
        random_state: Any = 0,
        verbose: bool | int = False,
    ) -> None:
        self.sizes = sizes
        self.spans = spans
        self.decoding = decoding
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.missing = missing
        self.contamination = contamination
        self.config = config
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "SeriesAutoencoder":
        """Trains the autoencoder.

        Args:
            X: series.
            y: ignored.

        Raises:
            ValueError: if a setting or a series is invalid.
            NonFinite: if training diverges.
        """
        config = self._settings()
        if not 0 < self.contamination <= 0.5:
            raise ValueError(
                f"contamination must lie in (0, 0.5], got {self.contamination}. Use the share of outliers you expect."
            )
        series = self._series(X, reset=True)
        self.config_ = config
        self.scaler_ = Scaler.fit(series) if config.scaling == "channel" else Scaler.identity(series[0].shape[1])
        self.length_ = max(map(len, series))
        with bar(Console(stderr=True), bool(self.verbose)) as progress:
            task = progress.add_task("training", total=config.steps, numbers="")
            self.params_, self.losses_ = train(
                config, pad_series(series, self.scaler_), on_step=lambda step: progress.update(task, completed=step)
            )
        self.scorer_ = MahalanobisScorer.fit(self._residuals(series))
        self.offset_ = float(np.quantile(self._scores(series), self.contamination))
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "series code"]:
        """Returns the codes of series, float32."""
        check_is_fitted(self)
        return inference.encode(self._model, self.params_, self.scaler_, self._series(X))

    def inverse_transform(self, codes: Any, lengths: Any = None) -> list[SeriesArray]:
        """Decodes codes to series, [time, channel] each, in the units of the data.

        Args:
            codes: [series, code], as returned by `transform`, or near such codes.
            lengths: steps of each series; by default those of the longest training series.

        Raises:
            ValueError: if the codes have another shape or are not finite, or lengths do not match them.
        """
        check_is_fitted(self)
        codes = np.asarray(codes, np.float32)
        size = self.config_.sizes[-1]
        if codes.ndim != 2 or codes.shape[1] != size or not len(codes):
            raise ValueError(f"codes must have the shape [any, {size}], got {list(codes.shape)}. Call transform first.")
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite, got nan or infinity. Call transform anew.")
        steps = np.full(len(codes), self.length_) if lengths is None else np.asarray(lengths)
        if steps.shape != (len(codes),) or steps.dtype.kind not in "iu" or steps.min() < 1:
            raise ValueError(f"lengths must be {len(codes)} whole numbers from 1 on, got {lengths}. Give one per code.")
        return inference.decode(self._model, self.params_, self.scaler_, codes, steps)

    def reconstruct(self, X: Any) -> list[SeriesArray]:
        """Returns the reconstructions of series, in their lengths and units."""
        check_is_fitted(self)
        series = self._series(X)
        codes = inference.encode(self._model, self.params_, self.scaler_, series)
        return self.inverse_transform(codes, [len(one) for one in series])

    def errors(self, X: Any) -> list[Float[np.ndarray, "_"]]:
        """Returns the squared error of every step of each series, relative to the variance, as a mean over the observed
        channels; NaN at steps without one."""
        check_is_fitted(self)
        return [inference.squares(one) for one in self._residuals(self._series(X))]

    def anomaly_score(self, X: Any) -> list[Float[np.ndarray, "_"]]:
        """Returns the anomaly score of every step of each series, on average 1 in training: the Mahalanobis distance of
        its errors to those of the training series; see `hae_jax.estimators.anomaly_score.MahalanobisScorer`."""
        check_is_fitted(self)
        return [self.scorer_.score(one) for one in self._residuals(self._series(X))]

    def score_samples(self, X: Any) -> Float[np.ndarray, "series"]:
        """Returns minus the mean anomaly score of each series: higher for series more similar to the training data."""
        check_is_fitted(self)
        return self._scores(self._series(X))

    def decision_function(self, X: Any) -> Float[np.ndarray, "series"]:
        """Returns `score_samples` minus `offset_`: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int[np.ndarray, "series"]:
        """Returns -1 for outliers and 1 for inliers."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def save(self, folder: Path | str) -> None:
        """Saves the fitted estimator in a folder, for `load` and `hae score`."""
        check_is_fitted(self)
        arrays = {"mean": self.scaler_.mean, "deviation": self.scaler_.deviation, "losses": self.losses_}
        arrays |= {f"surprise_{name}": array for name, array in self.scorer_._asdict().items()}
        facts: dict[str, Any] = {"length": self.length_, "offset": self.offset_, "contamination": self.contamination}
        facts |= {"n_features_in": getattr(self, "n_features_in_", None)}
        Archive(self.config_.to_json(), facts, arrays, self.params_).write(Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> "SeriesAutoencoder":
        """Loads an estimator that was saved.

        Raises:
            ValueError: if the folder holds none, or a damaged one.
        """
        archive = Archive.read(Path(folder))
        config = SeriesConfig.from_json(archive.config)
        estimator = cls(
            missing=config.missing,
            contamination=archive.facts["contamination"],
            config=config,
            random_state=config.seed,
        )
        estimator.config_, estimator.params_, estimator.losses_ = config, archive.params, archive.arrays["losses"]
        estimator.scaler_ = Scaler(archive.arrays["mean"], archive.arrays["deviation"])
        estimator.scorer_ = MahalanobisScorer(
            *(archive.arrays[f"surprise_{name}"] for name in MahalanobisScorer._fields)
        )
        estimator.length_, estimator.offset_ = archive.facts["length"], archive.facts["offset"]
        if archive.facts["n_features_in"] is not None:
            estimator.n_features_in_ = archive.facts["n_features_in"]
        return estimator

    def __getstate__(self) -> Any:
        if "params_" in self.__dict__:
            refuse(type(self).__name__)
        return super().__getstate__()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array, tags.input_tags.allow_nan = True, bool(self.missing)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _model(self) -> Series:
        return Series(self.config_.architecture, len(self.scaler_.mean))

    @property
    def _n_features_out(self) -> int:
        return self.config_.sizes[-1]

    def _settings(self) -> SeriesConfig:
        if isinstance(self.config, str) and self.config not in SERIES:
            raise ValueError(f"config must be one of {', '.join(SERIES)}, got {self.config!r}. Or a SeriesConfig.")
        config = SERIES[self.config] if isinstance(self.config, str) else self.config
        if not isinstance(config, SeriesConfig):
            raise ValueError(f"config must be a SeriesConfig, got {type(config).__name__}. Or the name of a preset.")
        if self.spans is not None and not self.spans and config.memory:
            config = replace(config, memory=0, cell=replace(config.cell, initializer="orthogonal"))
        chosen = {
            name: getattr(self, name)
            for name in ("sizes", "spans", "decoding", "steps", "batch_size")
            if getattr(self, name) is not None
        }
        chosen |= {name: tuple(chosen[name]) for name in ("sizes", "spans") if name in chosen}
        optim = config.optim if self.learning_rate is None else replace(config.optim, learning_rate=self.learning_rate)
        drawn = not isinstance(self.random_state, Integral)
        seed = check_random_state(self.random_state).randint(2**31 - 1) if drawn else self.random_state
        return replace(config, **chosen, optim=optim, missing=self.missing, seed=int(seed))

    def _series(self, X: Any, reset: bool = False) -> list[SeriesArray]:
        missing = self.missing if reset else self.config_.missing
        if _is_table(X):
            finite: Any = "allow-nan" if missing else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        elif reset:
            # Series of any length have no number of features; an earlier fit of a table may have set one.
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
        return as_series(X, missing, None if reset else len(self.scaler_.mean))

    def _scores(self, series: list[SeriesArray]) -> Float[np.ndarray, "series"]:
        return -np.array([self.scorer_.score(one).mean() for one in self._residuals(series)])

    def _residuals(self, series: list[SeriesArray]) -> list[SeriesArray]:
        return inference.residuals(self._model, self.params_, self.scaler_, series)


def _is_table(given: Any) -> bool:
    """Whether `given` is a table for scikit-learn, rows of equal length, which its rules require to stay the same."""
    if isinstance(given, list | tuple):
        plain = not any(isinstance(one, np.ndarray) for one in given)
        return plain and {np.ndim(one) for one in given} == {1} and len({len(one) for one in given}) == 1
    return getattr(given, "ndim", 0) != 3
