"""The training loop: steps, numbers, evaluations and checkpoints, until done, out of time, or told to stop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
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
"""Fields of `TrainConfig` that a resumed run may not change: they decide what is computed."""

FREE = ("model.remat",)
"""Fields of the other parts that it may: they decide how much memory that takes."""

Reason = Literal["steps", "minutes", "signal"]
"""All steps were made, the minutes are over, or a signal came."""


@dataclass(frozen=True)
class FitResult:
    """How a call of `fit` ended.

    Attributes:
        step: steps of the run so far.
        reason: why.
        signal: number of that signal.
        evaluation: scores on all held-out documents; None if a signal came, or if the run had been complete before.
    """

    step: int
    reason: Reason
    signal: int | None = None
    evaluation: Evaluation | None = None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that ended so: 0, or 128 and the signal's number."""
        return 0 if self.signal is None else 128 + self.signal


def fit(
    config: Config,
    workdir: Path,
    console: Console | None = None,
    monitor: Callable[[Config, list[str]], TrainingMonitor] | None = None,
) -> FitResult:
    """Trains a model, or goes on with training it.

    The workdir holds `config.json`, the tokenised corpus in `data/`, `checkpoints/`, and `metrics.jsonl`. If it holds a
    run of the same config, that run goes on from its newest whole checkpoint, to the same result, bit for bit, as if it
    had never stopped: a step's batch and randomness are functions of its number and the seed. A run is what has a
    checkpoint; before that, for example because memory did not suffice, the config may still change.

    Training time, for `train.minutes`, counts over all resumes, with compilation and without evaluations.

    Args:
        config: the run.
        workdir: its folder; made if need be.
        console: where progress is shown; standard output by default.
        monitor: builds the monitor of the run, from the config and the causes reported before a resumed run stopped.

    Returns:
        Why it ended, and the last evaluation.

    Raises:
        ValueError: if the workdir cannot be used or holds another run, the corpus is no good, or the batch does not
            divide among the devices.
        NonFinite: after `train.max_skipped` non-finite steps in a row.
    """
    check_tensorboard(config.train.tensorboard)
    open_workdir(config, workdir)
    with ProgressDisplay(config.train.steps, console) as screen:
        dataset = prepare(config.data, workdir / "data", screen.preparing)
        checkpoints = Checkpoints(workdir / "checkpoints", config.train.keep, screen.say)
        try:
            return _Fit(config, workdir, dataset, checkpoints, screen).run(monitor)
        finally:
            checkpoints.finish()


