"""The training loop: steps, metrics, evaluations and checkpoints, until complete, out of time, or interrupted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import flax.linen as nn
import jax
from jax.sharding import Mesh
from jaxtyping import Array, Key
from rich.console import Console

from hae_jax.batch import Batch
from hae_jax.config import Config, differences
from hae_jax.data.batches import Batches, sequential_batches
from hae_jax.data.cache import Dataset, prepare
from hae_jax.data.documents import Corpus
from hae_jax.inference.evaluate import Evaluation, evaluate
from hae_jax.inference.teacher_forcing import encode_batches, score_tokens, teacher_forced_scores
from hae_jax.models import build
from hae_jax.training import optim, sharding
from hae_jax.training.checkpoint import CheckpointInfo, Checkpoints, steps
from hae_jax.training.compiled import CompiledStep
from hae_jax.training.interrupt import Interrupt
from hae_jax.training.metrics import MetricsBuffer
from hae_jax.training.metrics_log import MetricsLog, check_tensorboard
from hae_jax.training.monitor import Alert, TrainingMonitor
from hae_jax.training.progress import ProgressDisplay
from hae_jax.training.step import TrainState, make_step, start

FIXED = ("train.seed", "train.steps")
"""Fields of `TrainConfig` that must not change when a run is resumed, since results depend on them."""

FREE = ("model.remat",)
"""Fields of other parts of the config that may change, since only the memory needed depends on them."""

Reason = Literal["steps", "minutes", "signal"]
"""All steps are done, the time limit is reached, or a signal arrived."""

MonitorFactory = Callable[[Config, list[str]], TrainingMonitor]
"""Builds the monitor of a run from its config and the causes reported before it was resumed."""


@dataclass(frozen=True)
class FitResult:
    """How a call of `fit` ended.

    Attributes:
        step: number of steps of the run so far.
        reason: why training stopped.
        signal: number of the signal, if one stopped it.
        evaluation: scores on all held-out documents; None after a signal, or if the run was complete before.
    """

    step: int
    reason: Reason
    signal: int | None = None
    evaluation: Evaluation | None = None

    @property
    def exit_code(self) -> int:
        """The exit code by the convention of shells: 0, or 128 plus the number of the signal."""
        return 0 if self.signal is None else 128 + self.signal


def fit(
    config: Config, workdir: Path, console: Console | None = None, monitor: MonitorFactory | None = None
) -> FitResult:
    """Trains a model, or resumes its training.

    The workdir contains `config.json`, the tokenized corpus in `data/`, `checkpoints/`, and `metrics.jsonl`. A workdir
    with a run of the same config is resumed from its newest intact checkpoint. The result is that of an uninterrupted
    run, bit for bit, since the batch and the randomness of a step are functions of its number and the seed. Until the
    first checkpoint exists, the config may still change, for example because memory did not suffice.

    Training time, for `train.minutes`, is the total over all resumes; it includes compilation but not evaluations.

    Args:
        config: the run.
        workdir: its folder; created if missing.
        console: where progress is displayed; standard output by default.
        monitor: builds the monitor of the run; None for no monitoring.

    Returns:
        Why training stopped, and the final evaluation.

    Raises:
        ValueError: if the workdir is not usable or contains another run, the corpus is not usable, or the batch cannot
            be divided among the devices.
        NonFinite: after `train.max_skipped` consecutive non-finite steps.
    """
    check_tensorboard(config.train.tensorboard)
    open_workdir(config, workdir)
    with ProgressDisplay(config.train.steps, console) as progress:
        dataset = prepare(config.data, workdir / "data", progress.preparing)
        checkpoints = Checkpoints(workdir / "checkpoints", config.train.keep, progress.log)
        try:
            return _fit(config, workdir, dataset, checkpoints, progress, monitor)
        finally:
            checkpoints.finish()


def open_workdir(config: Config, workdir: Path) -> None:
    """Creates the workdir, or checks that it contains a run of this config.

    Raises:
        ValueError: if it is not writable, or contains a run of another config, or one on series.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / ".writable").touch()
        (workdir / ".writable").unlink()
    except OSError as error:
        raise ValueError(
            f"workdir must be a folder that can be written to, got {workdir} ({error.strerror}). Choose another one."
        ) from None
    path = workdir / "config.json"
    if (workdir / "facts.json").exists():
        raise ValueError(f"workdir must be new or hold a run on text, got one on series in {workdir}. Use another one.")
    if path.exists() and steps(workdir / "checkpoints"):
        old = Config.load(path)
        changed = [
            name for name in differences(old, config)
            if name not in FREE and (not name.startswith("train.") or name in FIXED)
        ]  # fmt: skip
        if changed:
            raise ValueError(
                f"workdir must hold a run of the same config, got {workdir} with another {', '.join(changed)}. "
                "Use a new workdir, or that run's config, which hae train takes if only --workdir is given."
            )


