"""What a workdir must hold for its model to be loaded."""

from pathlib import Path

from hae_jax.config import Config


def trained_config(workdir: Path) -> Config:
    """Returns the config of a run on text.

    Args:
        workdir: folder of the run.

    Raises:
        ValueError: if the folder holds no run, a run on series, or a config alone.
    """
    path = workdir / "config.json"
    if (workdir / "facts.json").is_file():
        raise ValueError(
            f"workdir must hold a run on text, got one on series in {workdir}. Use hae score, or "
            "hae_jax.estimators.SeriesAutoencoder.load."
        )
    if not path.is_file():
        raise ValueError(
            f"workdir must hold a run, got no config.json in {workdir}. Train one: hae train --workdir {workdir}"
        )
    config = Config.load(path)
    if not (workdir / "data").is_dir():
        # As `hae doctor --repair` leaves it: a config to train.
        raise ValueError(
            f"workdir must hold a trained run, got a config alone in {workdir}. Train it: hae train --workdir {workdir}"
        )
    return config
