"""Tests a repair of a config: both configs are trained from initial parameters, and the better one is returned."""

from collections.abc import Callable
from dataclasses import replace

from hae_jax.config import Config
from hae_jax.diagnosis.config_fixes import fix_config, scale_learning_rate
from hae_jax.doctor import Report, TrainingSetup, repair
from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.examine import Progress
from hae_jax.doctor.fixes import Twins


def repair_config(
    config: Config,
    setup: TrainingSetup,
    untrained: Callable[[Config], TrainingSetup],
    seconds: float | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Config | None]:
    """Examines a model, and tries the config without the most likely cause.

    Args:
        config: of the model.
        setup: the model as it is, fresh or trained.
        untrained: returns the setup of a config with initial parameters. Both configs start from these, since a
            change may concern the initial parameters.
        seconds: upper limit of the duration of the examination, and again of the trial; None for no limit.
        progress: as for `hae_jax.doctor.examine`.

    Returns:
        The report, and the repaired config with its learning rate tuned; None if no repair helped.
    """
    fixed: list[Config] = []

    def fix(cause: str, evidence: Evidence) -> Twins | None:
        found = fix_config(config, cause, evidence)
        if found is None:
            return None
        fixed.append(found[0])
        return Twins(untrained(config), untrained(found[0]), found[1], tune_rate=config.optim != found[0].optim)

    report = repair(setup, seconds=seconds, fix=fix, progress=progress)
    if report.repair is None or not report.repair.healed:
        return report, None
    (healed,) = fixed
    rate = scale_learning_rate(healed, report.repair.rate, digits=6)
    return report, replace(healed, optim=replace(healed.optim, learning_rate=rate))