class _Timer:
    """Measures training time, over pauses and resumes."""

    def __init__(self, seconds: float) -> None:
        self._offset = seconds - time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return self._offset + time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock within the context."""
        seconds = self.seconds
        yield
        self._offset = seconds - time.monotonic()


def _fit(
    config: Config,
    workdir: Path,
    dataset: Dataset,
    checkpoints: Checkpoints,
    progress: ProgressDisplay,
    monitor: MonitorFactory | None,
) -> FitResult:
    """Initializes or restores the state of a run, and trains."""
    model = build(config.model, dataset.tokenizer.vocab_size)
    batches, mesh = Batches(dataset.train, config.data, config.train.seed), sharding.local_mesh()
    params_key, key = jax.random.split(jax.random.key(config.train.seed))
    optimizer = optim.build(config.optim, config.train.steps)
    first = batches.batch(0)
    sharding.check(first, mesh.size)
    # Only now, so that a config that cannot be trained does not occupy the workdir.
    config.save(workdir / "config.json")

    def initial_state(batch: Batch) -> TrainState:
        return start(model.init({"params": params_key}, batch)["params"], optimizer)

    restored = checkpoints.restore(jax.eval_shape(initial_state, first))
    state, saved = restored or (jax.jit(initial_state)(first), CheckpointInfo(0, None, 0.0))
    if restored:
        progress.log(f"resuming from step {saved.step}")
    timer = _Timer(saved.seconds)
    metrics = MetricsBuffer(state, lambda: timer.seconds, config.train.max_skipped)
    with MetricsLog(workdir, saved.step, config.train.tensorboard) as log, Interrupt() as interrupt:
        watching = monitor(config, log.causes) if monitor else None
        step = CompiledStep(make_step(model, optimizer, config, mesh, watching.statistics if watching else None))
        run = _Run(
            config, dataset, model, batches, mesh, key, step, timer, metrics, log, watching, checkpoints, progress,
            interrupt,
        )  # fmt: skip
        return run.train(sharding.replicate(state, mesh), saved)


@dataclass(frozen=True)
class _Run:
    """A training run: what its loop needs."""

    config: Config
    dataset: Dataset
    model: nn.Module
    batches: Batches
    mesh: Mesh
    key: Key[Array, ""]
    step: CompiledStep
    timer: _Timer
    metrics: MetricsBuffer
    log: MetricsLog
    monitor: TrainingMonitor | None
    checkpoints: Checkpoints
    progress: ProgressDisplay
    interrupt: Interrupt

    def train(self, state: TrainState, saved: CheckpointInfo) -> FitResult:
        """Trains from a state on, whose checkpoint is `saved`."""
        train, step, complete = self.config.train, saved.step, self.log.complete
        sample = self.dataset.heldout.evenly_spaced(train.eval_documents)
        self.progress.training(step)
        batch = self._batch(step)
        while (reason := self._stop_reason(step)) is None:
            state, info = self.step(state, batch, self.key)
            step += 1
            batch = self._batch(step)
            self.metrics.add(info)
            complete = False
            evaluates, saves = (
                step % every == 0 and step < train.steps for every in (train.eval_every, train.save_every)
            )
            if step % train.log_every == 0 or evaluates or saves:
                self._log(step)
            if evaluates or saves:
                loss = self._evaluate(step, state, sample, "evaluation").loss if evaluates else None
                saved = self._save(step, state, loss)
        self._log(step)
        if complete:
            self.progress.log(f"this run is complete, at step {step}")
            return FitResult(step, reason)
        if reason == "signal":
            if step > saved.step:
                self._save(step, state, None)
            return FitResult(step, reason, self.interrupt.received)
        heldout = self.dataset.heldout
        evaluation = self._evaluate(step, state, heldout, "final")
        # The best checkpoint is selected by the loss on the sample.
        self._save(step, state, evaluation.loss if len(sample) == len(heldout) else self._loss(state, sample))
        return FitResult(step, reason, None, evaluation)

    def _stop_reason(self, step: int) -> Reason | None:
        if self.interrupt.received is not None:
            return "signal"
        if step >= self.config.train.steps:
            return "steps"
        minutes = self.config.train.minutes
        return "minutes" if minutes and self.timer.seconds >= 60 * minutes else None

    def _batch(self, step: int) -> Batch:
        return sharding.shard_batch(self.batches.batch(step), self.mesh)

    def _save(self, step: int, state: TrainState, loss: float | None) -> CheckpointInfo:
        saved = CheckpointInfo(step, loss, self.timer.seconds)
        self.checkpoints.save(state, saved)
        return saved

    def _log(self, step: int) -> None:
        try:
            values = self.metrics.summarize()
        finally:
            # Also if training stops here: then the cause is most important.
            if self.monitor and self.metrics.nonfinite:
                self._report(step, self.monitor.on_nonfinite(self.metrics.first_nonfinite))
        if values is not None:
            values |= self.step.costs()
            self.log.write(step, "train", values)
            self.progress.train(step, values)
            if self.monitor:
                self._report(step, self.monitor.train(step, values, self.metrics.statistics))

    def _report(self, step: int, alerts: list[Alert]) -> None:
        for alert in alerts:
            self.log.write(step, "doctor", {"cause": alert.cause, "words": alert.message})
            self.progress.log(f"step {step}: {alert.cause} ({alert.message})")

    def _evaluate(
        self, step: int, state: TrainState, documents: Corpus, kind: Literal["evaluation", "final"]
    ) -> Evaluation:
        with self.timer.paused():
            evaluation = evaluate(self.model, state.params, self._in_order(documents), self.dataset.tokenizer)
        if self.monitor:
            self._report(step, self.monitor.evaluation(step, evaluation))
        self.log.write(step, kind, evaluation.to_dict())
        self.progress.evaluation(step, evaluation)
        return evaluation

    def _loss(self, state: TrainState, documents: Corpus) -> float:
        with self.timer.paused():
            encoded = encode_batches(self.model, state.params, self._in_order(documents))
            return teacher_forced_scores(score_tokens(self.model, state.params, encoded)).loss

    def _in_order(self, documents: Corpus) -> Iterator[tuple[Batch, int]]:
        return sequential_batches(documents, self.config.data, self.config.data.batch_size)
