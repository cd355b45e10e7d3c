"""Pictures; the only place that knows matplotlib, which it imports when a picture is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hae_jax.gradients.report import GradientReport

INK = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""Colours that the colour-blind tell apart (Okabe & Ito, 2008)."""


def figure(columns: int = 1, width: float = 6.0, height: float = 4.2, rows: int = 1) -> tuple["Figure", Sequence]:
    """Returns an empty figure and its axes, for files only: no window is ever opened."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(made)
    axes = [made.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
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


def draw_theory(
    curves: Mapping[str, Sequence[float]], points: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path
) -> None:
    """Draws gradient curves of fresh layers, and slopes as expected against slopes as measured.

    Args:
        curves: natural logarithms of norms by steps before the last, by the name of the scheme.
        points: expected and measured slopes, nat a step, by the name of the theory.
        path: where to.
    """
    made, (lines, dots) = figure(2)
    for colour, (style, (name, logs)) in zip(
        np.resize(INK, len(curves)), zip(np.repeat(["-", "--"], len(INK)), curves.items(), strict=False), strict=True
    ):
        decades = np.array(logs) / np.log(10)
        lines.plot(decades - decades[0], color=colour, linestyle=style, label=name)
    lines.set_xlabel("steps before the last")
    lines.set_ylabel("log10 of |dL/dh|, that of the last step = 0")
    lines.legend(fontsize=7, ncols=2)
    for colour, (name, (expected, measured)) in zip(INK, points.items(), strict=False):
        dots.scatter(expected, measured, s=18, color=colour, alpha=0.7, label=name)
    ends = [min(measured), max(measured)]
    dots.plot(ends, ends, color="black", linewidth=0.8)
    dots.set_xlabel("slope that theory expects, nat a step")
    dots.set_ylabel("slope measured")
    dots.legend(fontsize=8)
    made.savefig(path, dpi=130)


def draw_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], labels: tuple[str, str], path: Path
) -> None:
    """Draws lines through points, in panels side by side.

    Args:
        panels: by title, the lines' names with their abscissas and ordinates; equal names have equal colours.
        labels: what the axes are.
        path: where to.
    """
    made, axes = figure(len(panels), 5.0)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colours = dict(zip(names, np.resize(INK, len(names)), strict=True))
    for each, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in lines.items():
            each.plot(x, y, color=colours[name], marker="o", markersize=3, label=name)
        each.set_title(title, fontsize=10)
        each.set_xlabel(labels[0])
        each.set_ylabel(labels[1])
    # Above the panels, where it hides no line; one entry a name, whichever panels it is in.
    handles = {line.get_label(): line for each in axes for line in each.get_lines()}
    made.legend(handles=list(handles.values()), loc="outside upper center", fontsize=8, ncols=3)
    made.savefig(path, dpi=130)


def draw_map(
    values: np.ndarray,
    rows: Sequence[object],
    columns: Sequence[object],
    labels: tuple[str, str, str],
    path: Path,
    bound: float,
    borders: Sequence[tuple[np.ndarray, float, str]] = (),
    trainable: np.ndarray | None = None,
) -> None:
    """Draws a table of slopes as a heat map: blue where gradients vanish, red where they explode.

    Args:
        values: a number for each row and column; nan is left white.
        rows: their names.
        columns: their names.
        labels: what rows, columns and numbers are.
        path: where to.
        bound: number that is as blue or red as can be.
        borders: lines through the map: numbers of the same shape, the level along which the line goes, and its name.
        trainable: True where training is expected to succeed; other places are hatched.
    """
    from matplotlib.patches import Rectangle

    made, (axes,) = figure(1, 1.6 + 0.75 * len(columns), 1.6 + 0.42 * len(rows))
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    axes.set_xticks(range(len(columns)), [str(c) for c in columns])
    axes.set_yticks(range(len(rows)), [str(r) for r in rows])
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 * bound else "black"
            axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=7, color=ink)
    if trainable is not None:
        hatched: dict[str, Any] = {"fill": False, "hatch": "///", "linewidth": 0, "edgecolor": "gray"}
        for row, column in np.argwhere(~trainable):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
        axes.add_patch(Rectangle((0, 0), 0, 0, **hatched, label="hardly trainable"))
    for style, (numbers, level, name) in zip(("solid", "dashed", "dotted"), borders, strict=False):
        if np.nanmin(numbers) < level < np.nanmax(numbers):
            axes.contour(numbers, [level], colors="black", linewidths=1.2, linestyles=style)
            axes.plot([], [], color="black", linestyle=style, linewidth=1.2, label=name)
    if axes.get_legend_handles_labels()[0]:
        made.legend(loc="outside upper center", fontsize=8, ncols=3)
    axes.set_ylabel(labels[0])
    axes.set_xlabel(labels[1])
    made.colorbar(picture, ax=axes, label=labels[2])
    made.savefig(path, dpi=130)


def draw_scores(series: np.ndarray, back: np.ndarray, scores: np.ndarray, path: Path) -> None:
    """Draws a series, what came back of it, and the score of every step.

    Args:
        series: [time, channel]; of many channels the first four are drawn.
        back: likewise.
        scores: of every step.
        path: where to; the ending says which format.
    """
    channels = min(series.shape[1], 4)
    made, axes = figure(rows=channels + 1, width=9.0, height=1.4 * channels + 1.6)
    for channel, each in enumerate(axes[:-1]):
        each.plot(series[:, channel], color="#9aa0a6", linewidth=1.8, label="given")
        each.plot(back[:, channel], color=INK[0], linewidth=0.9, label="came back")
        each.set_ylabel(f"channel {channel}")
        each.tick_params(labelbottom=False)
    axes[0].legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes[-1].plot(scores, color=INK[1], linewidth=0.9)
    axes[-1].axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes[-1].set_yscale("log")
    axes[-1].yaxis.set_major_formatter("{x:g}")
    axes[-1].yaxis.set_minor_formatter("")
    axes[-1].set(xlabel="step", ylabel="score")
    for each in axes:
        each.set_xlim(0, max(len(series) - 1, 1))
    made.savefig(path, dpi=110)


def draw_shares(bars: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """Draws wholes as bars, each cut into its parts.

    Args:
        bars: by name, the shares of the parts; a share below 0, which a noisy difference may be, is drawn as none.
        label: what the shares are of.
        path: where to.
    """
    made, (axes,) = figure(1, 8.0, 1.6 + 0.5 * len(bars))
    parts = list(dict.fromkeys(part for shares in bars.values() for part in shares))
    left = np.zeros(len(bars))
    for colour, part in zip(np.resize(INK, len(parts)), parts, strict=True):
        width = np.array([max(shares.get(part, 0.0), 0.0) for shares in bars.values()])
        axes.barh(list(bars), width, left=left, color=colour, label=part)
        left = left + width
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(label)
    made.legend(loc="outside upper center", fontsize=8, ncols=3)
    made.savefig(path, dpi=130)


def draw_success(
    shapes: Mapping[str, Sequence[tuple[str, float, float, float]]], labels: tuple[str, str, str], path: Path
) -> None:
    """Draws points whose colour tells how often something succeeds.

    Args:
        shapes: by the name of a shape, its points: name, abscissa, ordinate, and a share.
        labels: what abscissas, ordinates and shares are.
        path: where to.
    """
    made, (axes,) = figure(1, 10.5, 5.4)
    drawn = None
    reach = [x for points in shapes.values() for _, x, *_ in points]
    border = 0.6 * min(reach) + 0.4 * max(reach)
    for marker, (shape, points) in zip("osD^v", shapes.items(), strict=False):
        names, x, y, shares = zip(*points, strict=True)
        drawn = axes.scatter(
            x, y, c=shares, marker=marker, s=60, cmap="viridis", vmin=0, vmax=1, edgecolors="black", linewidths=0.6,
            label=shape,
        )  # fmt: skip
        for name, *place in zip(names, x, y, strict=True):
            # Names reach for the empty part; from the left aslant, as points there may be level with each other.
            shift, side, turn = ((6, 4), "left", 30) if place[0] < border else ((-7, -2), "right", 0)
            axes.annotate(name, place, xytext=shift, textcoords="offset points", fontsize=7, rotation=turn, ha=side)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(fontsize=8, loc="upper left")
    if drawn is not None:
        made.colorbar(drawn, ax=axes, label=labels[2], format="{x:.0%}")
    made.savefig(path, dpi=130)
