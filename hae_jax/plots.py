"""Figures; the only module that uses matplotlib, which it imports when a figure is drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hae_jax.gradients.report import GradientReport

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""A palette for color-blind readers (Okabe & Ito, 2008)."""


def figure(columns: int = 1, width: float = 6.0, height: float = 4.2, rows: int = 1) -> tuple["Figure", Sequence]:
    """Returns an empty figure and its axes, for files only: it never opens a window.

    Args:
        columns: panels side by side.
        width: of a panel, inches.
        height: of the figure, inches.
        rows: panels one above the other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(fig)
    axes = [fig.add_subplot(rows, columns, index + 1) for index in range(rows * columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
    return fig, axes


def draw_gradients(report: "GradientReport", title: str, path: Path) -> None:
    """Draws measured and predicted gradient curves of all levels, and the level transitions.

    Args:
        report: the measurements.
        title: of the figure.
        path: file to write; its suffix determines the format.
    """
    fig, (curves, bars) = figure(2)
    for color, (name, level) in zip(np.resize(COLORS, len(report.levels)), report.levels.items(), strict=True):
        # Relative to the last step's gradient, so that levels and losses of any scale fit into one panel.
        last = level.curve[0] or 1.0
        steps = np.arange(level.steps)
        label = f"{name.replace('/recurrent', '').removesuffix('/layer_0')} ({level.slope:+.2f})"
        curves.semilogy(steps, np.array(level.curve) / last, color=color, marker="o", markersize=3, label=label)
        if level.predicted_curve is not None:
            predicted = np.array(level.predicted_curve)
            curves.semilogy(np.arange(len(predicted)), predicted, color=color, linestyle="--", linewidth=1)
    curves.set_xlabel("steps before the last")
    curves.set_ylabel("norm of dL/dh, relative to the last step")
    curves.set_title("through time (nats per step; dashed: theory)", fontsize=10)
    curves.legend(fontsize=8)
    names = [name.replace("_", " ").replace(" -> ", " →\n") for name in report.crossings]
    bars.barh(names, list(report.crossings.values()), color=COLORS[0])
    bars.invert_yaxis()
    bars.set_xscale("log")
    bars.axvline(1, color="black", linewidth=0.8)
    bars.set_xlabel("factor of the gradient's norm")
    bars.set_title("through the hierarchy", fontsize=10)
    fig.suptitle(title)
    fig.savefig(path, dpi=150)


def draw_scores(series: np.ndarray, reconstruction: np.ndarray, scores: np.ndarray, path: Path) -> None:
    """Draws a series, its reconstruction, and the anomaly score of every step.

    Args:
        series: [time, channel]; at most the first four channels are drawn.
        reconstruction: [time, channel].
        scores: [time].
        path: file to write; its suffix determines the format.
    """
    channels = min(series.shape[1], 4)
    fig, axes = figure(rows=channels + 1, width=9.0, height=1.4 * channels + 1.6)
    for channel, ax in enumerate(axes[:-1]):
        ax.plot(series[:, channel], color="#9aa0a6", linewidth=1.8, label="input")
        ax.plot(reconstruction[:, channel], color=COLORS[0], linewidth=0.9, label="reconstruction")
        ax.set_ylabel(f"channel {channel}")
        ax.tick_params(labelbottom=False)
    axes[0].legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes[-1].plot(scores, color=COLORS[1], linewidth=0.9)
    axes[-1].axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes[-1].set_yscale("log")
    axes[-1].yaxis.set_major_formatter("{x:g}")
    axes[-1].yaxis.set_minor_formatter("")
    axes[-1].set(xlabel="step", ylabel="score")
    for ax in axes:
        ax.set_xlim(0, max(len(series) - 1, 1))
    fig.savefig(path, dpi=110)
