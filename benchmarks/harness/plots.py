"""Figures of the benchmarks' pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hae_jax.plots import COLORS, figure


def draw_theory(
    curves: Mapping[str, Sequence[float]], points: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path
) -> None:
    """Draws gradient curves of layers at initialization, and predicted against measured slopes.

    Args:
        curves: natural logarithms of gradient norms by steps before the last, by the name of the scheme.
        points: predicted and measured slopes, nats per step, by the name of the theory.
        path: file to write.
    """
    fig, (lines, scatter) = figure(2)
    for color, (style, (name, logs)) in zip(
        np.resize(COLORS, len(curves)),
        zip(np.repeat(["-", "--"], len(COLORS)), curves.items(), strict=False),
        strict=True,
    ):
        decades = np.array(logs) / np.log(10)
        lines.plot(decades - decades[0], color=color, linestyle=style, label=name)
    lines.set_xlabel("steps before the last")
    lines.set_ylabel("log10 of |dL/dh|, relative to the last step")
    lines.legend(fontsize=7, ncols=2)
    for color, (name, (predicted, measured)) in zip(COLORS, points.items(), strict=False):
        scatter.scatter(predicted, measured, s=18, color=color, alpha=0.7, label=name)
    ends = [min(measured), max(measured)]
    scatter.plot(ends, ends, color="black", linewidth=0.8)
    scatter.set_xlabel("predicted slope, nats per step")
    scatter.set_ylabel("measured slope, nats per step")
    scatter.legend(fontsize=8)
    fig.savefig(path, dpi=130)


def draw_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], labels: tuple[str, str], path: Path
) -> None:
    """Draws line plots in a row of panels.

    Args:
        panels: by title, the x and y values of each line by its name; equal names have equal colors.
        labels: of the axes.
        path: file to write.
    """
    fig, axes = figure(len(panels), 5.0)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colors = dict(zip(names, np.resize(COLORS, len(names)), strict=True))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in lines.items():
            ax.plot(x, y, color=colors[name], marker="o", markersize=3, label=name)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
    # Above the panels, where it covers no line; one entry per name, whichever panels contain it.
    handles = {line.get_label(): line for ax in axes for line in ax.get_lines()}
    fig.legend(handles=list(handles.values()), loc="outside upper center", fontsize=8, ncols=3)
    fig.savefig(path, dpi=130)


def draw_map(
    values: np.ndarray,
    rows: Sequence[object],
    columns: Sequence[object],
    labels: tuple[str, str, str],
    path: Path,
    bound: float,
    contours: Sequence[tuple[np.ndarray, float, str]] = (),
    trainable: np.ndarray | None = None,
) -> None:
    """Draws a heat map of slopes: blue where gradients vanish, red where they explode.

    Args:
        values: one number per row and column; nan is left white.
        rows: their names.
        columns: their names.
        labels: of the rows, the columns and the values.
        path: file to write.
        bound: value at which the color scale saturates.
        contours: contour lines: values of the same shape, the level of the line, and its name.
        trainable: True where training is expected to succeed; other cells are hatched.
    """
    from matplotlib.patches import Rectangle

    fig, (ax,) = figure(1, 1.6 + 0.75 * len(columns), 1.6 + 0.42 * len(rows))
    image = ax.imshow(values, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    ax.set_xticks(range(len(columns)), [str(c) for c in columns])
    ax.set_yticks(range(len(rows)), [str(r) for r in rows])
    ax.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if abs(value) > 0.6 * bound else "black"
            ax.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=7, color=color)
    if trainable is not None:
        hatched: dict[str, Any] = {"fill": False, "hatch": "///", "linewidth": 0, "edgecolor": "gray"}
        for row, column in np.argwhere(~trainable):
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
        ax.add_patch(Rectangle((0, 0), 0, 0, **hatched, label="hardly trainable"))
    for style, (numbers, level, name) in zip(("solid", "dashed", "dotted"), contours, strict=False):
        if np.nanmin(numbers) < level < np.nanmax(numbers):
            ax.contour(numbers, [level], colors="black", linewidths=1.2, linestyles=style)
            ax.plot([], [], color="black", linestyle=style, linewidth=1.2, label=name)
    if ax.get_legend_handles_labels()[0]:
        fig.legend(loc="outside upper center", fontsize=8, ncols=3)
    ax.set_ylabel(labels[0])
    ax.set_xlabel(labels[1])
    fig.colorbar(image, ax=ax, label=labels[2])
    fig.savefig(path, dpi=130)


def draw_shares(bars: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """Draws stacked horizontal bars.

    Args:
        bars: the share of each part, by the name of the bar; a share below 0, which a noisy difference may be, is drawn
            as 0.
        label: of the shares.
        path: file to write.
    """
    fig, (ax,) = figure(1, 8.0, 1.6 + 0.5 * len(bars))
    parts = list(dict.fromkeys(part for shares in bars.values() for part in shares))
    left = np.zeros(len(bars))
    for color, part in zip(np.resize(COLORS, len(parts)), parts, strict=True):
        width = np.array([max(shares.get(part, 0.0), 0.0) for shares in bars.values()])
        ax.barh(list(bars), width, left=left, color=color, label=part)
        left = left + width
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel(label)
    fig.legend(loc="outside upper center", fontsize=8, ncols=3)
    fig.savefig(path, dpi=130)


def draw_success(
    groups: Mapping[str, Sequence[tuple[str, float, float, float]]], labels: tuple[str, str, str], path: Path
) -> None:
    """Draws a scatter plot whose colors are success rates.

    Args:
        groups: the points of each marker shape, by the name of the group: name, x, y, and a rate.
        labels: of the x axis, the y axis and the rates.
        path: file to write.
    """
    fig, (ax,) = figure(1, 10.5, 5.4)
    scatter = None
    xs = [x for points in groups.values() for _, x, *_ in points]
    center = 0.6 * min(xs) + 0.4 * max(xs)
    for marker, (group, points) in zip("osD^v", groups.items(), strict=False):
        names, x, y, rates = zip(*points, strict=True)
        scatter = ax.scatter(
            x, y, c=rates, marker=marker, s=60, cmap="viridis", vmin=0, vmax=1, edgecolors="black", linewidths=0.6,
            label=group,
        )  # fmt: skip
        for name, *position in zip(names, x, y, strict=True):
            # Names extend towards the empty part; on the left aslant, as points there may have equal heights.
            shift, side, turn = ((6, 4), "left", 30) if position[0] < center else ((-7, -2), "right", 0)
            ax.annotate(name, position, xytext=shift, textcoords="offset points", fontsize=7, rotation=turn, ha=side)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.legend(fontsize=8, loc="upper left")
    if scatter is not None:
        fig.colorbar(scatter, ax=ax, label=labels[2], format="{x:.0%}")
    fig.savefig(path, dpi=130)
