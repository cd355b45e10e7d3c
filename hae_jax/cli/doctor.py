"""`hae doctor`: why a model does not train, fresh or trained."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from hae_jax.cli.options import Configured, fresh

if TYPE_CHECKING:
    from hae_jax.config import Config
    from hae_jax.doctor import Report, TrainingSetup


@dataclass(frozen=True, kw_only=True)
class Doctor(Configured):
    """Finds out why a model does not train: the cause, the evidence, the repair."""

    workdir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: a fresh model)")] = None
    """Folder of a run; its config and parameters are examined. Without it the model is fresh."""
    json: bool = False
    """Prints one JSON object instead of a report."""
    html: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: none)")] = None
    """Where to write the report as a web page, with a picture of the loss."""
    repair: bool = False
    """Tries the repair beside the sick model, for as many steps, and writes the config that heals into a new folder,
    where `hae train --workdir` begins with it."""
    seconds: float = 90.0
    """How long to take, about."""
    batches: int = 16
    """Batches of training documents that the model is examined with."""

    def run(self) -> None:
        """Examines the model and prints the report."""
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}. The more, the surer the verdict.")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be positive, got {self.seconds}. A minute is enough for a small model.")
        if self.html and not self.html.parent.is_dir():
            raise ValueError(f"html must be in a folder that exists, got {self.html}. Choose another path.")
        if self.workdir and not (self.workdir / "config.json").is_file():
            raise ValueError(
                f"workdir must hold a run, got no config.json in {self.workdir}. "
                "Train one, or leave out --workdir and examine a fresh model."
            )
        with self.opened() as (config, model, params, data):
            report = self.report(config, self.patient(config, model, params, data), data)
        if self.html:
            self.html.write_text(page(report), encoding="utf-8")
        if self.json:
            print(json.dumps(report.to_dict()))
        else:
            from rich.console import Console

            Console().print(report)

    @contextmanager
    def opened(self) -> Iterator[tuple["Config", Any, Any, Any]]:
        """Opens the run in the workdir, or makes a fresh model: its config, itself, parameters, data."""
        if self.workdir is None:
            with self.untrained() as (model, params, data):
                yield self.config, model, params, data
            return
        from hae_jax.data import Dataset
        from hae_jax.trained import TrainedModel

        run = TrainedModel.load(self.workdir)
        yield run.config, run.model, run.params, Dataset.load(self.workdir / "data")

    def report(self, config: "Config", patient: "TrainingSetup", data: Any) -> "Report":
        """Examines the patient; tries the repair, if that is asked for, and writes the config that healed."""
        from hae_jax.diagnosis.config_fixes import fix_config
        from hae_jax.doctor import examine, repair
        from hae_jax.doctor.fixes import Twins

        if not self.repair:
            return examine(patient, self.seconds)
        healthier: list[Config] = []

        def treat(cause: str, evidence: dict[str, Any]) -> Twins | None:
            found = fix_config(config, cause, evidence)
            if found is None:
                return None
            healthier.append(found[0])
            # Both from the beginning: a change may be of the fresh weights.
            sick, repaired = (self.patient(each, *fresh(each, data), data) for each in (config, found[0]))
            return Twins(sick, repaired, found[1], config.optim != found[0].optim)

        report = repair(patient, self.seconds, treat)
        if report.repair is None or not report.repair.healed:
            return report
        folder = unused(self.workdir or Path("runs") / self.preset)
        folder.mkdir(parents=True)
        config = healthier[0]
        rate = float(f"{config.optim.learning_rate * report.repair.rate:.6g}")
        replace(config, optim=replace(config.optim, learning_rate=rate)).save(folder / "config.json")
        return replace(report, repair=replace(report.repair, config=str(folder / "config.json")))

    def patient(self, config: "Config", model: Any, params: Any, data: Any) -> "TrainingSetup":
        """Makes a patient of one of this package's models."""
        from hae_jax.diagnosis.setup import training_setup

        return training_setup(config, model, params, data, self.batches)


def unused(folder: Path) -> Path:
    """Returns a folder beside another one that does not exist yet."""
    names = itertools.chain([f"{folder.name}-repaired"], (f"{folder.name}-repaired-{n}" for n in itertools.count(2)))
    return next(path for path in map(folder.with_name, names) if not path.exists())


def page(report: "Report") -> str:
    """Writes a report as a web page that needs nothing else, with a picture of the loss where there was training."""
    import io

    from rich.console import Console

    from hae_jax.doctor.sparkline import svg_figure

    console = Console(record=True, width=110, file=io.StringIO())
    console.print(report)
    return console.export_html(inline_styles=True).replace("</body>", f"{svg_figure(report.losses())}\n</body>")
