"""A patient: a variant as a training setup, and its examination.

python -m benchmarks.doctor.patient forecaster 12                 # a healthy variant
python -m benchmarks.doctor.patient forecaster 12 target-leak     # its sick twin
python -m benchmarks.doctor.patient forecaster 12 twin            # the twin that the benchmark examines
"""

import importlib
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.architectures import LATENT, architecture
from benchmarks.doctor.models.diseases import sick_twin
from benchmarks.doctor.models.grammar import Variant, draw
from benchmarks.doctor.models.losses import score
from benchmarks.doctor.models.optimizers import optimizer
from benchmarks.doctor.models.sequences import PAD
from benchmarks.doctor.models.tasks import Fields, fields

NAMES = (("x", "y"), ("inputs", "targets"), ("features", "labels"), ("source", "target"))
"""Names of inputs and targets in batches."""


@dataclass(frozen=True)
class Patient:
    """A variant, ready to be trained.

    Attributes:
        variant: its choices.
        setup: what users would hand to the doctor: loss, parameters, batches and optimizer.
        batches: the fields of each batch.
        loss: of parameters, fields, key, and whether each example is decoded from the code of another one.
    """

    variant: Variant
    setup: dict[str, Any]
    batches: list[Fields]
    loss: Callable[..., Any]

    @property
    def params(self) -> Any:
        """Initial parameters."""
        return self.setup["params"]

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer."""
        return self.setup["optimizer"]


def patient(v: Variant) -> Patient:
    """Returns the patient of a variant."""
    examples = fields(v)
    batches = [
        {name: each[at : at + v.batch] for name, each in examples.items()}
        for at in range(0, len(examples["x"]) - v.batch + 1, v.batch)
    ]
    library = importlib.import_module(f"benchmarks.doctor.models.layers.{v.library}")
    params, apply = library.network(v, architecture(v), complete(v, batches[0], None))
    if v.has("low-precision"):
        params = jax.tree.map(lambda p: p.astype(half(v)), params)

    def loss(params: Any, batch: dict[str, Any], key: Any = None, mismatched: bool = False) -> Any:
        noisy = v.dropout > 0 or v.has("dropout-wrong")
        own = jax.random.key(0) if v.has("dropout-wrong") and v.severity <= 0.5 else key
        outputs = apply(architecture(v, mismatched), params, complete(v, batch, key), own if noisy else None)
        outputs = jax.tree.map(lambda x: x.astype(jnp.float32), outputs)
        total = score(v, outputs, batch)
        if v.has("low-precision") and not v.seed % 2:
            total = 1e-3 * total
        return total, outputs

    setup = {
        "loss": user_loss(v, loss),
        "params": params,
        "batches": [pack(v, batch) for batch in batches],
        "optimizer": optimizer(v),
    }
    return Patient(v, setup, batches, lambda *args, **options: loss(*args, **options)[0])


def half(v: Variant) -> Any:
    """Returns the 16-bit type of parameters."""
    return jnp.bfloat16 if v.seed % 2 else jnp.float16


def complete(v: Variant, batch: dict[str, Any], key: Any) -> dict[str, Any]:
    """Returns the fields that an architecture reads: without marks if all is real, with noise if its code has some."""
    found: dict[str, Any] = {name: batch[name] for name in ("x", "y", "real") if name in batch}
    if v.real == "all":
        found.pop("real", None)
    if v.has("target-leak") and (v.kind == "language model" or v.task == "every"):
        y = batch["y"]
        found["x"] = y if v.of_ids else jnp.concatenate([y.reshape(*y.shape[:2], 1), batch["x"][..., 1:]], -1)
    if v.kind == "VAE" and key is not None:
        found["noise"] = jax.random.normal(jax.random.fold_in(key, 1), (batch["x"].shape[0], LATENT))
    return found


def pack(v: Variant, batch: Fields) -> Any:
    """Returns a batch as a user's loader yields it."""
    made: dict[str, Any] = {}
    if is_cut(v):
        y = batch["y"] if v.of_ids else batch["y"].reshape(*batch["x"].shape[:2], 1)
        made["sequences"] = np.concatenate([batch["x"][:, :1], y], 1)
    else:
        made = dict(zip(named(v), (batch["x"], batch["y"]), strict=False))
    if v.real == "mask":
        made["mask"] = batch["real"]
    elif v.real == "lengths":
        made["lengths"] = batch["real"].sum(-1).astype(np.int32)
    elif v.real == "weights":
        made["mask_weights"] = batch["real"].astype(np.float32)
    if "weights" in batch:
        made["sample_weight"] = batch["weights"]
    if "z" in batch:
        made["second"] = batch["z"]
    if v.container == "dict":
        return made
    if v.container == "object":
        return SimpleNamespace(**made)
    values: Any = namedtuple("Batch", made)(**made)
    return values if v.container == "named" else tuple(values)


