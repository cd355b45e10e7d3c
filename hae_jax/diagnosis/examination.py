"""The whole examination of one of this package's models: the doctor, the healthy twin, and a repair of the config."""

import time

from hae_jax.config import Config
from hae_jax.diagnosis.repair import repair_config
from hae_jax.diagnosis.twin import Untrained, compare_twins, healthy_twin
from hae_jax.doctor import Report, TrainingSetup, examine
from hae_jax.doctor.examine import Progress


def diagnose(
    config: Config,
    setup: TrainingSetup,
    reference: Config,
    untrained: Untrained,
    *,
    trained: bool = False,
    tested: bool = False,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Config | None]:
    """Examines a model; if nothing is found and it does not read its code, compares it with its healthy twin.

    Args:
        config: of the model.
        setup: the model as it is.
        reference: the preset whose recipe the healthy twin has.
        untrained: returns the setup of a config with initial parameters.
        trained: whether the model does not have its initial parameters any more.
        tested: whether to test the repair of what the examination finds; that of the comparison is tested in any case.
        seconds: upper limit of the duration of the examination, and again of the trials; None for no limit.
        progress: as for `hae_jax.doctor.examine`.

    Returns:
        The report, and the repaired config; None unless `tested`, or if no repair helped.
    """
    started, repaired = time.monotonic(), None
    if tested:
        report, repaired = repair_config(config, setup, untrained, seconds, progress)
    else:
        report = examine(setup, seconds=seconds, progress=progress)
    twin, left = healthy_twin(config, reference), None
    if seconds is not None:
        left = seconds - (time.monotonic() - started)
    if twin is None or report.findings or (left is not None and left <= 0):
        return report, repaired
    if progress is not None:
        progress("healthy twin", 1.0)
    compared = compare_twins(report, config, twin, untrained, retrain=trained, seconds=left)
    return compared, twin if tested and compared.findings else None
