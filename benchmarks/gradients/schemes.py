"""Initialization schemes and normalizations that the training tables compare: fields of the model's config."""

from typing import Any

from benchmarks.gradients.tasks import Task
from hae_jax.config import ModelConfig

SCHEMES: dict[str, dict[str, Any]] = {
    "flax default": {"initializer": "flax", "forget_bias": 0.0},
    "glorot, no bias": {"initializer": "glorot", "use_bias": False},
    "glorot, forget bias 1": {"initializer": "glorot", "forget_bias": 1.0},
    "Keras default": {"initializer": "keras", "forget_bias": 1.0},
    "orthogonal, forget bias 0": {"initializer": "orthogonal", "forget_bias": 0.0},
    "orthogonal, forget bias 1": {"initializer": "orthogonal", "forget_bias": 1.0},
    "orthogonal, forget bias 2": {"initializer": "orthogonal", "forget_bias": 2.0},
    "orthogonal, forget bias 5": {"initializer": "orthogonal", "forget_bias": 5.0},
    "chrono": {"initializer": "chrono"},
    "uniform gate": {"initializer": "uniform_gate"},
    "critical": {"initializer": "critical"},
    "torch default": {"initializer": "torch"},
    "normal 0.01": {"initializer": "normal", "forget_bias": 0.0},
    "orthogonal, gain 2": {"initializer": "orthogonal", "forget_bias": 1.0, "recurrent_gain": 2.0},
    "orthogonal, gain 4": {"initializer": "orthogonal", "forget_bias": 1.0, "recurrent_gain": 4.0},
    "orthogonal, gain 8": {"initializer": "orthogonal", "forget_bias": 1.0, "recurrent_gain": 8.0},
    "uniform 0.1, no bias": {"initializer": "uniform", "use_bias": False},
}
"""Initializations by name. Flax, Keras and PyTorch with their defaults; the last is that of Li, Luong & Jurafsky."""

NORMS: dict[str, dict[str, Any]] = {
    "none": {},
    "cell": {"layer_norm": "cell"},
    "cell, gain 0.1": {"layer_norm": "cell", "layer_norm_gain": 0.1},
    "output": {"layer_norm": "output"},
}
"""Layer normalization by place: none, inside the cell, or on the output of each LSTM."""

ARTICLE = ("glorot, no bias", "cell")
"""The recipe of the Keras examples, with layer normalization in the cell; the alternative has it after each LSTM."""


def config(task: Task, scheme: str, norm: str, hidden: int, **others: Any) -> ModelConfig:
    """Returns the config of a scheme and normalization for a task; the sentence level has twice the word level's units.

    The time scale of chrono is the longest dependency of the task.
    """
    fields = SCHEMES[scheme] | NORMS[norm] | others
    return ModelConfig(embed_dim=16, hidden_dim=hidden, sentence_dim=2 * hidden, timescale=task.timescale, **fields)