def unpack(v: Variant, batch: Any) -> dict[str, Any]:
    """Returns the fields of a user's batch."""
    x_name, y_name = NAMES[v.formula]
    names = list(named(v))
    if v.container == "dict":
        given = batch
    elif v.container == "tuple":
        given = dict(zip(names, batch, strict=True))
    else:
        given = {name: getattr(batch, name) for name in names}
    if "sequences" in given:
        whole = given["sequences"]
        x, y = whole[:, :-1], whole[:, 1:]
        if not v.of_ids and not v.shape.endswith("1"):
            y = y[..., 0]
    else:
        x = given[x_name]
        y = given[y_name] if y_name in given else x[..., 0] if v.shape == "time" and not v.of_ids else x
    found = {"x": x, "y": y}
    if v.real == "pad":
        found["real"] = (y if v.kind == "language model" else x) != PAD
    elif v.real == "mask":
        found["real"] = given["mask"]
    elif v.real == "lengths":
        found["real"] = jnp.arange(x.shape[1]) < given["lengths"][:, None]
    elif v.real == "weights":
        found["real"] = given["mask_weights"] > 0
    if v.weighted:
        found["weights"] = given["sample_weight"]
    if v.extra:
        found["z"] = given["second"]
    return found


def named(v: Variant) -> list[str]:
    """Returns the names of the fields of a user's batch, in their order."""
    x_name, y_name = NAMES[v.formula]
    names = ["sequences"] if is_cut(v) else [x_name] if copies(v) else [x_name, y_name]
    names += {"mask": ["mask"], "lengths": ["lengths"], "weights": ["mask_weights"]}.get(v.real, [])
    return names + ["sample_weight"] * v.weighted + ["second"] * v.extra


def ahead(v: Variant) -> bool:
    """Returns whether targets are the inputs of the next step."""
    return v.kind == "language model" or v.task == "every"


def is_cut(v: Variant) -> bool:
    """Returns whether inputs and targets are cut from one field; only the first channel of a series is predicted."""
    return v.joined and ahead(v) and (v.of_ids or v.channels == 1)


def copies(v: Variant) -> bool:
    """Returns whether batches have no field of targets, which are the inputs."""
    return v.kind in ("autoencoder", "hierarchy", "VAE") and v.joined


def user_loss(v: Variant, loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a loss with the signature and the result that a user's would have."""

    def value(params: Any, batch: Any, key: Any) -> Any:
        total, outputs = loss(params, unpack(v, batch), key)
        if v.returns == "pair":
            return total, outputs
        return {"loss": total, "size": jnp.abs(outputs["output"]).mean()} if v.returns == "mapping" else total

    if v.kind == "VAE":
        return lambda params, batch, key: value(params, batch, key)
    if not v.dropout and not v.has("dropout-wrong"):
        return lambda params, batch: value(params, batch, None)
    if v.seed % 3 == 0:
        return lambda params, batch, rng: value(params, batch, rng)
    return lambda params, batch, key, train=True: value(params, batch, key if train else None)


def main(arguments: list[str]) -> None:
    """Examines a patient, and prints its variant and the report."""
    from hae_jax.doctor import examine

    kind, seed, *disease = arguments
    v = draw(kind, int(seed))
    if disease:
        v = sick_twin(v) if disease[0] == "twin" else replace(v, disease=disease[0])
    print(v)
    print(examine(patient(v).setup))


if __name__ == "__main__":
    main(sys.argv[1:])
