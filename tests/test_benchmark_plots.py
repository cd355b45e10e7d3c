"""Figures of the benchmarks contain all that they are given."""

import numpy as np
import pytest

from benchmarks.harness.plots import draw_lines, draw_map, draw_shares, draw_success, draw_theory


def has_text(path, *texts):
    """Whether an SVG contains all texts; matplotlib draws text as paths and adds it as a comment."""
    svg = path.read_text()
    return all(f"<!-- {text} -->" in svg for text in texts)


def test_a_map_contains_its_numbers_and_leaves_missing_ones_white(tmp_path):
    values = np.array([[0.25, -0.5, np.nan], [0.75, 0.0, 0.125]])
    path = tmp_path / "map.svg"
    draw_map(values, "ab", "xyz", ("rows", "columns", "slope"), path, 0.5, [(values, 0.1, "contour")], values > 0)
    assert has_text(path, "+0.25", "-0.50", "+0.75", "+0.00", "+0.12", "contour", "hardly trainable")
    assert "nan" not in path.read_text()


@pytest.mark.parametrize("number", [1, 11])
def test_any_number_of_curves_fits(tmp_path, number):
    curves = {f"scheme {k}": [0.0, -1.0 - k] for k in range(number)}
    draw_theory(curves, {"tied": ([0.0, 1.0], [0.1, 0.9])}, tmp_path / "theory.svg")
    assert has_text(tmp_path / "theory.svg", *curves, "tied")


def test_points_have_names_and_a_marker_for_each_group(tmp_path):
    groups = {"bare": [("left one", -0.5, 0.5, 0.0), ("right one", 0.1, 0.9, 1.0)], "normed": [("", 0.0, 0.6, 0.5)]}
    draw_success(groups, ("slope", "gate", "seeds"), tmp_path / "success.svg")
    assert has_text(tmp_path / "success.svg", "left one", "right one", "bare", "normed", "slope", "gate")


def test_a_line_in_two_panels_has_one_legend_entry(tmp_path):
    panels = {"first": {"ours": ([0, 1], [1, 2])}, "second": {"ours": ([0, 1], [2, 3]), "theirs": ([0, 1], [4, 5])}}
    draw_lines(panels, ("step", "loss"), tmp_path / "lines.svg")
    assert has_text(tmp_path / "lines.svg", "first", "second", "step", "loss", "theirs")
    assert (tmp_path / "lines.svg").read_text().count("<!-- ours -->") == 1


def test_negative_shares_are_drawn_as_zero(tmp_path):
    draw_shares({"step": {"forward": 1.02, "rest": -0.02}}, "share", tmp_path / "shares.svg")
    assert has_text(tmp_path / "shares.svg", "step", "forward", "rest", "share")
