"""Pictures; the only place that knows matplotlib, which it imports when a picture is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hae_jax.doctor.gradients import GradientReport

INK = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""Colours that the colour-blind tell apart (Okabe & Ito, 2008)."""


def figure(columns: int = 1, width: float = 6.0, height: float = 4.2) -> tuple["Figure", Sequence]:
    """Returns an empty figure and its axes, for files only: no window is ever opened."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(made)
    axes = [made.add_subplot(1, columns, column + 1) for column in range(columns)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25, linewidth=0.6)
    return made, axes


def draw_gradients(report: "GradientReport", title: str, path: Path) -> None:
    """Draws the gradient curves of all levels, those that theory expects, and the crossings between levels.

    Args:
        report: what was measured.
        title: over the picture.
        path: where to; the ending says which format.
    """
    made, (curves, bars) = figure(2)
    for colour, (name, level) in zip(np.resize(INK, len(report.levels)), report.levels.items(), strict=True):
        # Norms per unit of what the last step gets: levels and losses of any size fit one picture.
        top = level.curve[0] or 1.0
        before = np.arange(level.steps)
        label = f"{name.replace('/recurrent', '').removesuffix('/layer_0')} ({level.slope:+.2f})"
        curves.semilogy(before, np.array(level.curve) / top, color=colour, marker="o", markersize=3, label=label)
        if level.predicted_curve is not None:
            expected = np.array(level.predicted_curve)
            curves.semilogy(np.arange(len(expected)), expected, color=colour, linestyle="--", linewidth=1)
    curves.set_xlabel("steps before the last")
    curves.set_ylabel("norm of dL/dh, that of the last step = 1")
    curves.set_title("back through time (nat a step; dashed: theory)", fontsize=10)
    curves.legend(fontsize=8)
    names = [name.replace("_", " ").replace(" -> ", " →\n") for name in report.crossings]
    bars.barh(names, list(report.crossings.values()), color=INK[0])
    bars.invert_yaxis()
    bars.set_xscale("log")
    bars.axvline(1, color="black", linewidth=0.8)
    bars.set_xlabel("factor of the gradient's norm")
    bars.set_title("through the hierarchy", fontsize=10)
    made.suptitle(title)
    made.savefig(path, dpi=150)


def draw_map(
    values: np.ndarray,
    rows: Sequence[object],
    columns: Sequence[object],
    labels: tuple[str, str, str],
    path: Path,
    bound: float | None = None,
) -> None:
    """Draws a table of numbers around zero as a heat map: blue where gradients vanish, red where they explode.

    Args:
        values: a number for each row and column; nan is left white.
        rows: their names.
        columns: their names.
        labels: what rows, columns and numbers are.
        path: where to.
        bound: number that is as blue or red as can be; the largest one by default.
    """
    made, (axes,) = figure(1, 1.2 + 0.75 * len(columns), 1.6 + 0.42 * len(rows))
    limit = bound or float(np.nanmax(np.abs(values)))
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(columns)), [str(c) for c in columns])
    axes.set_yticks(range(len(rows)), [str(r) for r in rows])
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_ylabel(labels[0])
    axes.set_xlabel(labels[1])
    made.colorbar(picture, ax=axes, label=labels[2])
    made.savefig(path, dpi=150)
