"""Checkpoints survive what disks do to them."""

import shutil

import jax
import numpy as np
import pytest
from support.stub import Fake, batch

from hae_jax.config import Config, OptimConfig
from hae_jax.training import checkpoint, optim, step
from hae_jax.training.checkpoint import CheckpointError, CheckpointInfo, Checkpoints

# When a file is damaged, threads of TensorStore still call the event loop that Orbax has closed already.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def state():
    """A state after three steps, with AutoClip's statistics in it."""
    config = Config(optim=OptimConfig(clip="autoclip", clip_norm=10.0))
    model, optimizer = Fake(), optim.build(config.optim, 7)
    state = step.start(jax.jit(model.init)(jax.random.key(1), batch())["params"], optimizer)
    train_step = step.make_step(model, optimizer, config)
    for seed in range(3):
        state, _ = train_step(state, batch(seed), jax.random.key(0))
    return state


@pytest.fixture
def log():
    return []


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def at(state, number):
    return state._replace(step=np.asarray(number, np.int32))


def fill(folder, state, losses, keep=2):
    """Saves a checkpoint for every step: loss of `losses`."""
    checkpoints = Checkpoints(folder, keep, print)
    for number, loss in losses.items():
        checkpoints.save(at(state, number), CheckpointInfo(number, loss, number * 1.5))
    checkpoints.finish()


def same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True), actual, expected
    )


def files(path):
    """All files that are not empty."""
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)


def test_a_saved_state_is_restored_bit_for_bit(folder, state, log):
    fill(folder, state, {3: 1.25})
    restored, record = Checkpoints(folder, 2, log.append).restore(state)
    same(restored, at(state, 3))
    assert record == CheckpointInfo(3, 1.25, 4.5)
    assert log == []


def test_an_empty_folder_holds_nothing(folder, state, log):
    assert Checkpoints(folder, 2, log.append).restore(state) is None
    with pytest.raises(CheckpointError, match="must hold a checkpoint, got none"):
        checkpoint.load_params(folder, state.params)


def test_the_saved_state_is_a_copy(folder, state):
    """The buffers of a donated state are used for the next one while it is still being written."""
    config = Config()
    optimizer = optim.build(config.optim, 7)
    live = step.start(jax.tree.map(lambda leaf: leaf + 0, state.params), optimizer)
    train_step = step.make_step(Fake(), optimizer, config)
    before = jax.tree.map(lambda leaf: np.array(leaf), live)
    checkpoints = Checkpoints(folder, 2, print)
    checkpoints.save(live, CheckpointInfo(0, None, 0.0))
    for seed in range(3):
        live, _ = train_step(live, batch(seed), jax.random.key(0))
    checkpoints.finish()
    same(checkpoints.restore(live)[0], before)


def test_the_newest_and_the_best_are_kept(folder, state):
    fill(folder, state, {1: 3.0, 2: None, 3: 1.0, 4: 2.0, 5: None, 6: None})
    assert checkpoint.steps(folder) == [3, 5, 6]
    params, record = checkpoint.load_params(folder, state.params)
    assert record.step == 3
    same(params, state.params)


def test_without_an_evaluation_the_newest_is_loaded(folder, state):
    fill(folder, state, {1: None, 2: None})
    assert checkpoint.load_params(folder, state.params)[1].step == 2


def test_every_flipped_bit_is_noticed_or_does_no_harm(folder, state, log):
    fill(folder, state, {3: 0.5})
    rng = np.random.default_rng(3)
    noticed = 0
    for path in files(folder / "3"):
        whole = path.read_bytes()
        for _ in range(2):
            place = int(rng.integers(len(whole)))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
            try:
                record, arrays = checkpoint.read(folder / "3", ("params", "rest"))
                same(checkpoint.unflatten_like(state.params, arrays["params"], 3), state.params)
                same(
                    checkpoint.unflatten_like(state._replace(params=None), arrays["rest"], 3),
                    at(state, 3)._replace(params=None),
                )
                assert record == CheckpointInfo(3, 0.5, 4.5)
            except CheckpointError:
                noticed += 1
        path.write_bytes(whole)
    assert noticed > 5


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "params/_METADATA", "rest/manifest.ocdbt", "params/d"])
@pytest.mark.parametrize("content", ["half", "nothing", "gone"])
def test_a_truncated_checkpoint_is_replaced_by_the_one_before(folder, state, log, name, content):
    fill(folder, state, {3: 2.0, 5: 1.0})
    for path in files(folder / "5"):
        if path.relative_to(folder / "5").as_posix().startswith(name):
            if content == "gone":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else b"")
    if not name.startswith("rest"):
        assert checkpoint.load_params(folder, state.params, log.append)[1].step == 3
    checkpoints = Checkpoints(folder, 2, log.append)
    restored, record = checkpoints.restore(state)
    assert record.step == 3
    same(restored, at(state, 3))
    assert log
    assert all("checkpoint 5 is damaged and skipped" in line or "metadata" in line for line in log)
    assert checkpoint.steps(folder) == [3]


def test_damaged_checkpoints_do_not_displace_intact_ones(folder, state, log):
    fill(folder, state, {3: None, 5: None, 7: None}, keep=3)
    for number in (5, 7):
        (folder / str(number) / "_CHECKPOINT_METADATA").write_text("{}")
    checkpoints = Checkpoints(folder, 2, log.append)
    checkpoints.restore(state)
    checkpoints.save(at(state, 4), CheckpointInfo(4, None, 0.0))
    checkpoints.finish()
    assert checkpoint.steps(folder) == [3, 4]


def test_where_all_are_damaged_nothing_is_removed_and_an_error_is_raised(folder, state, log):
    fill(folder, state, {3: None, 5: None})
    for path in (folder / "3", folder / "5"):
        shutil.rmtree(path / "rest")
    with pytest.raises(CheckpointError, match="must hold an intact checkpoint, got 2 damaged"):
        Checkpoints(folder, 2, log.append).restore(state)
    assert checkpoint.steps(folder) == [3, 5]
    assert len(log) == 2


def test_a_checkpoint_of_another_model_is_refused(folder, state, log):
    fill(folder, state, {3: None})
    other = dict(state.params)
    other["kernel"] = np.zeros((7, 29), np.float32)
    message = r"checkpoint 3 must match the model: kernel must be float32\[7, 29\], got float32\[7, 23\]"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_params(folder, other)
    del other["kernel"]
    with pytest.raises(CheckpointError, match=r"kernel must be absent, got float32\[7, 23\]"):
        Checkpoints(folder, 2, log.append).restore(state._replace(params=other))
    assert checkpoint.steps(folder) == [3]


def test_leftovers_of_an_interrupted_write_are_removed(folder, state, log):
    fill(folder, state, {3: None})
    leftover = folder / "5.orbax-checkpoint-tmp"
    leftover.mkdir()
    (leftover / "part").write_text("half")
    assert Checkpoints(folder, 2, log.append).restore(state)[1].step == 3
    assert not leftover.exists()


def test_a_failed_write_is_reported_at_the_next_save(folder, state, log, monkeypatch):
    class Failed:
        def result(self):
            raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(folder, 2, log.append)
    monkeypatch.setattr(checkpoint.ocp, "save_checkpointables_async", lambda *args, **kwargs: Failed())
    checkpoints.save(state, CheckpointInfo(3, None, 0.0))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(state, CheckpointInfo(5, None, 0.0))
