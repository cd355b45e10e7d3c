"""Real-valued series: batches are objects with `values` and `mask`; the decoder unrolls the code step by step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.spec import Spec, into_batches, optimizer, sine_series

FAULTS = (
    "inputs-unscaled", "unbounded-activation", "gates-saturated", "exploding-recurrence", "learning-rate-too-high",
    "learning-rate-too-low", "loss-reduction", "padding-in-loss", "padding-in-encoder", "code-unwired", "axes-swapped",
    "target-leak", "targets-scrambled", "frozen-parameters", "state-swapped", "bottleneck-too-small",
    "data-not-shuffled", "constant-output", "over-regularised", "clip-too-tight", "exposure-gap", "forget-gate-closed",
)  # fmt: skip


@dataclass
class Windows:
    """A batch of series."""

    values: Any
    mask: Any
    goal: Any = None


def setup(spec: Spec) -> dict[str, Any]:
    """Returns a setup of series."""
    rng = np.random.default_rng(spec.seed)
    units = spec.hidden
    feeds = spec.seed % 2 == 0 or spec.has("target-leak", "exposure-gap")

    def lstm(inputs: int) -> dict[str, Any]:
        gain = spec.between(4, 12) if spec.has("exploding-recurrence") else 1.0
        big = spec.between(30, 90) if spec.has("gates-saturated") else 1.0
        bias = np.zeros(4 * units)
        bias[units : 2 * units] = -spec.between(2.5, 6) if spec.has("forget-gate-closed") else spec.forget_bias
        square = np.concatenate([np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(4)], 1)
        made = {"wx": rng.normal(size=(inputs, 4 * units)) * big / np.sqrt(inputs), "wh": square * gain, "b": bias}
        return {name: jnp.asarray(value, jnp.float32) for name, value in made.items()}

    act = jax.nn.relu if spec.has("unbounded-activation") else jnp.tanh
    params = {
        "encoder": lstm(2),
        "decoder": lstm(2 if feeds else units),
        "head": {
            "kernel": jnp.asarray(rng.normal(size=(units, 2)) / np.sqrt(units), jnp.float32),
            "bias": jnp.zeros(2),
        },
    }
    if spec.has("unbounded-activation"):
        for name in ("encoder", "decoder"):
            params[name]["wh"] = params[name]["wh"] * spec.between(1.5, 3)

    def step(p: Any, state: Any, x: Any) -> Any:
        c, h = state
        z = x @ p["wx"] + h @ p["wh"] + p["b"]
        i, f, o = (
            jax.nn.sigmoid(z[:, :units]),
            jax.nn.sigmoid(z[:, units : 2 * units]),
            jax.nn.sigmoid(z[:, 3 * units :]),
        )
        c = f * c + i * act(z[:, 2 * units : 3 * units])
        return c, o * act(c)

    def encode(params: Any, batch: Any) -> Any:
        x, mask = batch.values, batch.mask
        if spec.has("axes-swapped"):
            x, mask = jnp.swapaxes(x, 0, 1), jnp.swapaxes(mask, 0, 1)

        def body(state: Any, now: Any) -> Any:
            x, real = now
            new = step(params["encoder"], state, x)
            if not spec.has("padding-in-encoder"):
                new = jax.tree.map(lambda a, b: jnp.where(real[:, None], a, b), new, state)
            return new, new[1]

        zeros = jnp.zeros((x.shape[0], units))
        state, ys = jax.lax.scan(body, (zeros, zeros), (jnp.swapaxes(x, 0, 1), jnp.swapaxes(mask, 0, 1)))
        return (ys.mean(1), ys.mean(1)) if spec.has("axes-swapped") else state

    def decode(params: Any, state: Any, batch: Any) -> Any:
        time = batch.values.shape[1]
        if spec.has("code-unwired"):
            state = jax.tree.map(jnp.zeros_like, state)
        if spec.has("frozen-parameters"):
            state = jax.lax.stop_gradient(state)
        if spec.has("state-swapped"):
            state = (state[1], state[0])
        code = state[1]
        if feeds:
            x = batch.values if spec.has("target-leak") else jnp.pad(batch.values, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        else:
            x = jnp.broadcast_to(code[:, None], (code.shape[0], time, units))
        if spec.has("constant-output"):
            x, state = x * 1e-6, jax.tree.map(lambda s: s * 1e-6, state)

        def body(state: Any, x: Any) -> Any:
            state = step(params["decoder"], state, x)
            return state, state[1]

        _, ys = jax.lax.scan(body, state, jnp.swapaxes(x, 0, 1))
        output = jnp.swapaxes(ys, 0, 1) @ params["head"]["kernel"] + params["head"]["bias"]
        return jax.nn.sigmoid(output) if spec.has("bottleneck-too-small") else output

    def loss(params: Any, batch: Any, rng: Any) -> Any:
        output = decode(params, encode(params, batch), batch)
        goal = batch.values if batch.goal is None else batch.goal
        mask = jnp.ones_like(batch.mask) if spec.has("padding-in-loss") else batch.mask
        error = jnp.square(output - goal) * mask[..., None]
        penalty: Any = 0.0
        if spec.has("over-regularised") and spec.seed % 3 == 2:
            penalty = spec.between(3, 30) * sum(jnp.square(x).sum() for x in jax.tree.leaves(params))
        if spec.has("loss-reduction"):
            return error.sum()
        return error.sum() / (2 * mask.sum()) + penalty

    values, mask = sine_series(spec, spec.batch * 40)
    batches = [Windows(*part) for part in into_batches(spec, values, mask)]
    if spec.has("targets-scrambled"):
        batches = [Windows(b.values, np.ones_like(b.mask), rng.permutation(b.values)) for b in batches]
    made = {"loss": loss, "params": params, "batches": batches, "optimizer": optimizer(spec)}
    if spec.has("exposure-gap", "healthy"):

        def free_run(params: Any, batch: Any, rng: Any) -> Any:
            state, last, outputs = encode(params, batch), jnp.zeros((batch.values.shape[0], 2)), []
            code = state[1]
            if spec.has("exposure-gap"):
                state = jax.tree.map(lambda s: -s, state)
            for _ in range(batch.values.shape[1]):
                state = step(params["decoder"], state, last if feeds else code)
                last = state[1] @ params["head"]["kernel"] + params["head"]["bias"]
                outputs.append(last)
            return jnp.stack(outputs, 1)

        made["free_run"] = free_run
    return made
