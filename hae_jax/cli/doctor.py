"""`hae doctor`: diagnosis of an untrained or a trained model."""

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
    from hae_jax.doctor import Report


@dataclass(frozen=True, kw_only=True)
class Doctor(Configured):
    """Diagnoses why a model does not train: cause, evidence, repair."""

    workdir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: an untrained model)")] = None
    """Folder of a run to examine. Without it the model is initialized from the preset and the given options."""
    json: bool = False
    """Prints one JSON object instead of a report."""
    html: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: none)")] = None
    """Writes the report as a web page, with a figure of the loss."""
    repair: bool = False
    """Trains the model with and without the repair for as many steps. If the repair helps, writes its config into a
    new folder, from which `hae train --workdir` starts."""
    seconds: float = 90.0
    """Approximate duration."""
    batches: int = 16
    """Batches of training documents that the model is examined with."""

    def run(self) -> None:
        """Examines the model and prints the report."""
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}. More make the verdict more certain.")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be positive, got {self.seconds}. A minute is enough for a small model.")
        if self.html and not self.html.parent.is_dir():
            raise ValueError(f"html must be in a folder that exists, got {self.html}. Choose another path.")
        with self.loaded() as (config, model, params, data):
            report = self.examined(config, model, params, data)
        if self.html:
            from hae_jax.doctor.console import html_page

            self.html.write_text(html_page(report), encoding="utf-8")
        if self.json:
            print(json.dumps(report.to_dict()))
        else:
            from rich.console import Console

            Console().print(report)

    @contextmanager
    def loaded(self) -> Iterator[tuple["Config", Any, Any, Any]]:
        """Yields config, model, parameters and data set of the run in the workdir, or of an untrained model."""
        if self.workdir is None:
            with self.untrained() as (model, params, data):
                yield self.config, model, params, data
            return
        from hae_jax.data import Dataset

        run = self.load_run(self.workdir)
        yield run.config, run.module, run.params, Dataset.load(self.workdir / "data")

    def examined(self, config: "Config", model: Any, params: Any, data: Any) -> "Report":
        """Returns the report; if a repair is requested and helps, writes its config."""
        from hae_jax.diagnosis.repair import repair_config
        from hae_jax.diagnosis.setup import training_setup
        from hae_jax.doctor import examine

        setup = training_setup(config, model, params, data, self.batches)
        if not self.repair:
            return examine(setup, seconds=self.seconds)
        report, repaired = repair_config(
            config,
            setup,
            lambda config: training_setup(config, *fresh(config, data), data, self.batches),
            self.seconds,
        )
        if repaired is None or report.repair is None:
            return report
        folder = unused(self.workdir or Path("runs") / self.preset)
        folder.mkdir(parents=True)
        repaired.save(folder / "config.json")
        return replace(report, repair=replace(report.repair, config=str(folder / "config.json")))


def unused(folder: Path) -> Path:
    """Returns the path of a new folder next to another one."""
    names = itertools.chain([f"{folder.name}-repaired"], (f"{folder.name}-repaired-{n}" for n in itertools.count(2)))
    return next(path for path in map(folder.with_name, names) if not path.exists())