def open_workdir(config: Config, workdir: Path) -> None:
    """Makes the workdir, or makes sure that it holds a run of this config.

    Raises:
        ValueError: if it cannot be written to, or holds a run of another config.
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
    if path.exists() and steps(workdir / "checkpoints"):
        old = Config.load(path)
        changed = [
            name for name in differences(old, config)
            if name not in FREE and (not name.startswith("train.") or name in FIXED)
        ]  # fmt: skip
        if changed:
            raise ValueError(
                f"workdir must hold a run of the same config, got {workdir} with another {', '.join(changed)}. "
                "Use a new workdir, or the options that run was started with."
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
        """Lets no time pass."""
        seconds = self.seconds
        yield
        self._offset = seconds - time.monotonic()


class _Fit:
    """A run while it is being trained."""

    def __init__(
        self, config: Config, workdir: Path, dataset: Dataset, checkpoints: Checkpoints, screen: ProgressDisplay
    ) -> None:
        self._config, self._workdir, self._dataset = config, workdir, dataset
        self._checkpoints, self._screen = checkpoints, screen
        self._model = build(config.model, dataset.tokenizer.vocab_size)
        self._batches = Batches(dataset.train, config.data, config.train.seed)
        self._sample = dataset.heldout.evenly_spaced(config.train.eval_documents)
        self._mesh = sharding.local_mesh()

    def run(self, monitor: Callable[[Config, list[str]], TrainingMonitor] | None) -> FitResult:
        """Starts or resumes, and trains."""
        config = self._config
        params_key, self._key = jax.random.split(jax.random.key(config.train.seed))
        optimizer = optim.build(config.optim, config.train.steps)
        first = self._batches.batch(0)
        sharding.check(first, self._mesh.size)
        # Only now: a config that cannot be trained must not claim the workdir.
        config.save(self._workdir / "config.json")

        def begin(batch: Batch) -> TrainState:
            return start(self._model.init({"params": params_key}, batch)["params"], optimizer)

        restored = self._checkpoints.restore(jax.eval_shape(begin, first))
        state, record = restored or (jax.jit(begin)(first), CheckpointInfo(0, None, 0.0))
        if restored:
            self._screen.say(f"resuming from step {record.step}")
        self._watch = _Timer(record.seconds)
        self._window = MetricsBuffer(state, lambda: self._watch.seconds, config.train.max_skipped)
        with (
            MetricsLog(self._workdir, record.step, config.train.tensorboard) as self._journal,
            Interrupt() as self._interrupt,
        ):
            self._monitor = monitor(config, self._journal.causes) if monitor else None
            watch = self._monitor.watch if self._monitor else None
            self._programs = CompiledStep(make_step(self._model, optimizer, config, self._mesh, watch))
            return self._loop(sharding.replicate(state, self._mesh), record)

    def _loop(self, state: TrainState, saved: CheckpointInfo) -> FitResult:
        train, step = self._config.train, saved.step
        complete = self._journal.complete
        self._screen.training(step)
        batch = self._batch(step)
        while (reason := self._reason(step)) is None:
            state, info = self._programs(state, batch, self._key)
            step += 1
            batch = self._batch(step)
            self._window.add(info)
            complete = False
            evaluates, saves = (
                step % every == 0 and step < train.steps for every in (train.eval_every, train.save_every)
            )
            if step % train.log_every == 0 or evaluates or saves:
                self._log(step)
            if evaluates or saves:
                loss = self._evaluate(step, state, "evaluation").loss if evaluates else None
                saved = self._save(step, state, loss)
        self._log(step)
        if complete:
            self._screen.say(f"this run is complete, at step {step}")
            return FitResult(step, reason)
        if reason == "signal":
            if step > saved.step:
                self._save(step, state, None)
            return FitResult(step, reason, self._interrupt.received)
        evaluation = self._evaluate(step, state, "final")
        self._save(step, state, self._comparable(state, evaluation))
        return FitResult(step, reason, None, evaluation)

    def _reason(self, step: int) -> Reason | None:
        """Says why to stop now, if there is a reason to."""
        if self._interrupt.received is not None:
            return "signal"
        if step >= self._config.train.steps:
            return "steps"
        minutes = self._config.train.minutes
        return "minutes" if minutes and self._watch.seconds >= 60 * minutes else None

    def _batch(self, step: int) -> Batch:
        return sharding.spread(self._batches.batch(step), self._mesh)

    def _save(self, step: int, state: TrainState, loss: float | None) -> CheckpointInfo:
        record = CheckpointInfo(step, loss, self._watch.seconds)
        self._checkpoints.save(state, record)
        return record

    def _log(self, step: int) -> None:
        try:
            values = self._window.close()
        finally:
            # Also where the window gives up: what broke is the more worth a word.
            if self._monitor:
                self._speak(step, [r for name in self._window.culprit for r in self._monitor.breakdown(name)])
        if values is not None:
            values |= self._programs.costs()
            self._journal.write(step, "train", values)
            self._screen.train(step, values)
            if self._monitor:
                self._speak(step, self._monitor.train(step, values, self._window.seen))

    def _speak(self, step: int, remarks: list[Alert]) -> None:
        for remark in remarks:
            self._journal.write(step, "doctor", remark._asdict())
            self._screen.say(f"step {step}: {remark.cause} ({remark.words})")

    def _evaluate(self, step: int, state: TrainState, kind: Literal["evaluation", "final"]) -> Evaluation:
        heldout = self._dataset.heldout if kind == "final" else self._sample
        with self._watch.paused():
            evaluation = evaluate(self._model, state.params, self._heldout(heldout), self._dataset.tokenizer)
        if self._monitor:
            self._speak(step, self._monitor.evaluation(step, evaluation))
        self._journal.write(step, kind, evaluation.to_dict())
        self._screen.evaluation(step, evaluation)
        return evaluation

    def _comparable(self, state: TrainState, evaluation: Evaluation) -> float:
        """Returns the loss on the documents of the earlier evaluations, as the best of all is to be chosen."""
        if len(self._sample) == len(self._dataset.heldout):
            return evaluation.loss
        with self._watch.paused():
            encoded = encode_batches(self._model, state.params, self._heldout(self._sample))
            return teacher_forced_scores(score_tokens(self._model, state.params, encoded)).loss

    def _heldout(self, documents: Corpus) -> Iterator[tuple[Batch, int]]:
        return sequential_batches(documents, self._config.data, self._config.data.batch_size)
