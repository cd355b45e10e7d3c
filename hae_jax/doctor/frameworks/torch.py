"""A module of PyTorch with its loss, batches and optimizer as a training setup, traced by torchax."""

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from hae_jax.doctor.frameworks import torch_functions, torch_layers, torch_losses, torch_rows
from hae_jax.doctor.frameworks.torch_batches import TensorTree, take_batches
from hae_jax.doctor.frameworks.torch_environment import Environment, to_numpy
from hae_jax.doctor.frameworks.torch_errors import untraced_errors
from hae_jax.doctor.frameworks.torch_loss import LossCall, takes_batch_only, understand
from hae_jax.doctor.frameworks.torch_module import fixed_chance, place, place_copies, restored, set_mode
from hae_jax.doctor.frameworks.torch_optimizer import to_optax
from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup
from hae_jax.doctor.inputs.signatures import loss_value
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE
from hae_jax.doctor.tracing.rolling import rolled

LOWERINGS = torch_functions.LOWERINGS | torch_rows.LOWERINGS | torch_layers.LOWERINGS | torch_losses.LOWERINGS
TOLERANCE = 1e-2
"""Largest relative difference between the loss of PyTorch and that of the trace."""


def setup_of(
    module: Any,
    loss_fn: Any = None,
    batches: Any = None,
    optimizer: Any = None,
    *,
    clip_norm: float | None = None,
    **parts: Any,
) -> TrainingSetup:
    """Makes a training setup of a PyTorch module; the module, its state and the optimizer stay as they are.

    Args:
        module: an `nn.Module`.
        loss_fn: `loss_fn(module, batch)`, or a criterion `loss_fn(output, target)` of batches (input, target).
        batches: a DataLoader, or a list of batches: tensors, tuples, dicts, packed sequences.
        optimizer: a `torch.optim.Optimizer`, translated to optax; Adam if None.
        clip_norm: largest norm of the gradient, as of `clip_grad_norm_`.
        parts: further fields of `TrainingSetup`, such as `pad` or `vocab`; functions take (module, batch).

    Raises:
        SetupError: if a part is missing, fails, or cannot be traced.

    Example:
        >>> data = [(torch.ones(4, 2), torch.ones(4, 1))]
        >>> setup = setup_of(torch.nn.Linear(2, 1), torch.nn.MSELoss(), data)
        >>> sorted(setup.params), setup.framework
        (['bias', 'weight'], 'torch')
    """
    if not callable(loss_fn):
        raise SetupError(
            "loss-fails",
            f"loss_fn must be a function, got {type(loss_fn).__name__}. Give loss_fn(module, batch) or a criterion.",
        )
    # A function of the batch alone holds the module itself, which is restored after each use.
    copied = module if takes_batch_only(loss_fn) else isolated(module)
    tree, arrays = take_batches(batches)
    call, notes = understand(copied, loss_fn, tree.build(arrays[0]))
    params, constants, frozen = split_parameters(copied)
    notes += frozen
    traced = TracedModule(copied, constants, tree)
    names = {id(value): name for name, value in module.named_parameters()}
    twin, remarks = to_optax(optimizer, names, params, clip_norm)
    loss = traced.function(call)
    notes += [*remarks, *traced.compare(call, loss, params, arrays[0])]
    functions: dict[str, Any] = {
        name: traced.function(value) if callable(value) else value for name, value in parts.items()
    }
    return TrainingSetup(loss, params, arrays, twin, framework="torch", notes=tuple(dict.fromkeys(notes)), **functions)


def isolated(module: Any) -> Any:
    """Returns a copy of a module; the module itself if it cannot be copied, since it is restored after each use."""
    try:
        return copy.deepcopy(module)
    except Exception:
        return module


