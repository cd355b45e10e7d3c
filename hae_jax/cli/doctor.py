"""`hae doctor`: diagnosis of an untrained or a trained model, or of the one that a script makes."""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from hae_jax.cli.options import Configured, fresh
from hae_jax.config.presets import preset

if TYPE_CHECKING:
    from hae_jax.config import Config
    from hae_jax.doctor import Report
    from hae_jax.doctor.examine import Progress

WITH_SCRIPT = ("script", "json", "html", "repair", "seconds")
"""Options that have an effect on the examination of a script's model."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Configured):
    """Diagnoses why a model does not train: cause, evidence, repair.

    Exit code 0: healthy, 1: causes found, 3: too little examined, 2: wrong command.
    """

    workdir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: an untrained model)")] = None
    """Folder of a run to examine. Without it the model is initialized from the preset and the given options."""
    script: Annotated[str | None, arg(metavar="FILE:FUNCTION", help_behavior_hint="(default: none)")] = None
    """Examines any model instead: a function without arguments in a Python file that returns what
    `hae_jax.doctor.examine` takes, a setup or a tuple such as (model, x, y) of Keras. The file is imported, so that
    `if __name__ == "__main__"` does not run."""
    json: bool = False
    """Prints one JSON object instead of a report."""
    html: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: none)")] = None
    """Writes the report as a web page, with a figure of the loss."""
    repair: bool = False
    """Trains the model with and without the repair for as many steps. If the repair helps, writes its config into a
    new folder, from which `hae train --workdir` starts."""
    seconds: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: no limit)")] = None
    """Upper limit of the duration, compilation aside. An examination that it cuts short has no verdict."""
    batches: int = 16
    """Batches of training documents that the model is examined with."""

    def check_given(self, given: Mapping[str, str]) -> None:
        """Refuses options without an effect.

        Raises:
            ValueError: if one was given.
        """
        if self.script is None:
            super().check_given(given)
            return
        idle = [f"--{name}" for name in given if name not in WITH_SCRIPT]
        if idle:
            raise ValueError(
                f"--script must be given without options of this package's models, got {', '.join(idle)}. "
                "The script makes model and data; change them there."
            )

    def run(self) -> None:
        """Examines the model, and prints the report; the verdict is the exit code.

        Raises:
            SystemExit: unless the model is healthy.
        """
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}. More make the verdict more certain.")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be positive, got {self.seconds}. Without it there is no limit.")
        if self.html and (self.html.is_dir() or not self.html.parent.is_dir()):
            raise ValueError(f"html must be a file in a folder that exists, got {self.html}. Choose another path.")
        with progress_shown() as progress:
            report = self.examined(progress) if self.script is None else self.script_examined(progress)
        if self.json:
            print(json.dumps(report.to_dict()))
        else:
            from rich.console import Console

            console = Console()
            if console.is_terminal:
                console.print(report)
            else:
                print(report)
        sys.stdout.flush()
        if self.html:
            from hae_jax.doctor.web_page import html_page

            self.html.write_text(html_page(report), encoding="utf-8")
        if report.exit_code:
            raise SystemExit(report.exit_code)

    def script_examined(self, progress: "Progress") -> "Report":
        """Returns the report of the model that the script makes."""
        from hae_jax.cli.script import script_setup
        from hae_jax.doctor import examine, repair

        with script_setup(str(self.script)) as given:
            return (repair if self.repair else examine)(*given, seconds=self.seconds, progress=progress)

    def examined(self, progress: "Progress") -> "Report":
        """Returns the report of one of this package's models; if a repair is requested and helps, writes its config."""
        from hae_jax.diagnosis.examination import diagnose
        from hae_jax.diagnosis.setup import training_setup

        with self.loaded() as (config, model, params, data):
            report, repaired = diagnose(
                config,
                training_setup(config, model, params, data, self.batches),
                preset(self.preset),
                lambda config: training_setup(config, *fresh(config, data), data, self.batches),
                trained=self.workdir is not None,
                tested=self.repair,
                seconds=self.seconds,
                progress=progress,
            )
        if repaired is None or report.repair is None:
            return report
        folder = unused(self.workdir or Path("runs") / self.preset)
        folder.mkdir(parents=True)
        repaired.save(folder / "config.json")
        return replace(report, repair=replace(report.repair, config=str(folder / "config.json")))

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


@contextmanager
def progress_shown() -> Iterator["Progress"]:
    """Shows the progress of an examination on standard error, if that is a terminal; yields a function to call."""
    from rich.console import Console

    from hae_jax.training.progress import bar

    console = Console(stderr=True)
    with bar(console, console.is_terminal) as shown:
        task = shown.add_task("examining", total=100, numbers="")
        yield lambda name, share: shown.update(task, completed=round(100 * share), description=name)


def unused(folder: Path) -> Path:
    """Returns the path of a new folder next to another one."""
    names = itertools.chain([f"{folder.name}-repaired"], (f"{folder.name}-repaired-{n}" for n in itertools.count(2)))
    return next(path for path in map(folder.with_name, names) if not path.exists())
