"""The autoencoder of documents as a scikit-learn estimator."""

import json
import shutil
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hae_jax.config.presets import preset
from hae_jax.estimators.archive import refuse
from hae_jax.inference.texts import Part, check_part, check_texts
from hae_jax.trained import TrainedModel
from hae_jax.trainer import train


class DocumentAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Encodes documents into vectors and decodes them.

    Args:
        config: name of the preset that provides the defaults.
        steps: training steps.
        batch_size: documents per step.
        learning_rate: peak learning rate of Adam.
        vocab_size: number of token ids.
        random_state: seed of parameters, batches and noise.
        verbose: shows progress on standard error.
        part: the part of a code that `transform` returns: `order`, `topic`, or `all` of it, which alone can be decoded.

    Attributes:
        model_: the trained model, a `hae_jax.TrainedModel`.

    Example:
        >>> texts = ["Rain fell. The bridge held.", "Trade recovered. Grain came.", "It rained. Grain was sold."]
        >>> model = DocumentAutoencoder("tiny", steps=2).fit(texts)
        >>> codes = model.transform(texts)
        >>> codes.shape, len(model.inverse_transform(codes))
        ((3, 256), 3)
    """

    def __init__(
        self,
        config: str = "small",
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        vocab_size: int | None = None,
        random_state: int = 0,
        verbose: bool | int = False,
        part: Part = "all",
    ) -> None:
        self.config = config
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.vocab_size = vocab_size
        self.random_state = random_state
        self.verbose = verbose
        self.part = part

    def fit(self, X: Iterable[str], y: Any = None) -> "DocumentAutoencoder":
        """Trains the model. Some texts are held out, to select the best checkpoint.

        Args:
            X: a list of strings.
            y: ignored.

        Raises:
            ValueError: if a setting or a text is invalid, or there are too few texts.
        """
        texts, start = check_texts(X), preset(self.config)
        check_part(start.model, self.part)
        folder = Path(mkdtemp(prefix="hae_jax-"))
        # The files are deleted together with the estimator.
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        corpus = folder / "texts.jsonl"
        with corpus.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        chosen: dict[str, dict[str, Any]] = {
            "data": {
                "corpus": str(corpus), "field": "text", "batch_size": self.batch_size, "vocab_size": self.vocab_size,
            },
            "optim": {"learning_rate": self.learning_rate},
            "train": {"steps": self.steps, "seed": self.random_state},
        }  # fmt: skip
        sections: dict[str, Any] = {
            section: replace(getattr(start, section), **{k: v for k, v in values.items() if v is not None})
            for section, values in chosen.items()
        }
        self.model_ = train(replace(start, **sections), folder / "run", progress=bool(self.verbose))
        return self

    def transform(self, X: Iterable[str]) -> Float[np.ndarray, "text code"]:
        """Returns the codes of texts, or a part of them, float32; warns of texts that exceed one code."""
        check_is_fitted(self)
        return self.model_.encode(X, self.part, progress=bool(self.verbose))

    def inverse_transform(self, codes: Any) -> list[str]:
        """Returns the texts decoded greedily from codes, [text, code].

        Raises:
            ValueError: if `part` is not `all`, or the codes have another shape or are not finite.
        """
        check_is_fitted(self)
        if self.part != "all":
            raise ValueError(f"part must be 'all' to decode codes, got {self.part!r}. Use set_params(part='all').")
        return self.model_.decode(np.asarray(codes), progress=bool(self.verbose))

    def reconstruct(self, X: Iterable[str]) -> list[str]:
        """Returns the reconstructions of whole texts."""
        check_is_fitted(self)
        return self.model_.reconstruct(X, progress=bool(self.verbose))

    def score_samples(self, X: Iterable[str]) -> Float[np.ndarray, "text"]:
        """Returns the mean log-likelihood of each text's tokens, in nats per token; see
        `TrainedModel.log_likelihood`."""
        check_is_fitted(self)
        return self.model_.log_likelihood(X, progress=bool(self.verbose))

    def save(self, folder: Path | str) -> None:
        """Copies the trained run into a folder, for `load` and as a workdir of `hae`."""
        check_is_fitted(self)
        shutil.copytree(self.model_.workdir, folder, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: Path | str) -> "DocumentAutoencoder":
        """Loads an estimator that was saved, or any workdir of `hae train`.

        Raises:
            ValueError: if the folder holds no run.
        """
        estimator = cls()
        estimator.model_ = TrainedModel.load(folder)
        return estimator

    def __getstate__(self) -> Any:
        if "model_" in self.__dict__:
            refuse(type(self).__name__)
        return super().__getstate__()

    @property
    def _n_features_out(self) -> int:
        return self.model_.encode(["One."], self.part).shape[1]
