"""The most common model in public threads: an LSTM whose final state initializes another one; in Flax, and by hand."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

VOCAB, UNITS = 27, 24


def text(count: int = 24, batch: int = 12, time: int = 9, seed: int = 0, pads: bool = True) -> list[np.ndarray]:
    """Returns batches of sentences in which each word has two successors; 0 is padding."""
    rng = np.random.default_rng(seed)
    after = rng.integers(1, VOCAB, (VOCAB, 2))
    ids = np.zeros((count * batch, time), np.int32)
    ids[:, 0] = rng.integers(1, VOCAB, len(ids))
    for t in range(1, time):
        ids[:, t] = after[ids[:, t - 1], rng.integers(0, 2, len(ids))]
    if pads:
        ids *= np.arange(time) < rng.integers(time // 2, time + 1, len(ids))[:, None]
    return np.split(ids, count)


def signal(count: int = 24, batch: int = 12, time: int = 16, seed: int = 0) -> list[np.ndarray]:
    """Returns batches of sines."""
    rng = np.random.default_rng(seed)
    pitch, phase = rng.uniform(0.2, 0.9, (2, count * batch, 1, 3))
    return np.split(np.sin(pitch * np.arange(time)[:, None] + 6 * phase).astype(np.float32), count)


class Seq2Seq(nn.Module):
    """An LSTM whose final state initializes another one."""

    cell: Any = nn.OptimizedLSTMCell
    options: tuple = ()
    masked: bool = True
    passed: bool = True
    shift: bool = True
    drop: float = 0.0

    @nn.compact
    def __call__(self, ids: Any, deterministic: bool = True) -> Any:
        make: Any = dict(self.options)
        x = nn.Embed(VOCAB, UNITS)(ids)
        x = nn.Dropout(self.drop)(x, deterministic=deterministic)
        lengths = (ids != 0).sum(-1) if self.masked else None
        state, _ = nn.RNN(self.cell(UNITS, **make), return_carry=True, name="reader")(x, seq_lengths=lengths)
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))) if self.shift else x
        start = state if self.passed else None
        y = nn.RNN(self.cell(UNITS, **make), name="writer")(before, initial_carry=start)
        return nn.Dense(VOCAB)(y)


def trained_on_text(model: Any, batches: Any = None, optimizer: Any = None, mean: str = "masked") -> dict[str, Any]:
    """Returns a setup of a model of sentences."""
    batches = text() if batches is None else batches
    params = jax.jit(model.init)(jax.random.key(1), batches[0])["params"]

    def loss(params: Any, ids: Any, key: Any) -> Any:
        logits = model.apply({"params": params}, ids, deterministic=False, rngs={"dropout": key})
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, ids)
        mask = ids != 0
        return {"masked": lambda: (nll * mask).sum() / mask.sum(), "all": nll.mean, "sum": lambda: (nll * mask).sum()}[
            mean
        ]()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optimizer or optax.adam(8e-3)}


class Series(NamedTuple):
    """A batch of series."""

    x: np.ndarray


def trained_on_series(
    batches: list[np.ndarray], act: Any = jnp.tanh, last: Any = lambda y: y, see: float = 1.0
) -> dict[str, Any]:
    """Returns a setup that encodes a series and unrolls its code, by hand."""
    rng = np.random.default_rng(3)
    shapes = {"read": (3 + UNITS, 4 * UNITS), "write": (2 * UNITS, 4 * UNITS), "out": (UNITS, 3)}
    params = {k: jnp.asarray(rng.normal(size=s) / np.sqrt(s[0]), jnp.float32) for k, s in shapes.items()}

    def cell(w: Any, state: Any, x: Any) -> Any:
        h, c = state
        i, f, o, g = jnp.split(jnp.concatenate([x, h], -1) @ w, 4, -1)
        c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * act(g)
        h = jax.nn.sigmoid(o) * act(c)
        return (h, c), h

    def loss(params: Any, batch: Any) -> Any:
        zeros = jnp.zeros((batch.x.shape[0], UNITS))
        (code, _), _ = jax.lax.scan(lambda s, x: cell(params["read"], s, x), (zeros, zeros), batch.x.swapaxes(0, 1))
        every = jnp.broadcast_to(see * code, (batch.x.shape[1], *code.shape))
        _, y = jax.lax.scan(lambda s, x: cell(params["write"], s, x), (zeros, zeros), every)
        return jnp.mean((last(y.swapaxes(0, 1) @ params["out"]) - batch.x) ** 2), {"code": code}

    return {"loss": loss, "params": params, "batches": [Series(x) for x in batches], "optimizer": optax.adam(8e-3)}
