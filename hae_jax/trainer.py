"""From a config to a trained model of texts."""

from pathlib import Path

from rich.console import Console

from hae_jax.config import Config
from hae_jax.trained import TrainedModel
from hae_jax.training import fit


def train(config: Config, workdir: Path | str, *, progress: bool = False) -> TrainedModel:
    """Trains a model, or resumes its training, and returns it; `hae_jax.training.fit` has more options.

    Args:
        config: what to train, for example a preset.
        workdir: folder of the run; created if necessary. The same call on the same folder resumes an interrupted run,
            or loads a complete one.
        progress: shows progress and evaluations on standard error.

    Returns:
        The model of the checkpoint with the lowest evaluation loss.

    Raises:
        ValueError: if a field of the config or the corpus is invalid, or the workdir holds a run of another config.
        NonFinite: if training diverges.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; a checkpoint is saved first.

    Example:
        >>> from dataclasses import replace
        >>> config = hae_jax.preset("tiny")
        >>> data, steps = replace(config.data, corpus="letters.txt"), replace(config.train, steps=2)
        >>> model = hae_jax.train(replace(config, data=data, train=steps), "runs/letters")
        >>> model.step, model.encode(["The rain began."]).shape
        (2, (1, 256))
    """
    if not isinstance(config, Config):
        raise ValueError(f"config must be a Config, got {config!r}. Use hae_jax.preset('tiny'), for example.")
    result = fit(config, Path(workdir), Console(stderr=True, quiet=not progress))
    if result.signal is not None:
        raise KeyboardInterrupt(f"stopped by signal {result.signal} at step {result.step}")
    return TrainedModel.load(workdir)
