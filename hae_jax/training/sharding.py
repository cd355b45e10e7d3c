"""Data parallelism: documents are spread over the devices, everything else is on each of them."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from hae_jax.batch import Batch

AXIS = "data"
"""Name of the mesh axis along which a batch is cut."""


def local_mesh() -> Mesh:
    """Returns a mesh of all devices of this process, along one axis.

    Its axis is `Auto`: the compiler places what is in between. The default of `jax.make_mesh`, `Explicit`, makes the
    look-up of sharded word ids an error.
    """
    return jax.make_mesh((jax.local_device_count(),), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a whole copy of the arrays on each device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def spread(batch: Batch, mesh: Mesh) -> Batch:
    """Cuts every table along its rows, and the slots along their documents, one piece a device.

    Rows need not stand on the device of their document: losses are sums, and a look-up across devices is the compiler's
    work. So any even cut will do.

    Args:
        batch: a batch of NumPy arrays.
        mesh: what `local_mesh` returns.

    Returns:
        The batch on the devices.

    Raises:
        ValueError: if a leading axis does not divide evenly.
    """
    check(batch, mesh.size)
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(AXIS)))


def check(batch: Batch, devices: int) -> None:
    """Raises a ValueError unless the batch can be cut into so many equal pieces."""
    docs = len(batch.row_index)
    if docs % devices:
        raise ValueError(
            f"data.batch_size must be divisible by the number of devices ({devices}), got {docs}. "
            f"Use {-(-docs // devices) * devices}."
        )
    for rows in (len(table) for table in batch.buckets):
        if rows % devices:
            raise ValueError(
                f"rows of a table must be divisible by the number of devices ({devices}), got {rows}. "
                f"Use {np.gcd(rows, devices)} of the devices."
            )
