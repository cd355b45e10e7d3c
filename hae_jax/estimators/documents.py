"""The autoencoder of documents as a scikit-learn estimator."""

import io
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Float, PyTree
from rich.console import Console
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hae_jax.config import DataConfig
from hae_jax.config.presets import preset
from hae_jax.data.batches import sequential_batches
from hae_jax.data.tokenizer import Tokenizer, encode_text
from hae_jax.estimators.archive import refuse
from hae_jax.inference import texts
from hae_jax.inference.teacher_forcing import encode, tokens_of
from hae_jax.trained import TrainedModel
from hae_jax.training import fit


class DocumentAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turns texts into codes and back.

    Args:
        config: name of the preset to start from.
        steps: steps of training; those of the preset if None.
        batch_size: documents a step; that of the preset if None.
        learning_rate: Adam's peak rate; that of the preset if None.
        vocab_size: number of ids at most; that of the preset if None.
        random_state: seed.

    Attributes:
        run_: the trained run: `model`, `params`, `tokenizer`, `config`.
    """

    def __init__(
        self,
        config: str = "small",
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        vocab_size: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.config = config
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.vocab_size = vocab_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "DocumentAutoencoder":
        """Learns to say texts again.

        Some of them are held out, and tell which checkpoint is the best.

        Args:
            X: texts.
            y: ignored.

        Raises:
            ValueError: if a setting or a text cannot be used, or the texts are too few.
        """
        given = _texts(X)
        folder = Path(mkdtemp(prefix="hae_jax-"))
        # The files live as long as the estimator does.
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        corpus = folder / "texts.jsonl"
        with corpus.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps({"text": text}) + "\n" for text in given)
        start = preset(self.config)
        chosen: dict[str, dict[str, Any]] = {
            "data": {
                "corpus": str(corpus), "field": "text", "batch_size": self.batch_size, "vocab_size": self.vocab_size,
            },
            "optim": {"learning_rate": self.learning_rate},
            "train": {"steps": self.steps, "seed": self.random_state},
        }  # fmt: skip
        parts: dict[str, Any] = {
            section: replace(getattr(start, section), **{k: v for k, v in values.items() if v is not None})
            for section, values in chosen.items()
        }
        self._workdir = folder / "run"
        fit(replace(start, **parts), self._workdir, Console(file=io.StringIO()))
        self.run_ = TrainedModel.load(self._workdir)
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "text code"]:
        """Returns the codes of texts."""
        check_is_fitted(self)
        return texts.encode(*self._parts, _texts(X))

    def inverse_transform(self, codes: Any) -> list[str]:
        """Returns the texts of codes, decoded greedily."""
        check_is_fitted(self)
        return list(texts.decode(*self._parts, np.asarray(codes)))

    def reconstruct(self, X: Any) -> list[str]:
        """Returns what comes back of texts."""
        check_is_fitted(self)
        return [each.reconstruction for each in texts.reconstruct(*self._parts, _texts(X))]

    def score_samples(self, X: Any) -> Float[np.ndarray, "text"]:
        """Returns minus the nats a token of each text, teacher-forced: the higher, the more like the fitted ones."""
        check_is_fitted(self)
        model, params, tokenizer, data = self._parts
        documents, _ = encode_text(_texts(X), tokenizer, data)
        batches = list(sequential_batches(documents, data, min(texts.DOCS, len(documents))))
        tokens = tokens_of(model, params, batches, [encode(model, params, batch) for batch, _ in batches])
        total, count = (np.bincount(tokens.doc, weight, len(documents)) for weight in (tokens.nll, None))
        return -total / count

    def save(self, folder: Path | str) -> None:
        """Copies the trained run into a folder, which may be used as a workdir of `hae`; `load` reads it."""
        check_is_fitted(self)
        shutil.copytree(self._workdir, folder, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: Path | str) -> "DocumentAutoencoder":
        """Opens what `save` wrote, or any workdir of `hae train`.

        Raises:
            ValueError: if the folder holds no run.
        """
        made = cls()
        made.run_, made._workdir = TrainedModel.load(Path(folder)), Path(folder)
        return made

    def __getstate__(self) -> Any:
        if "run_" in self.__dict__:
            refuse(type(self).__name__)
        return super().__getstate__()

    @property
    def _parts(self) -> tuple[nn.Module, PyTree, Tokenizer, DataConfig]:
        run = self.run_
        return run.model, run.params, run.tokenizer, run.config.data

    @property
    def _n_features_out(self) -> int:
        return self.transform(["One."]).shape[1]


def _texts(given: Any) -> list[str]:
    if isinstance(given, str | bytes) or not hasattr(given, "__len__"):
        raise ValueError(f"X must be a list of texts, got {type(given).__name__}. Put them into a list.")
    found = list(given)
    wrong = [place for place, text in enumerate(found) if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"X[{wrong[0]}] must be a text, got {type(found[wrong[0]]).__name__}. Convert it first.")
    if not found:
        raise ValueError("X must hold at least one text, got none. Pass some.")
    return found
