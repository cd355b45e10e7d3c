"""Who is there to run, and what PyTorch gets to run with: the threads and the precision that JAX has."""

import importlib.util
import os
from typing import Any

import jax

from benchmarks.harness.record import device


def missing(*names: str) -> list[str]:
    """Returns which of these cannot run here.

    Packages that are not installed; on a GPU a PyTorch that knows none; `cudnn`, NVIDIA's kernel in JAX, elsewhere.
    """
    gpu = jax.default_backend() == "gpu"
    absent = [name for name in names if name != "cudnn" and importlib.util.find_spec(name) is None]
    if "cudnn" in names and not gpu:
        absent.append("cudnn")
    if "torch" in names and "torch" not in absent and gpu:
        import torch

        if not torch.cuda.is_available():
            absent.append("torch")
    return absent


def equip(torch: Any) -> Any:
    """Gives PyTorch a thread a core, unless OMP_NUM_THREADS says otherwise, and TensorFloat-32 where JAX uses it.

    Args:
        torch: the package, which is imported only where it is wanted.

    Returns:
        The device to work on.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", device()["cores"])))
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
