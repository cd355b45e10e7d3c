"""Optimizer and clips, against NumPy twins of the papers' formulas."""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hae_jax.cli.parser import parse
from hae_jax.config import Clip, OptimConfig, preset
from hae_jax.training import clipping, optim

CLIPS = get_args(Clip)

PARAMS = {"kernel": jnp.linspace(-1, 1, 15).reshape(3, 5), "bias": jnp.zeros(5)}


def gradient(norm):
    """A gradient of PARAMS' shape and the given global norm."""
    raw = {"kernel": jnp.cos(jnp.arange(15.0)).reshape(3, 5), "bias": jnp.sin(jnp.arange(5.0))}
    return jax.tree.map(lambda leaf: leaf * (norm / optax.tree.norm(raw)), raw)


def clipped_norms(clip, norms):
    """Norms after the clip, over a sequence of gradients."""
    state, update, after = clip.init(PARAMS), jax.jit(clip.update), []
    for norm in norms:
        updates, state = update(gradient(norm), state, PARAMS)
        after.append(float(optax.tree.norm(updates)))
    return np.array(after)


@pytest.fixture(scope="module")
def norms():
    rng = np.random.default_rng(5)
    norms = rng.lognormal(-1, 0.3, 97)
    norms[[31, 53, 59]] *= 11
    return norms


@pytest.mark.parametrize("clip", CLIPS)
def test_every_named_clip_builds_and_steps(clip):
    optimizer = optim.build(OptimConfig(clip=clip), steps=7)
    updates, _ = optimizer.update(gradient(3.0), optimizer.init(PARAMS), PARAMS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))


def test_per_tensor_bounds_each_tensor_alone():
    raw = {"kernel": 7.0 * PARAMS["kernel"], "bias": jnp.full(5, 1e-3)}
    clip = clipping.per_tensor(0.5)
    updates, _ = clip.update(raw, clip.init(PARAMS))
    np.testing.assert_allclose(np.linalg.norm(updates["kernel"]), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], raw["bias"])


def test_autoclip_is_the_percentile_of_the_norms_so_far(norms):
    after = clipped_norms(clipping.autoclip(10.0), norms)
    bounds = [np.percentile(norms[: n + 1], 10) for n in range(len(norms))]
    np.testing.assert_allclose(after, np.minimum(norms, bounds), rtol=1e-5)


def test_autoclip_forgets_norms_older_than_its_history(norms):
    after = clipped_norms(clipping.autoclip(37.0, history=13), norms)
    bounds = [np.percentile(norms[max(0, n - 12) : n + 1], 37) for n in range(len(norms))]
    np.testing.assert_allclose(after, np.minimum(norms, bounds), rtol=1e-5)


@pytest.mark.parametrize("percentile", [0.0, 101.0])
def test_autoclip_refuses_what_is_no_percentile(percentile):
    with pytest.raises(ValueError, match=r"optim.clip_norm must lie in \(0, 100\] with autoclip"):
        clipping.autoclip(percentile)


def test_zclip_follows_the_paper(norms):
    """Algorithm 1 of arXiv 2504.02507 in float64: statistics of 25 norms, then z-scores against moving averages."""
    alpha, threshold = 0.97, 2.5
    expected = list(norms[:25])
    mean, variance = np.mean(norms[:25]), np.var(norms[:25])
    for norm in norms[25:]:
        deviation = np.sqrt(variance)
        z = (norm - mean) / deviation
        seen = mean + threshold * deviation / (z / threshold) if z > threshold else norm
        mean = alpha * mean + (1 - alpha) * seen
        variance = alpha * variance + (1 - alpha) * (seen - mean) ** 2
        expected.append(seen)
    after = clipped_norms(clipping.zclip(threshold), norms)
    np.testing.assert_allclose(after, expected, rtol=1e-4)
    assert set(np.flatnonzero(after < 0.99 * norms)) >= {31, 53, 59}


@pytest.mark.parametrize(("clip", "bound"), [(c, 0.1) for c in CLIPS if c not in {"none", "zclip", "autoclip"}])
def test_binding_is_whether_the_clip_changed_the_gradient(clip, bound):
    watched = clipping.record_clipping(optim.CLIPPERS[clip][0](bound))
    for norm, binding in ((1e-4, False), (31.0, True)):
        _, state = watched.update(gradient(norm), watched.init(PARAMS), PARAMS)
        assert bool(state.binding) is binding


