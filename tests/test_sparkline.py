"""The doctor's figures draw the loss on labelled axes, and nothing without training."""

import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from hae_jax.doctor.report import Repair, Report
from hae_jax.doctor.sparkline import BLOCKS, COLUMNS, Axis, blocks, sparklines, svg, svg_figure
from hae_jax.doctor.web_page import html_page

NAN = float("nan")
NAME = "{http://www.w3.org/2000/svg}"
SICK, REPAIRED = [4.0, 4.5, NAN, 4.25], [2.0, 1.5, 1.0, 0.5]


def report(curve=None, losses=None):
    """A report without findings, with what was trained."""
    repair = None if losses is None else Repair("clip-too-tight", "a change", True, {}, losses, 4)
    return Report([], [], {}, {} if curve is None else {"curve": curve}, [], 1.0, len(curve or []), repair=repair)


def figure(text):
    """The only figure of a page."""
    (found,) = re.findall("<svg.*?</svg>", text, re.DOTALL)
    return ElementTree.fromstring(found)


def scale(root, letter, logarithmic=False):
    """Returns the function from pixels to numbers, fitted to the labels of an axis, which must agree."""
    labels = [each for each in root.iter(f"{NAME}text") if each.get("class") == letter]
    # Labels are centred a little below the position of their numbers.
    positions = np.array([float(each.get(letter)) - 4 * (letter == "y") for each in labels])
    numbers = np.array([float(each.text) for each in labels])
    numbers = np.log10(numbers) if logarithmic else numbers
    slope, start = np.polyfit(positions, numbers, 1)
    np.testing.assert_allclose(start + slope * positions, numbers, atol=1e-2 * np.ptp(numbers))
    return lambda pixel: 10 ** (start + slope * pixel) if logarithmic else start + slope * pixel


def points(root, logarithmic=False):
    """The points of each line, read by means of the axes."""
    across, up = scale(root, "x"), scale(root, "y", logarithmic)
    lines = [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in root.iter(f"{NAME}polyline")]
    return [[(across(x), up(y)) for x, y in line] for line in lines]


def test_the_page_shows_the_curve_of_the_examination():
    curve = [3.0, 2.5, 2.25, 1.0, 0.875]
    (line,) = points(figure(html_page(report(curve))))
    np.testing.assert_allclose(line, list(enumerate(curve)), atol=0.02)


def test_losses_of_twins_are_relative_to_the_first_and_finite():
    root = figure(html_page(report([9.0], {"sick": SICK, "repaired": REPAIRED})))
    sick, repaired = points(root)
    np.testing.assert_allclose(sick, [(0, 1), (1, 1.125), (3, 1.0625)], atol=0.02)
    np.testing.assert_allclose(repaired, [(0, 1), (1, 0.75), (2, 0.5), (3, 0.25)], atol=0.02)
    assert {"sick", "repaired", "loss, as a share of the first"} <= {each.text for each in root.iter(f"{NAME}text")}
    colours = [each.get("stroke") for each in root.iter(f"{NAME}polyline")]
    assert len(set(colours)) == 2


def test_an_exploding_loss_is_drawn_on_a_logarithmic_axis():
    curve = [1.0, 10.0, 1e3, 1e6, float("inf")]
    (line,) = points(figure(svg_figure({"loss": curve})), logarithmic=True)
    np.testing.assert_allclose(line, list(enumerate(curve[:-1])), rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    "curve",
    [
        [0.0, 0.0],
        [NAN],
        [5.0],
        [-1.0, -3.0],
        [-3.0, -3.0],
        [5e-324],
        [0.3, 0.2],
        [1e30, 1.0],
        [1e-320, 1e300],
        [1e308] * 80,
    ],
)
def test_any_curve_has_a_figure(curve):
    root = figure(svg_figure({"loss": curve}))
    (line,) = root.iter(f"{NAME}polyline")
    positions = np.array([list(map(float, each.split(","))) for each in line.get("points").split()]).reshape(-1, 2)
    assert len({*map(tuple, positions)}) == np.isfinite(curve).sum()
    assert (positions >= 0).all()
    assert (positions <= [float(root.get("width")), float(root.get("height"))]).all()
    assert len([each for each in root.iter(f"{NAME}text") if each.get("class") == "y"]) >= 2
    assert len(sparklines({"loss": curve})) == 1


def test_a_report_without_training_has_no_figure():
    assert "<svg" not in html_page(report())
    assert not set(BLOCKS) & set(str(report()))


def test_the_terminal_shows_the_losses_of_twins_with_their_ends():
    shown = [line.split("  ") for line in sparklines({"sick": SICK[:2], "repaired": REPAIRED})]
    # Both on the same axis, from 0 to the largest relative loss, 1.125.
    assert [line[-1] for line in shown] == ["4 → 4.25", "2 → 1.25"]
    assert [" ".join(line[1:-1]).strip() for line in shown] == ["▇█", "▇▆▄▃"]
    text = str(report([9.0], {"sick": SICK[:2], "repaired": REPAIRED}))
    assert all(line in text for line in sparklines({"sick": SICK[:2], "repaired": REPAIRED}))


def test_blocks_are_means_of_intervals():
    numbers = [float(x) for x in np.repeat(np.arange(8), 50)]
    assert blocks(numbers, Axis(0, 7), 400) == "".join(block * (COLUMNS // 8) for block in BLOCKS)


def test_an_ascii_terminal_gets_no_sparkline():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=file).print(report([3.0, 2.0]))
    file.flush()
    assert file.buffer.getvalue().startswith(b"no cause found")


def test_names_are_escaped_in_figures():
    root = figure(svg({"<a&b>": ([0, 1], [1.0, 2.0])}, ("<", "&"), '"<title>'))
    assert root.get("aria-label") == '"<title>'
    assert {"<a&b>", "<", "&"} <= {each.text for each in root.iter(f"{NAME}text")}


def test_ticks_are_round_and_inside():
    for axis in (Axis(0, 14.9), Axis(0, 0.3), Axis(-0.7, 1), Axis(0, 7), Axis(0.01, 0.5, True), Axis(1e-9, 1e9, True)):
        ticks = axis.ticks()
        assert 2 <= len(ticks) <= 8
        assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 for tick in ticks)
        assert all(math.isclose(float(f"{tick:.2g}"), tick, abs_tol=1e-12) for tick in ticks)
