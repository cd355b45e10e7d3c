"""Random arrays for tests, in NumPy's float64; sizes are different primes, so a transposed axis cannot pass."""

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.layers.cell import LSTMState, LSTMWeights, Norm, RecurrentDropout


def weights(rng, feat=5, hidden=3, vec=0, bias=True, norm=False, scale=1.0):
    """Weights of one LSTM layer; random gains of the normalization included."""

    def draw(*shape):
        return rng.normal(size=shape) * scale

    gates = 4 * hidden
    return LSTMWeights(
        kernel=draw(feat, gates) if feat else None,
        context=draw(vec, gates) if vec else None,
        recurrent=draw(hidden, gates),
        bias=draw(gates) if bias else None,
        norm=Norm(draw(gates), draw(gates), draw(hidden), draw(hidden) if bias else None) if norm else None,
    )


def state(rng, batch=2, hidden=3):
    """A state of one layer."""
    return LSTMState(*rng.normal(size=(2, batch, hidden)))


MASKS = ("none", "variational", "semeniuta", "dropout", "zoneout", "zoneout mean", "everything")


def masks(rng, kind, batch=2, time=7, hidden=3):
    """Dropout and zoneout masks of a whole sequence; `hidden` has no time axis."""

    def binary(*shape):
        return rng.integers(0, 2, shape).astype(float)

    steps = (batch, time, hidden)
    match kind:
        case "none":
            return RecurrentDropout()
        case "variational":
            return RecurrentDropout(hidden=binary(batch, hidden) / 0.7)
        case "semeniuta":
            return RecurrentDropout(candidate=binary(*steps) / 0.7)
        case "dropout":
            return RecurrentDropout(binary(batch, hidden) / 0.7, binary(*steps) / 0.7)
        case "zoneout":
            return RecurrentDropout(keep_cell=binary(*steps), keep_hidden=binary(*steps))
        case "zoneout mean":
            return RecurrentDropout(keep_cell=np.full((1, time, 1), 0.3), keep_hidden=np.full((1, time, 1), 0.1))
        case "everything":
            return RecurrentDropout(binary(batch, hidden) / 0.7, binary(*steps) / 0.7, binary(*steps), binary(*steps))


def row_masks(masks, row, time, batch, hidden):
    """One row's masks as a list over time, as the oracle takes them."""
    same, *changing = masks
    same = None if same is None else same[row]
    full = [None if x is None else np.broadcast_to(x, (batch, time, hidden))[row] for x in changing]
    return [RecurrentDropout(same, *(None if x is None else x[t] for x in full)) for t in range(time)]


def device(tree, dtype=None):
    """The same tree as JAX arrays."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None), tree)