def test_no_clip_never_binds():
    watched = clipping.record_clipping(optim.CLIPPERS["none"][0](1.0))
    updates, state = watched.update(gradient(1e6), watched.init(PARAMS), PARAMS)
    assert not state.binding
    jax.tree.map(np.testing.assert_array_equal, updates, gradient(1e6))


def test_clip_comes_before_adam():
    optimizer = optim.build(OptimConfig(clip_norm=0.01, eps=1.0, warmup=0, learning_rate=1.0), steps=7)
    updates, _ = optimizer.update(gradient(100.0), optimizer.init(PARAMS), PARAMS)
    assert float(optax.tree.norm(updates)) < 0.02


def test_schedule_equals_optax_where_both_are_defined():
    config = OptimConfig(learning_rate=0.3, warmup=11, final=0.2)
    ours = optim.schedule(config, steps=53)
    theirs = optax.cosine_decay_schedule(0.3, 53 - 11, alpha=0.2)
    counts = np.arange(11, 61)
    np.testing.assert_allclose([ours(int(n)) for n in counts], [theirs(n - 11) for n in counts], rtol=1e-5)
    np.testing.assert_allclose([ours(n) for n in range(11)], 0.3 * np.arange(1, 12) / 11, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 11])
def test_a_run_shorter_than_its_warm_up_has_a_schedule(steps):
    rate = optim.schedule(OptimConfig(learning_rate=1.0, warmup=11), steps)
    assert 0 < float(rate(0)) <= float(rate(steps - 1)) <= 1


def test_weight_decay_leaves_vectors_alone():
    optimizer = optim.build(OptimConfig(weight_decay=0.1), steps=7)
    params = jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    assert np.all(np.asarray(updates["kernel"]) < 0)
    assert not np.any(updates["bias"])


@pytest.mark.parametrize("bound", [0.5, 1e3])
def test_the_global_norm_is_clipped_as_by_optax(bound):
    gradient = {"kernel": jnp.array([3.0, -4.0, 1e-3]), "bias": jnp.array([12.0])}
    ours, theirs = clipping.clip_by_global_norm(bound), optax.clip_by_global_norm(bound)
    found, wanted = (clip.update(gradient, clip.init(gradient))[0] for clip in (ours, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)
    if bound > 13:
        jax.tree.map(np.testing.assert_array_equal, found, gradient)


def test_accumulated_batches_move_the_parameters_once_by_their_mean():
    config, params = OptimConfig(warmup=2, eps=1.0, clip_norm=0.1), {"kernel": jnp.array([[1.0, 2.0]])}
    gradients = [{"kernel": jnp.array([[k, 1.0 - k]])} for k in (0.0, 3.0, 1.0, 4.0)]
    whole, pieces = optim.build(config, 5), optim.build(dataclasses.replace(config, accumulate=2), 10)
    wanted, state, piece = params, whole.init(params), pieces.init(params)
    found = params
    for first, second in zip(gradients[::2], gradients[1::2], strict=True):
        updates, state = whole.update(jax.tree.map(lambda a, b: (a + b) / 2, first, second), state, wanted)
        wanted = optax.apply_updates(wanted, updates)
        for k, gradient in enumerate((first, second)):
            updates, piece = pieces.update(gradient, piece, found)
            assert k or not np.any(updates["kernel"])
            found = optax.apply_updates(found, updates)
        np.testing.assert_allclose(found["kernel"], wanted["kernel"], rtol=1e-6)
        assert bool(optim.binding(piece)) == bool(optim.binding(state))


@pytest.mark.parametrize(
    ("words", "clip", "threshold"),
    [
        ([], "global_norm", preset("small").optim.clip_norm),
        (["--optim.clip", "agc"], "agc", None),
        (["--optim.clip", "agc", "--optim.clip_norm", "0.02"], "agc", 0.02),
        (["--optim.clip", "global_norm"], "global_norm", preset("small").optim.clip_norm),
        (["--optim.clip_norm", "None"], "global_norm", None),
    ],
)
def test_a_threshold_of_a_preset_holds_for_its_own_clip(words, clip, threshold):
    optim = parse(["config", *words]).config.optim
    assert (optim.clip, optim.clip_norm) == (clip, threshold)
