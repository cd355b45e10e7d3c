"""Available packages, and PyTorch's settings: the same threads and precision as JAX."""

import importlib.util
import os
from typing import Any

import jax

from benchmarks.harness.record import device


def unavailable(*names: str) -> list[str]:
    """Returns those of the given packages that cannot run here.

    These are packages that are not installed; on a GPU, PyTorch without GPU support; and `cudnn`, NVIDIA's kernel in
    JAX, on other devices.
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


def configure_torch(torch: Any) -> Any:
    """Sets PyTorch's threads to one per core, unless OMP_NUM_THREADS is set, and enables TensorFloat-32 as in JAX.

    Args:
        torch: the package, which is imported only if it is needed.

    Returns:
        The device.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", device()["cores"])))
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
