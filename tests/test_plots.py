"""Pictures are drawn without a window, with all that they were given."""

import numpy as np
import pytest

from hae_jax.plots import draw_map, draw_success, draw_theory


def words(path):
    """What stands in an SVG; text is drawn as paths, whose names are comments."""
    return path.read_text()


def test_a_map_bears_its_numbers_and_leaves_gaps_white(tmp_path):
    values = np.array([[0.25, -0.5, np.nan], [0.75, 0.0, 0.125]])
    draw_map(values, "ab", "xyz", ("rows", "columns", "slope"), tmp_path / "map.svg", 0.5, [(values, 0.1, "border")],
             values > 0)  # fmt: skip
    text = words(tmp_path / "map.svg")
    for number in ("+0.25", "-0.50", "+0.75", "+0.00", "+0.12", "border", "hardly trainable"):
        assert f"<!-- {number} -->" in text
    assert "nan" not in text


@pytest.mark.parametrize("number", [1, 11])
def test_any_number_of_curves_fits(tmp_path, number):
    curves = {f"scheme {k}": [0.0, -1.0 - k] for k in range(number)}
    draw_theory(curves, {"tied": ([0.0, 1.0], [0.1, 0.9])}, tmp_path / "theory.svg")
    text = words(tmp_path / "theory.svg")
    assert all(f"<!-- {name} -->" in text for name in (*curves, "tied"))


def test_points_of_success_bear_their_names_and_shapes(tmp_path):
    shapes = {"bare": [("left one", -0.5, 0.5, 0.0), ("right one", 0.1, 0.9, 1.0)], "normed": [("", 0.0, 0.6, 0.5)]}
    draw_success(shapes, ("slope", "gate", "seeds"), tmp_path / "success.svg")
    text = words(tmp_path / "success.svg")
    assert all(f"<!-- {name} -->" in text for name in ("left one", "right one", "bare", "normed", "slope", "gate"))
