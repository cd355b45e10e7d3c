"""Advice for commands that run out of memory: which size to reduce, and to what."""

from pathlib import Path

from hae_jax.cli.commands import Command, Train
from hae_jax.cli.doctor import Doctor
from hae_jax.cli.gradients import Gradients
from hae_jax.cli.options import Writing
from hae_jax.cli.series import SeriesTrain
from hae_jax.config import Config
from hae_jax.config.series import SERIES


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that the memory of the host or of a device is exhausted."""
    return isinstance(error, MemoryError | OverflowError) or "RESOURCE_EXHAUSTED" in str(error)


def memory_advice(command: Command) -> str:
    """Returns a message with the option to reduce, its value, and a smaller value."""
    match command:
        case Train():
            return training_advice(command.config, command.workdir)
        case SeriesTrain():
            size, name = command.train.batch_size or SERIES[command.preset].batch_size, "train.batch_size"
        case Gradients() | Doctor(workdir=None):
            size, name = command.data.batch_size, "data.batch_size"
        case Writing(beam=int(size)):
            name = "beam"
        case _:
            size = 1
    if size == 1:
        return "the model and its documents must fit into memory, got too little. Close other programs."
    return f"{name} must fit into memory, got {size}. Use {name} {size // 2}."


def training_advice(config: Config, workdir: Path) -> str:
    """Returns options that train the same model with less memory, first the one that a started run allows."""
    import jax

    from hae_jax.training.checkpoint import steps

    size, devices, saved = config.data.batch_size, jax.local_device_count(), steps(workdir / "checkpoints")
    half = size // 2 // devices * devices
    repairs = [] if config.model.remat else ["model.remat True"]
    if half:
        parts = round(size / half) * config.optim.accumulate
        repairs.append(f"data.batch_size {half} and optim.accumulate {parts}{' in a new workdir' if saved else ''}")
    if not repairs:
        hidden = config.model.hidden_dim
        repair = f"Use model.hidden_dim {max(hidden // 2, 1)} in a new workdir."
        return f"model.hidden_dim must fit into memory, got {hidden}. {repair}"
    kept = f" The checkpoint of step {saved[-1]} is kept." if saved else ""
    return f"data.batch_size must leave memory for a step, got {size}. Use {', or '.join(repairs)}.{kept}"
