"""Plain JAX: dictionaries of arrays and `lax.scan`, an LSTM encoder and decoder of sentences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.spec import Spec, into_batches, markov_sentences, optimizer

FAULTS = (
    "forget-gate-closed", "exploding-recurrence", "unbounded-activation", "gates-saturated", "learning-rate-too-high",
    "learning-rate-too-low", "clip-too-tight", "loss-reduction", "padding-in-loss", "padding-in-encoder",
    "code-unwired",
    "code-ignored", "constant-output", "axes-swapped", "target-leak", "targets-scrambled", "softmax-twice",
    "dropout-wrong", "frozen-parameters", "state-swapped", "data-not-shuffled", "layer-norm-misuse", "over-regularised",
    "low-precision", "vocabulary-collapse", "masked-nan", "exposure-gap", "codes-collapsed", "bottleneck-too-small",
)  # fmt: skip


def setup(spec: Spec) -> dict[str, Any]:
    """Returns a setup whose batches are dictionaries of `words` and `targets`, or of `words` alone."""
    if spec.has("forget-gate-closed"):
        spec = Spec(**{**vars(spec), "length": 60 if spec.seed % 2 else spec.length})
    rng = np.random.default_rng(spec.seed)
    hidden, vocab = spec.hidden, spec.vocab
    gain = spec.between(4, 12) if spec.has("exploding-recurrence") else 1.0
    big = spec.between(30, 100) if spec.has("gates-saturated") else 1.0
    code_width = 1 if spec.has("bottleneck-too-small") else hidden

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return jnp.asarray(rng.normal(size=shape) * scale / np.sqrt(shape[0]), jnp.float32)

    def lstm(inputs: int, units: int) -> dict[str, Any]:
        bias = np.zeros(4 * units, np.float32)
        closed = spec.has("forget-gate-closed")
        bias[units : 2 * units] = (0.0 if spec.seed % 2 else -spec.between(2.5, 6)) if closed else spec.forget_bias
        square = np.concatenate([np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(4)], 1)
        return {
            "w": normal(inputs, 4 * units, scale=big),
            "u": jnp.asarray(square * gain, jnp.float32),
            "b": jnp.asarray(bias),
        }

    params = {
        "embed": jnp.asarray(rng.normal(size=(vocab, hidden)) * 0.3, jnp.float32),
        "enc": lstm(hidden, hidden),
        "squeeze": normal(hidden, code_width),
        "dec": lstm(2 * hidden, hidden),
        "h0": normal(code_width, hidden),
        "out": normal(hidden, vocab),
        "out_b": jnp.zeros(vocab),
    }
    if spec.has("codes-collapsed"):
        params["squeeze_b"] = jnp.full(code_width, 4.0)
    if spec.has("low-precision"):
        half = jnp.bfloat16 if spec.seed % 2 else jnp.float16
        params = jax.tree.map(lambda x: x.astype(half), params)

    act = (jax.nn.relu if spec.seed % 2 else lambda x: x) if spec.has("unbounded-activation") else jnp.tanh

    def cell(p: Any, carry: Any, x: Any, real: Any = None) -> Any:
        c, h = carry
        i, f, g, o = jnp.split(x @ p["w"] + h @ p["u"] + p["b"], 4, axis=-1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * act(g)
        new_h = jax.nn.sigmoid(o) * act(new_c)
        if real is not None:
            new_c, new_h = jnp.where(real[:, None], new_c, c), jnp.where(real[:, None], new_h, h)
        return (new_c, new_h), new_h

    def encode(params: Any, words: Any, key: Any) -> Any:
        x = params["embed"][words]
        if spec.has("dropout-wrong"):
            fixed = jax.random.key(0) if spec.seed % 2 else key
            keep = 0.5 if spec.seed % 2 else 0.12
            x = x * jax.random.bernoulli(fixed, keep, x.shape) / keep
        mask = words != 0
        zeros = jnp.zeros((x.shape[0], hidden), x.dtype)
        if spec.has("axes-swapped"):
            zeros = jnp.zeros((x.shape[1], hidden), x.dtype)
            state, ys = jax.lax.scan(lambda s, now: cell(params["enc"], s, now), (zeros, zeros), x)
            return ys.mean(1) @ params["squeeze"], None
        steps = (jnp.swapaxes(x, 0, 1), jnp.swapaxes(mask, 0, 1))
        if spec.has("padding-in-encoder"):
            state, _ = jax.lax.scan(lambda s, now: cell(params["enc"], s, now[0]), (zeros, zeros), steps)
        else:
            state, _ = jax.lax.scan(lambda s, now: cell(params["enc"], s, *now), (zeros, zeros), steps)
        code = state[1] @ params["squeeze"]
        if spec.layer_norm or spec.has("layer-norm-misuse"):
            axis = 0 if spec.has("layer-norm-misuse") else -1
            code = (code - code.mean(axis, keepdims=True)) / jnp.sqrt(code.var(axis, keepdims=True) + 1e-5)
        if spec.has("masked-nan"):
            count = mask.sum(1, keepdims=True)
            mean = jnp.where(mask[..., None], x, 0).sum(1) / count
            code = code + jnp.where(count > 0, mean @ params["squeeze"], 0)
        return (jnp.tanh(0.01 * code + params["squeeze_b"]) if spec.has("codes-collapsed") else code), state

    def decode(params: Any, code: Any, state: Any, words: Any) -> Any:
        h = jnp.tanh(code @ params["h0"])
        c = jnp.zeros_like(h)
        if spec.has("state-swapped") and state is not None:
            c, h = state[1], state[0]
        elif (
            spec.seed % 3 == 0
            and state is not None
            and code_width == hidden
            and not spec.has("code-unwired", "code-ignored", "codes-collapsed")
        ):
            c, h = state
        if spec.has("code-unwired"):
            h = jnp.zeros_like(h)
            code = code * 0 if spec.seed % 2 else jnp.zeros_like(code)
        if spec.has("code-ignored"):
            h, code = 1e-6 * h, code * 1e-6
        if spec.has("frozen-parameters") and spec.seed % 2:
            code, h, c = jax.lax.stop_gradient((code, h, c))
        before = words if spec.has("target-leak") else jnp.pad(words, ((0, 0), (1, 0)))[:, :-1]
        x = params["embed"][before]
        if spec.has("bottleneck-too-small"):
            x = 0 * x
        if spec.has("constant-output"):
            x = 0 * x
            h, c, code = 1e-6 * h, 0 * c, 1e-6 * code
        wide = code if code.shape[-1] == hidden else jnp.tile(code, (1, hidden))[:, :hidden]
        x = jnp.concatenate([x, jnp.broadcast_to(wide[:, None], (*x.shape[:2], hidden))], -1)
        _, ys = jax.lax.scan(lambda s, now: cell(params["dec"], s, now), (c, h), jnp.swapaxes(x, 0, 1))
        logits = jnp.swapaxes(ys, 0, 1) @ params["out"] + params["out_b"]
        return jax.nn.softmax(logits) if spec.has("softmax-twice") else logits

    def loss(params: Any, batch: Any, key: Any) -> Any:
        words = batch["words"]
        code, state = encode(params, words, key)
        logits = decode(params, code, state, words).astype(jnp.float32)
        targets = batch.get("targets", words)
        mask = jnp.ones_like(targets) if spec.has("padding-in-loss") else (targets != 0)
        nll = -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0] * mask
        penalty: Any = 0.0
        if spec.has("over-regularised") and spec.seed % 3 == 2:
            penalty = spec.between(3, 30) * sum(jnp.square(x).sum() for x in jax.tree.leaves(params))
        if spec.has("loss-reduction"):
            return nll.sum() if spec.seed % 2 else nll.mean()
        mean = nll.sum() / mask.sum() + penalty
        return mean * 1e-3 if spec.has("low-precision") and not spec.seed % 2 else mean

    words, _ = markov_sentences(spec, spec.batch * 40)
    if spec.has("masked-nan"):
        words[rng.random(len(words)) < spec.between(0.02, 0.05)] = 0
    batches = [{"words": part} for (part,) in into_batches(spec, words)]
    if spec.has("targets-scrambled"):
        for batch in batches:
            batch["targets"] = rng.permutation(batch["words"])
    optim = optimizer(spec)
    if spec.has("frozen-parameters") and not spec.seed % 2:
        import optax

        labels = {name: "off" if name == ("enc", "dec", "embed")[spec.seed % 3] else "on" for name in params}
        optim = optax.multi_transform({"on": optim, "off": optax.set_to_zero()}, lambda p: labels)
    made = {"loss": loss, "params": params, "batches": batches, "optimizer": optim}
    if spec.has("exposure-gap", "healthy"):

        def free_run(params: Any, batch: Any, key: Any) -> Any:
            words = batch["words"]
            code, state = encode(params, words, key)
            if spec.has("exposure-gap"):
                code, state = jnp.roll(code, 1, axis=0) * 3, None
            ids = jnp.zeros_like(words)
            for step in range(words.shape[1]):
                logits = decode(params, code, state, ids)[:, step]
                ids = ids.at[:, step].set(logits.argmax(-1))
            return ids

        made["free_run"] = free_run
    return made
