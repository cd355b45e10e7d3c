"""The autoencoder of series as a scikit-learn estimator."""

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data.series import Scaler, SeriesArray, as_series, pad_series
from hae_jax.estimators.anomaly_score import MahalanobisScorer
from hae_jax.estimators.archive import Archive, refuse
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.series import train


class SeriesAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):
    """Turns series into codes and back, and tells which ones do not come back.

    Series are a list of arrays [time] or [time, channel], of any lengths, or one array [series, time] or [series, time,
    channel]; all have the channels of those that were fitted.

    Args:
        sizes: sizes of each level's vectors, bottom first, or units of a flat stack's layers; the last is the size of
            the code.
        spans: steps of a window, windows of a segment, ...; none for a flat stack, whose weights are the usual ones.
        decoding: what the decoder reads at every step: "repeat", the code alone; "previous", also the previous value.
        steps: steps of training.
        batch_size: series a step.
        learning_rate: Adam's peak rate.
        missing: whether NaN stands for a missing value.
        contamination: share of the fitted series that `predict` calls outliers.
        config: what else is to be decided, or the name of a preset; the arguments above take precedence where they are
            not None.
        random_state: seed.

    Attributes:
        scaler_: mean and deviation of each channel.
        params_: the trained parameters.
        losses_: training loss of every step, in units of the scaled data: 1 is what a model scores that always says the
            mean.
        surprise_: what errors of the fitted series look like.
        length_: steps of the longest fitted series.
        offset_: score below which a series is an outlier.

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

    def fit(self, X: Any, y: Any = None) -> "SeriesAutoencoder":
        """Learns to say series again.

        Args:
            X: series.
            y: ignored.

        Raises:
            ValueError: if a setting or a series cannot be used.
            NonFinite: if training loses itself in numbers that are none.
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
        self.params_, self.losses_ = train(config, pad_series(series, self.scaler_))
        self.surprise_ = MahalanobisScorer.of(self._residuals(series))
        self.offset_ = float(np.quantile(self._scores(series), self.contamination))
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "series code"]:
        """Returns the codes of series."""
        check_is_fitted(self)
        return inference.encode(self._model, self.params_, self.scaler_, self._series(X))

    def inverse_transform(self, codes: Any, lengths: Any = None) -> list[SeriesArray]:
        """Returns the series of codes, in the units of the data.

        Args:
            codes: what `transform` returned, or anything near it.
            lengths: steps of each; those of the longest fitted series by default.

        Raises:
            ValueError: if the codes are not of the model's size or not finite, or lengths do not suit them.
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
            raise ValueError(f"lengths must be {len(codes)} whole numbers from 1 on, got {lengths}. Give one a code.")
        return inference.decode(self._model, self.params_, self.scaler_, codes, steps)

    def reconstruct(self, X: Any) -> list[SeriesArray]:
        """Returns what comes back of series, of their own lengths."""
        check_is_fitted(self)
        series = self._series(X)
        codes = inference.encode(self._model, self.params_, self.scaler_, series)
        return self.inverse_transform(codes, [len(one) for one in series])

    def errors(self, X: Any) -> list[Float[np.ndarray, "_"]]:
        """Returns the squared error of every step, the mean over its observed channels, in units of the scaled data."""
        check_is_fitted(self)
        return [inference.squares(one) for one in self._residuals(self._series(X))]

    def surprise(self, X: Any) -> list[Float[np.ndarray, "_"]]:
        """Returns how unlikely the errors at every step are among those of the fitted series, where the mean is 1; see
        `hae_jax.estimators.anomaly_score.Surprise`."""
        check_is_fitted(self)
        return [self.surprise_.of_steps(one) for one in self._residuals(self._series(X))]

    def score_samples(self, X: Any) -> Float[np.ndarray, "series"]:
        """Returns minus the mean surprise of each series: the higher, the more like the fitted ones."""
        check_is_fitted(self)
        return self._scores(self._series(X))

    def decision_function(self, X: Any) -> Float[np.ndarray, "series"]:
        """Returns the scores less `offset_`: below 0 are outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int[np.ndarray, "series"]:
        """Returns -1 for outliers and 1 for all others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def save(self, folder: Path | str) -> None:
        """Writes the fitted estimator into a folder; `load` reads it."""
        check_is_fitted(self)
        arrays = {"mean": self.scaler_.mean, "deviation": self.scaler_.deviation, "losses": self.losses_}
        arrays |= {f"surprise_{name}": each for name, each in self.surprise_._asdict().items()}
        facts: dict[str, Any] = {"length": self.length_, "offset": self.offset_, "contamination": self.contamination}
        facts |= {"n_features_in": getattr(self, "n_features_in_", None)}
        Archive(self.config_.to_json(), facts, arrays, self.params_).write(Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> "SeriesAutoencoder":
        """Reads what `save` wrote.

        Raises:
            ValueError: if the folder holds nothing of the kind.
        """
        found = Archive.read(Path(folder))
        config = SeriesConfig.from_json(found.config)
        made = cls(
            missing=config.missing, contamination=found.facts["contamination"], config=config, random_state=config.seed
        )
        made.config_, made.params_, made.losses_ = config, found.params, found.arrays["losses"]
        made.scaler_ = Scaler(found.arrays["mean"], found.arrays["deviation"])
        made.surprise_ = MahalanobisScorer(*(found.arrays[f"surprise_{name}"] for name in MahalanobisScorer._fields))
        made.length_, made.offset_ = found.facts["length"], found.facts["offset"]
        if found.facts["n_features_in"] is not None:
            made.n_features_in_ = found.facts["n_features_in"]
        return made

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
        if self.spans is not None and not self.spans and config.memory:
            config = replace(config, memory=0, cell=replace(config.cell, initializer="orthogonal"))
        given = {
            name: getattr(self, name)
            for name in ("sizes", "spans", "decoding", "steps", "batch_size")
            if getattr(self, name) is not None
        }
        given |= {name: tuple(given[name]) for name in ("sizes", "spans") if name in given}
        optim = config.optim if self.learning_rate is None else replace(config.optim, learning_rate=self.learning_rate)
        drawn = not isinstance(self.random_state, Integral)
        seed = check_random_state(self.random_state).randint(2**31 - 1) if drawn else self.random_state
        return replace(config, **given, optim=optim, missing=self.missing, seed=int(seed))

    def _series(self, X: Any, reset: bool = False) -> list[SeriesArray]:
        missing = self.missing if reset else self.config_.missing
        if _is_table(X):
            finite: Any = "allow-nan" if missing else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        elif reset:
            # Lengths are free: no number of features remains from an earlier fit of a table.
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
        return as_series(X, missing, None if reset else len(self.scaler_.mean))

    def _scores(self, series: list[SeriesArray]) -> Float[np.ndarray, "series"]:
        return -np.array([self.surprise_.of_steps(one).mean() for one in self._residuals(series)])

    def _residuals(self, series: list[SeriesArray]) -> list[SeriesArray]:
        return inference.residuals(self._model, self.params_, self.scaler_, series)


def _is_table(given: Any) -> bool:
    """Tells whether this is rows of equally many numbers, for which scikit-learn has rules: lengths must not change."""
    if isinstance(given, list | tuple):
        plain = not any(isinstance(one, np.ndarray) for one in given)
        return plain and {np.ndim(one) for one in given} == {1} and len({len(one) for one in given}) == 1
    return getattr(given, "ndim", 0) != 3
