"""The code: does the decoder read it, do codes differ, and how much could they hold?"""

from typing import Any

import jax
import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.normalize import scalar
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped


def code(chart: ProbeContext, params: Arrays, prefix: str = "") -> dict[str, Any]:
    """Measures by how much the loss rises when codes are permuted in the batch, or zeroed.

    Args:
        chart: the chart.
        params: parameters to look at.
        prefix: of the names of what is found.
    """
    batch = chart.case.batches[-1]
    order = np.roll(np.arange(chart.fields.size), 1)
    encode, decode = chart.case.offered("encode"), chart.case.offered("decode_loss")
    if encode is not None and decode is not None:
        made = encode(params, batch, chart.case.key)
        leaves, tree = jax.tree.flatten(made)

        def swapped(change: Any) -> float:
            return float(
                scalar(decode(params, batch, chart.case.key, jax.tree.unflatten(tree, [change(x) for x in leaves])))
            )

        base, permuted, zeroed = swapped(lambda x: x), swapped(lambda x: x[order]), swapped(lambda x: 0 * x)
        values = [np.asarray(leaf) for leaf in leaves]
        moved = True
    else:
        look = chart.inside
        if not look.anatomy.code:
            raise ProbeSkipped("no code was found: nothing stands between recurrences")
        heard = look.hear(params, batch)
        base = float(heard.loss)
        permuted = float(look.hear(params, batch, look.knobs(order)).loss)
        zeroed = float(look.hear(params, batch, look.knobs(scale=0.0)).loss)
        values = heard.code
        moved = all(look.axis(n) is not None for n in look.anatomy.code)
        values = [np.moveaxis(v, look.axis(n) or 0, 0) for n, v in zip(look.anatomy.code, values, strict=True)]
    rows = np.concatenate(
        [np.asarray(v, np.float64).reshape(chart.fields.size, -1) for v in values if v.size % chart.fields.size == 0], 1
    )
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    pairs = unit @ unit.T
    size = len(rows)
    values_squared = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    return {
        f"{prefix}code_permuted": permuted - base if moved else None,
        f"{prefix}code_zeroed": zeroed - base,
        f"{prefix}code_loss": base,
        f"{prefix}code_width": rows.shape[1],
        f"{prefix}code_cosine": float((pairs.sum() - np.trace(pairs)) / max(1, size * (size - 1))),
        f"{prefix}code_rank": float(values_squared.sum() ** 2 / max((values_squared**2).sum(), 1e-300)),
        f"{prefix}code_spread": float(rows.std(0).mean() / max(np.abs(rows).mean(), 1e-30)),
        f"{prefix}code_size": float(np.abs(rows).mean()),
    }


def at_start(chart: ProbeContext) -> dict[str, Any]:
    """Measures the code of the fresh model."""
    return code(chart, chart.case.params)
