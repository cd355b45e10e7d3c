"""PyTorch operations on JAX arrays: an environment of torchax in which a training step can be traced.

torchax computes an operation of PyTorch by operations of JAX. This environment adds what tracing the loss of a sequence
model needs: layers that stay recurrences and losses that stay recognizable (`torch_layers`, `torch_losses`), packed
sequences (`torch_rows`), tensors on whatever device, `torch.no_grad`, and one clear error for what cannot be traced.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.utils import _pytree

from hae_jax.doctor.frameworks.torch_errors import UnknownNumber, UntracedError
from hae_jax.doctor.inputs.setup import SetupError, format_error

INSTALL = "pip install --no-deps torchax"
Lowering = Callable[..., Any]


def import_torchax() -> ModuleType:
    """Imports torchax, also beside a newer PyTorch.

    Its tables name operations with named dimensions, which PyTorch 2.13 no longer has. Entries of operations that do
    not exist are never used.

    Raises:
        SetupError: if it is not installed.
    """
    packet: Any = torch._ops.OpOverloadPacket
    original = packet.__getattr__

    def lenient(self: Any, name: str) -> Any:
        try:
            return original(self, name)
        except AttributeError:
            if name.startswith("_"):
                raise
            return f"{self}.{name}"

    packet.__getattr__ = lenient
    try:
        torchax = importlib.import_module("torchax")
        for name in ("decompositions", "ops.jaten", "ops.jtorch"):
            importlib.import_module(f"torchax.{name}")
    except ImportError as error:
        raise SetupError(
            "patient-fails", f"torchax must be installed to trace PyTorch, got {format_error(error)}. {INSTALL}."
        ) from error
    finally:
        packet.__getattr__ = original
    return torchax


torchax: Any = import_torchax()
Tensor, View = torchax.tensor.Tensor, torchax.tensor.View


def is_traced(value: Any) -> bool:
    """Returns whether a tensor holds a JAX array."""
    return isinstance(value, Tensor | View)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Returns a tensor's numbers; 64 bits become 32, as in JAX."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.is_sparse or tensor.is_quantized:
        tensor = tensor.to_dense() if tensor.is_sparse else tensor.dequantize()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(jnp.asarray(tensor.float().numpy()).astype(jnp.bfloat16))
    array = tensor.numpy()
    narrow = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32, "complex128": np.complex64}
    return np.array(array, narrow.get(str(array.dtype), array.dtype))


def value_of(tensor: Any) -> Any:
    """Returns what `tensor.item()` returns in a trace."""
    if is_traced(tensor) and isinstance(tensor.jax(), jax.core.Tracer):
        if not tensor.dtype.is_floating_point:
            raise UntracedError("the value of a tensor of integers is needed in Python")
        return UnknownNumber()
    return (np.asarray(tensor.jax()) if is_traced(tensor) else to_numpy(tensor)).item()


def decide(tensor: Any) -> Any:
    """Returns the value of a tensor that Python needs as a number.

    Raises:
        UntracedError: if the tensor is traced.
    """
    if is_traced(tensor) and isinstance(tensor.jax(), jax.core.Tracer):
        raise UntracedError("a tensor's value decides in Python")
    return (np.asarray(tensor.jax()) if is_traced(tensor) else to_numpy(tensor)).item()


def no_backward(*_: Any, **__: Any) -> None:
    """Raises an error for a step that is taken inside of the loss."""
    raise UntracedError("backward() is called inside of the loss")


ARRAYS = (torch.zeros, torch.ones, torch.empty, torch.full, torch.randn, torch.rand, torch.randint)
"""Constructors whose tensors may be written to, or are random, so that they have to be JAX arrays."""
IN_PLACE: dict[str, Any] = {
    "__iadd__": torch.add,
    "__isub__": torch.sub,
    "__imul__": torch.mul,
    "__itruediv__": torch.div,
}
"""Augmented assignments, which rebind a name, and can therefore be computed out of place."""
SAME_TENSOR = (torch.Tensor.cpu, torch.Tensor.cuda, torch.Tensor.pin_memory, torch.Tensor.requires_grad_)


class Environment(torchax.tensor.Environment):  # type: ignore[misc]
    """A torchax environment with further lowerings.

    Attributes:
        lowerings: functions of tensors by the function of PyTorch that they replace; each takes the environment first.
        drew_number: whether a single random number was drawn, and 0 was given.
    """

    def __init__(self, lowerings: dict[Any, Lowering]):
        super().__init__()
        self.lowerings = lowerings
        self.drew_number = False

    def t2j_iso(self, tensors: Any) -> Any:
        """Returns JAX arrays for tensors; those that were made outside of the trace are constants."""
        return _pytree.tree_map_only(
            torch.Tensor, lambda each: each.jax() if is_traced(each) else jnp.asarray(to_numpy(each)), tensors
        )

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Computes an operation by its lowering, or else by that of torchax."""
        kwargs = dict(kwargs or {})
        if func in torchax.tensor.TENSOR_CONSTRUCTORS:
            return self._construct(func, args, kwargs)
        tensors = [each for each in _pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        traced = any(map(is_traced, tensors))
        lowering = self.lowerings.get(func)
        if lowering is not None and traced:
            result = lowering(self, *args, **kwargs)
        elif func in SAME_TENSOR:
            return args[0]
        elif traced and tensors and tensors[0] is args[0] and not is_traced(args[0]):
            result = self._with_constant(func, types, args, kwargs)
        else:
            result = super().dispatch(func, types, args, kwargs)
        if traced:
            self.keep_rows(tensors, result)
            if not torch.is_grad_enabled():
                result = _pytree.tree_map_only(Tensor, lambda each: each.detach(), result)
        return result

    def keep_rows(self, tensors: list[Any], result: Any) -> None:
        """Marks the rows of a result that are real, if those of an operand were marked."""
        rows = next((real for each in tensors if (real := getattr(each, "real_rows", None)) is not None), None)
        if rows is None:
            return
        for each in result if isinstance(result, tuple | list) else (result,):
            if is_traced(each) and each.ndim and each.shape[0] == rows.shape[0] and not hasattr(each, "real_rows"):
                each.real_rows = rows

    def wrap(self, array: Any) -> Any:
        """Returns a tensor that holds a JAX array."""
        return Tensor(array, self)

    def constant(self, array: np.ndarray) -> torch.Tensor:
        """Returns a tensor outside of the trace, whose values Python may use."""
        with torch._C.DisableTorchFunction(), torchax.tensor.mode_utils.no_dispatch():
            return torch.from_numpy(array)

    def compute(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes an operation by the lowering of torchax, or by those of its parts."""
        try:
            return super().dispatch(func, (), args, kwargs)
        except torchax.tensor.OperatorNotFound:
            return func(*args, **kwargs)

    def next_key(self) -> Any:
        """Returns a new random key."""
        return self.get_and_rotate_prng_key()

    def _with_constant(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Computes an operation whose first operand was made outside of the trace."""
        name = getattr(func, "__name__", "")
        if name in IN_PLACE:
            return IN_PLACE[name](self.wrap(self.t2j_iso(args[0])), *args[1:], **kwargs)
        if name == "__setitem__" or (name.endswith("_") and not name.startswith("__")):
            raise UntracedError(f"{name} writes into a tensor that was made outside of the forward pass")
        return super().dispatch(func, types, (self.wrap(self.t2j_iso(args[0])), *args[1:]), kwargs)

    def _construct(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = _pytree.tree_leaves((args, kwargs))
        traced = any(map(is_traced, given))
        kwargs.pop("device", None)
        kwargs.pop("pin_memory", None)
        if traced and func in (torch.tensor, torch.as_tensor):
            (first, *_), kwargs = args or (kwargs.pop("data"),), {"dtype": kwargs.get("dtype")}
            result = first if is_traced(first) else self._stack(first)
            return result if kwargs["dtype"] is None else result.to(kwargs["dtype"])
        if traced:
            raise UntracedError(f"the arguments of torch.{func.__name__} depend on a tensor's value")
        args = _pytree.tree_map_only(torch.Tensor, lambda each: to_numpy(each).tolist(), args)
        with torch._C.DisableTorchFunction(), torchax.tensor.mode_utils.no_dispatch():
            constant = func(*args, **kwargs)
        if func is torch.rand and constant.numel() == 1:
            # A single number is for Python to decide by, and has to be the same in each trace.
            self.drew_number = True
            return self.constant(np.zeros(constant.shape, np.float32))
        is_array = func in ARRAYS and constant.numel() > 1
        if func is torch.tensor and constant.dtype.is_floating_point:
            is_array = True
        if not is_array:
            return constant
        if func not in ARRAYS[4:]:
            return self.wrap(jnp.asarray(to_numpy(constant)))
        key, shape = self.next_key(), tuple(constant.shape)
        if func is torch.randint:
            low, high = (args[0], args[1]) if len(args) > 2 else (kwargs.get("low", 0), kwargs.get("high", args[0]))
            return self.wrap(jax.random.randint(key, shape, low, high))
        draw = jax.random.normal if func is torch.randn else jax.random.uniform
        return self.wrap(draw(key, shape, to_numpy(constant).dtype))

    def _stack(self, values: Any) -> Any:
        if is_traced(values) or not isinstance(values, list | tuple):
            return self.wrap(jnp.asarray(self.t2j_iso(values)))
        return self.wrap(jnp.stack([self._stack(each).jax() for each in values]))

    def _to_copy(self, the_tensor: Any, new_dtype: Any, new_device: Any) -> Any:
        """Converts the type of a tensor; in a trace all devices are the same."""
        if not is_traced(the_tensor):
            with torch._C.DisableTorchFunction(), torchax.tensor.mode_utils.no_dispatch():
                return the_tensor.to(dtype=new_dtype)
        return super()._to_copy(the_tensor, new_dtype, None)
