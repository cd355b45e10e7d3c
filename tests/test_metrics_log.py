"""The log of metrics."""

import importlib.util

import pytest

from hae_jax.training.metrics_log import MetricsLog, read_lines


def write(path, steps, resume=0):
    with MetricsLog(path, resume, tensorboard=False) as log:
        for step in steps:
            log.write(step, "train", {"loss": step / 2})


def test_a_line_is_on_the_disk_when_written(tmp_path):
    with MetricsLog(tmp_path, 0, tensorboard=False) as log:
        log.write(5, "train", {"loss": float("nan"), "skipped": 0})
        assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5, "kind": "train", "loss": null, "skipped": 0}\n'


def test_a_resumed_log_is_that_of_an_uninterrupted_run(tmp_path):
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    write(tmp_path / "whole", range(0, 50, 10))
    write(tmp_path / "resumed", range(0, 40, 10))
    write(tmp_path / "resumed", range(30, 50, 10), resume=20)
    assert (tmp_path / "resumed/metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    write(tmp_path, (10, 20))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    write(tmp_path, (30,), resume=20)
    assert [line["step"] for line in read_lines(path)] == [10, 30]


def test_a_run_that_starts_anew_has_a_new_log(tmp_path):
    write(tmp_path, (10, 20))
    write(tmp_path, (30,))
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [30]


def test_a_run_is_complete_once_its_final_scores_are_written(tmp_path):
    with MetricsLog(tmp_path, 0, tensorboard=False) as log:
        log.write(10, "train", {})
        log.write(10, "final", {})
        assert not log.complete
    with MetricsLog(tmp_path, 10, tensorboard=False) as log:
        assert log.complete
    with MetricsLog(tmp_path, 9, tensorboard=False) as log:
        assert not log.complete


def test_tensorboard_without_its_package_is_refused(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else find(name))
    with pytest.raises(ValueError, match=r"train.tensorboard must be off without tensorboardX.*hae_jax\[tensorboard\]"):
        MetricsLog(tmp_path, 0, tensorboard=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_number(tmp_path):
    pytest.importorskip("tensorboardX")
    with MetricsLog(tmp_path, 0, tensorboard=True) as log:
        log.write(5, "train", {"loss": 1.5, "by_length": {}})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