def split_parameters(module: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Returns the parameters, the constant tensors, and remarks about parameters that are not trained.

    Parameters without gradients are constants, as pretrained ones should be, unless they still have the values that
    PyTorch gave them: those were hardly frozen on purpose, and so they are parameters that no optimizer updates.
    """
    params: dict[str, Any] = {}
    constants = {name: jnp.asarray(to_numpy(value)) for name, value in module.named_buffers()}
    frozen: list[str] = []
    initial = initial_parameters(module)
    for name, value in module.named_parameters():
        if not value.requires_grad:
            frozen.append(name)
        (params if value.requires_grad or name in initial else constants)[name] = jnp.asarray(to_numpy(value))
    if len(params) == len(initial & set(frozen)):
        raise SetupError(
            "no-parameters", "module must have parameters that require gradients, got none. Set requires_grad to True."
        )
    shown = ", ".join(frozen[:4]) + (f" and {len(frozen) - 4} more" if len(frozen) > 4 else "")
    return params, constants, [f"not trained, since requires_grad is False: {shown}"] if frozen else []


def initial_parameters(module: Any) -> set[str]:
    """Returns the names of weights of layers with the uniform distribution that PyTorch draws them from."""
    found = set()
    for prefix, part in module.named_modules():
        if isinstance(part, torch.nn.RNNBase | torch.nn.RNNCellBase):
            bound = part.hidden_size**-0.5
        elif isinstance(part, torch.nn.Linear):
            bound = part.in_features**-0.5
        else:
            continue
        for name, value in part.named_parameters(recurse=False):
            largest = float(value.detach().abs().max()) if value.numel() else 0.0
            if value.ndim > 1 and 0.8 * bound < largest <= bound * (1 + 1e-6):
                found.add(f"{prefix}.{name}" if prefix else name)
    return found


class TracedModule:
    """A module whose parameters and tensors are JAX arrays while it is called.

    Attributes:
        module: the module.
        constants: buffers and frozen parameters, by name.
        tree: how the fields of a batch become what the loss takes.
        environment: of torchax.
        chance: whether the forward pass draws random numbers in Python.
    """

    def __init__(self, module: Any, constants: dict[str, Any], tree: TensorTree):
        self.module = module
        self.constants = constants
        self.tree = tree
        self.environment = Environment(LOWERINGS)
        self.chance = False

    def function(self, call: LossCall) -> Callable[..., Any]:
        """Returns a function of parameters, fields of a batch and key for one of module and batch.

        Its loops are rolled up, and it is traced once for all batches of a shape.
        """

        def of_mode(train: bool) -> Callable[..., Any]:
            return rolled(lambda params, fields, key: self._call(call, params, fields, key, train))

        modes = {train: of_mode(train) for train in (True, False)}

        def loss(params: Any, fields: Any, key: Any, train: bool = True) -> Any:
            return modes[train](params, fields, key)

        return loss

    def _call(self, call: LossCall, params: Any, fields: Any, key: Any, train: bool) -> Any:
        environment = self.environment
        with (
            untraced_errors(),
            restored(self.module),
            fixed_chance() as drawn,
            environment.override_property(prng=key),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
            environment,
            warnings.catch_warnings(),
        ):
            # Of integers of 64 bits, of which JAX keeps 32.
            warnings.simplefilter("ignore")
            set_mode(self.module, train)
            place(self.module, {name: environment.wrap(x) for name, x in (self.constants | params).items()})
            batch = self.tree.build({name: environment.wrap(jnp.asarray(x)) for name, x in fields.items()})
            result = environment.t2j_iso(call(self.module, batch))
        self.chance |= bool(drawn) or environment.drew_number
        return result

    def compare(self, call: LossCall, loss: Callable[..., Any], params: Any, fields: Any) -> list[str]:
        """Returns remarks on the trace; an error if its loss is not that of PyTorch.

        Raises:
            SetupError: if they differ.
        """
        evaluated = jax.jit(partial(loss, train=False), compiler_options=FAST_COMPILE)
        ours = float(loss_value(evaluated(params, fields, jax.random.key(0))))
        with restored(self.module), fixed_chance(), torch.random.fork_rng(devices=[]), torch.no_grad():
            set_mode(self.module, False)
            place_copies(self.module)
            theirs = [float(loss_value(call(self.module, self.tree.build(fields)))) for _ in range(2)]
        notes = []
        if self.chance:
            notes.append("the forward pass draws numbers in Python; 0 is drawn each time, as by a full teacher forcing")
        if theirs[0] == theirs[1] and not np.isclose(ours, theirs[0], rtol=TOLERANCE, equal_nan=True):
            raise SetupError(
                "loss-fails",
                f"loss must be the same in JAX as in PyTorch, got {ours:.6g} and {theirs[0]:.6g}. "
                "Write what is unusual in it with other operations.",
            )
        return notes
