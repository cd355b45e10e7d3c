"""`hae gradients`: gradients of an untrained or a trained model."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from hae_jax.cli.options import Configured

if TYPE_CHECKING:
    from hae_jax.gradients.report import GradientReport
    from hae_jax.trained import TrainedModel

FREE = ("optim.", "train.", "data.batch_size")
"""Fields of the config that may differ from those of a trained model: memory may require another batch size."""


@dataclass(frozen=True, kw_only=True)
class Gradients(Configured):
    """Measures gradients over time steps and across levels, and compares them with mean-field theory."""

    workdir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: an untrained model)")] = None
    """Folder of a trained run. Without it the model is initialized from the preset and the given options."""
    png: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: gradients.png)")] = None
    """File of the figure; by default in the workdir, if there is one."""
    json: bool = False
    """Prints one JSON object instead of tables, and draws no figure by default."""
    batches: int = 4
    """Batches of training documents to measure on."""

    def run(self) -> None:
        """Prints the report and draws the figure."""
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}. More batches reduce the variance.")
        model = self.load_run(self.workdir, FREE) if self.workdir else None
        png = self.png or (self.workdir or Path()) / "gradients.png"
        if not png.parent.is_dir() or png.is_dir() or not os.access(png.parent, os.W_OK):
            raise ValueError(f"png must be a file in a writable folder, got {png}. Choose another path.")
        if png.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"png must end in .png, .pdf or .svg, got {png}. Choose another name.")
        report, title = self.trained(model) if model else self.untrained_report()
        if self.png or not self.json:
            from hae_jax.plots import draw_gradients

            draw_gradients(report, title, png)
        if self.json:
            print(json.dumps(report.to_dict()))
        else:
            from hae_jax.cli.tables import show_gradients

            show_gradients(report, title)
            print(png)

    def trained(self, model: "TrainedModel") -> "tuple[GradientReport, str]":
        """Reports the gradients of a trained model, and of its training so far."""
        from hae_jax.data import Dataset
        from hae_jax.gradients.report import training_stability
        from hae_jax.training.metrics_log import read_lines

        report = self.measure(model.module, model.params, Dataset.load(model.workdir / "data"))
        report = replace(report, training=training_stability(read_lines(model.workdir / "metrics.jsonl")))
        return report, f"{model.workdir}, step {model.step}"

    def untrained_report(self) -> "tuple[GradientReport, str]":
        """Reports the gradients of an untrained model."""
        with self.untrained() as (module, params, data):
            return self.measure(module, params, data), f"untrained model, preset {self.preset}"

    def measure(self, module: Any, params: Any, data: Any) -> "GradientReport":
        """Measures gradients on the first training batches."""
        import jax

        from hae_jax.data.batches import Batches
        from hae_jax.gradients.report import gradient_report

        batches = Batches(data.train, self.data, self.train.seed)
        key = jax.random.key(self.train.seed + 1)
        return gradient_report(module, self.model, params, (batches.batch(step) for step in range(self.batches)), key)
