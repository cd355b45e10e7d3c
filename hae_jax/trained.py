"""A trained workdir, opened for use."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from hae_jax.batch import EOD
from hae_jax.config import Config
from hae_jax.data.batches import sequential_batches
from hae_jax.data.cache import load_tokenizer
from hae_jax.data.text import Tokenizer
from hae_jax.models import Flat, Hierarchical, build
from hae_jax.training.checkpoint import Log, load_params


@dataclass(frozen=True)
class TrainedModel:
    """What `fit` left in a workdir.

    Attributes:
        config: the config it was trained with.
        tokenizer: the tokenizer trained with it.
        model: the autoencoder.
        params: parameters of the checkpoint with the lowest evaluation loss, or else of the newest one.
        step: step of that checkpoint.
    """

    config: Config
    tokenizer: Tokenizer
    model: Hierarchical | Flat
    params: PyTree
    step: int

    @classmethod
    def load(cls, workdir: Path, say: Log | None = None) -> "TrainedModel":
        """Opens a workdir; the corpus need not be there any more.

        Args:
            workdir: what `fit` was given.
            say: told when a damaged checkpoint is left aside; prints to standard error by default.

        Raises:
            ValueError: if it holds no run, its vocabulary is not that of the checkpoint, or no checkpoint is whole.
        """
        path = workdir / "config.json"
        if not path.is_file():
            raise ValueError(
                f"workdir must hold a run, got no config.json in {workdir}. Train one: hae train --workdir {workdir}"
            )
        config = Config.load(path)
        tokenizer = load_tokenizer(workdir / "data")
        model = build(config.model, tokenizer.vocab_size)
        # Parameters have the same shapes whatever the batch: one document of one word will do.
        batch, _ = next(sequential_batches([[np.array([EOD])]], config.data, 1))
        like = jax.eval_shape(lambda batch: model.init({"params": jax.random.key(0)}, batch), batch)["params"]
        params, record = load_params(workdir / "checkpoints", like, say)
        return cls(config, tokenizer, model, params, record.step)
