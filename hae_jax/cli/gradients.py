"""`hae gradients`: what gradients do in a fresh or a trained model."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from hae_jax.cli.options import Configured
from hae_jax.config import differences

if TYPE_CHECKING:
    from hae_jax.gradients.report import GradientReport

OURS = ("model.", "data.")
"""Fields that decide what a trained model is."""
FREE = "data.batch_size"
"""What may differ all the same: memory may be short."""


@dataclass(frozen=True, kw_only=True)
class Gradients(Configured):
    """Measures how far gradients reach, through time and up the hierarchy, beside what theory expects."""

    workdir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: a fresh model)")] = None
    """Folder of a trained run. Without it the model is fresh, its config the preset with the options given."""
    png: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: gradients.png)")] = None
    """Where to draw the curves; by default in the workdir, if there is one."""
    json: bool = False
    """Prints one JSON object instead of tables."""
    batches: int = 4
    """Batches of training documents that are looked at."""

    def run(self) -> None:
        """Prints the report and draws it."""
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}. The more, the steadier the numbers.")
        png = self.png or (self.workdir or Path()) / "gradients.png"
        if self.workdir and not (self.workdir / "config.json").is_file():
            raise ValueError(
                f"workdir must hold a run, got no config.json in {self.workdir}. "
                "Train one, or leave out --workdir and look at a fresh model."
            )
        if not png.parent.is_dir() or png.is_dir() or not os.access(png.parent, os.W_OK):
            raise ValueError(f"png must be a file in a folder that can be written to, got {png}. Choose another path.")
        if png.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"png must end in .png, .pdf or .svg, got {png}. Choose another name.")
        report, title = self.trained(self.workdir) if self.workdir else self.fresh()
        # Who reads JSON draws for himself, unless he asks for a picture.
        if self.png or not self.json:
            from hae_jax.plots import draw_gradients

            draw_gradients(report, title, png)
        if self.json:
            print(json.dumps(report.to_dict()))
        else:
            from hae_jax.cli.tables import show_gradients

            show_gradients(report, title)
            print(png)

    def trained(self, workdir: Path) -> "tuple[GradientReport, str]":
        """Looks at the run in a workdir."""
        from hae_jax.data import Dataset
        from hae_jax.gradients.report import steadiness
        from hae_jax.trained import TrainedModel
        from hae_jax.training.metrics_log import read_lines

        run = TrainedModel.load(workdir)
        changed = [name for name in differences(run.config, self.config) if name.startswith(OURS) and name != FREE]
        if changed:
            raise ValueError(
                f"options must be those of the run in {workdir}, got another {', '.join(changed)}. "
                "Leave them out, or leave out --workdir and look at a fresh model."
            )
        report = self.look(run.model, run.params, Dataset.load(workdir / "data"))
        report = replace(report, training=steadiness(read_lines(workdir / "metrics.jsonl")))
        return report, f"{workdir}, step {run.step}"

    def fresh(self) -> "tuple[GradientReport, str]":
        """Looks at a model that has not been trained."""
        with self.untrained() as (model, params, data):
            return self.look(model, params, data), f"fresh model, preset {self.preset}"

    def look(self, model: Any, params: Any, data: Any) -> "GradientReport":
        """Examines a model on the first batches of its training."""
        import jax

        from hae_jax.data.batches import Batches
        from hae_jax.gradients.report import examine

        batches = Batches(data.train, self.data, self.train.seed)
        key = jax.random.key(self.train.seed + 1)
        return examine(model, self.model, params, (batches.batch(step) for step in range(self.batches)), key)
