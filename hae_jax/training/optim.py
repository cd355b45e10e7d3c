"""The optimizer: gradient clipping, then Adam, with warm-up and cosine decay of the learning rate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from hae_jax.config import OptimConfig
from hae_jax.training import clipping

CLIPPERS: dict[str, tuple[Callable[[float], optax.GradientTransformation], float]] = {
    "global_norm": (clipping.clip_by_global_norm, 1.0),
    "per_tensor": (clipping.per_tensor, 1.0),
    "value": (optax.clip, 1.0),
    "agc": (optax.adaptive_grad_clip, 0.01),
    "autoclip": (clipping.autoclip, 10.0),
    "zclip": (clipping.zclip, 2.5),
    "none": (lambda _: optax.identity(), 1.0),
}
"""The clips by name, each with its usual threshold; `global_norm` is `optax.clip_by_global_norm`, fused.

| name | bounds | reference |
|---|---|---|
| `global_norm` | the norm of the whole gradient | Pascanu et al., 2013, https://arxiv.org/abs/1211.5063 |
| `per_tensor` | the norm of each parameter's gradient | |
| `value` | each element of the gradient | |
| `agc` | each unit's norm, relative to the norm of its weights | Brock et al., 2021, https://arxiv.org/abs/2102.06171 |
| `autoclip` | the norm, by a percentile of all previous norms | https://arxiv.org/abs/2007.14469 |
| `zclip` | the norm, only where it is an outlier | https://arxiv.org/abs/2504.02507 |
"""


def schedule(config: OptimConfig, steps: int) -> Callable[[Int[Array, ""] | int], Float[Array, ""]]:
    """Returns the learning rate as a function of the number of updates made.

    It increases linearly over `config.warmup` updates to the peak, starting above zero, then decays by half a cosine to
    `config.final` of the peak at `steps`, and stays constant afterwards.

    Args:
        config: peak, warm-up, and final share.
        steps: updates of the whole run.

    Example:
        >>> rate = schedule(OptimConfig(learning_rate=1.0, warmup=4, final=0.0), steps=12)
        >>> [round(float(rate(count)), 2) for count in (0, 1, 3, 4, 8, 12, 20)]
        [0.25, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    def rate(count: Int[Array, ""] | int) -> Float[Array, ""]:
        risen = jnp.minimum((count + 1) / max(config.warmup, 1), 1)
        progress = jnp.clip((count - config.warmup) / max(steps - config.warmup, 1), 0, 1)
        share = config.final + (1 - config.final) * (1 + jnp.cos(jnp.pi * progress)) / 2
        return config.learning_rate * risen * share

    return rate


def build(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Builds the optimizer: `optax.chain(optax.clip_by_global_norm(threshold), optax.adam(schedule))`.

    That is the chain of the default config. Other clips and AdamW take the place of either part, and the updates of
    the sentence level and of the topic part are scaled at the end. Weight decay is decoupled, and applied to
    matrices only, not to biases and gains.

    Args:
        config: the clip, the constants of Adam, and the learning rate.
        steps: batches of the whole run; the schedule counts updates, one for every `config.accumulate` batches.

    Returns:
        `chain(record_clipping(clip), adam, scale_parts)`, inside `optax.MultiSteps` where gradients are
        accumulated; `binding` reads its state.

    Raises:
        ValueError: if `config.clip_norm` is out of range for the clip.

    Reference:
        Kingma & Ba, 2015, https://arxiv.org/abs/1412.6980; Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101
    """
    rate = schedule(config, -(-steps // config.accumulate))
    if config.weight_decay:
        adam = optax.adamw(
            rate, config.b1, config.b2, config.eps, weight_decay=config.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        )  # fmt: skip
    else:
        adam = optax.adam(rate, config.b1, config.b2, config.eps)
    clip, usual = CLIPPERS[config.clip]
    chain = optax.chain(
        clipping.record_clipping(clip(config.clip_norm or usual)),
        adam,
        scale_parts(config.sentence_lr_scale, config.topic_lr_scale),
    )
    return chain if config.accumulate == 1 else optax.MultiSteps(chain, config.accumulate).gradient_transformation()


def binding(state: optax.OptState) -> Bool[Array, ""]:
    """Returns whether the clip changed the last gradient, given the state of the optimizer that `build` returns."""
    inner = state.inner_opt_state if isinstance(state, optax.MultiStepsState) else state
    return inner[0].binding


def scale_parts(sentence: float, topic: float) -> optax.GradientTransformation:
    """Multiplies the updates of the sentence-level layers, and of the topic part, by a factor each.

    Example:
        >>> updates = {"encoder": {"word": jnp.ones(1), "sentence": jnp.ones(1)}, "topic": jnp.ones(1)}
        >>> scaled = scale_parts(0.5, 2.0).update(updates, None)[0]
        >>> scaled["encoder"]["sentence"].tolist(), scaled["topic"].tolist(), scaled["encoder"]["word"].tolist()
        ([0.5], [2.0], [1.0])
    """

    def scale(path: tuple, update: Float[Array, "..."]) -> Float[Array, "..."]:
        name = jax.tree_util.keystr(path)
        return sentence * update if "sentence" in name else topic * update if "'topic'" in name else update

    return optax.stateless(lambda updates, _: jax.tree.map_with_path(scale, updates))
