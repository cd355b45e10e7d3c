"""Data parallelism: batches are sharded over the devices, everything else is replicated."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from hae_jax.batch import Batch

AXIS = "data"
"""Name of the mesh axis over which batches are sharded."""


def local_mesh() -> Mesh:
    """Returns a mesh of all devices of this process, with one axis.

    The axis is `Auto`: the compiler chooses the sharding of intermediate arrays. With `Explicit`, the default of
    `jax.make_mesh`, embedding sharded token ids is an error.
    """
    return jax.make_mesh((jax.local_device_count(),), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Copies arrays to every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Shards every bucket over its rows, and the row index over its documents.

    A row need not be on the device of its document: losses are sums, and the compiler gathers across devices. So any
    even division is valid.

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
    """Raises a ValueError unless the batch can be divided evenly among the devices."""
    docs = len(batch.row_index)
    if docs % devices:
        raise ValueError(
            f"data.batch_size must be divisible by the number of devices ({devices}), got {docs}. "
            f"Use {-(-docs // devices) * devices}."
        )
    for rows in map(len, batch.buckets):
        if rows % devices:
            raise ValueError(
                f"rows of a bucket must be divisible by the number of devices ({devices}), got {rows}. "
                f"Use {np.gcd(rows, devices)} of the devices."
            )
