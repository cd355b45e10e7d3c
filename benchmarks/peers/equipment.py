"""What PyTorch gets to run with: the threads and the precision that JAX has."""

import os
from typing import Any

from benchmarks.record import device


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
