"""Figures of the command line contain all that they are given."""

import numpy as np
import pytest

from hae_jax.gradients.report import GradientReport, LevelReport
from hae_jax.plots import draw_gradients, draw_scores


def has_text(path, *texts):
    """Whether an SVG contains all texts; matplotlib draws text as paths and adds it as a comment."""
    svg = path.read_text()
    return all(f"<!-- {text} -->" in svg for text in texts)


def test_gradient_curves_and_level_transitions_are_labelled(tmp_path):
    level = LevelReport(3, [1.0, 0.5, 0.25], [2, 2, 2], -0.69, -0.6, 0.5, 1.4, 0.0, predicted_curve=[1.0, 0.5])
    report = GradientReport(1.0, 0.5, {"encoder/word/layer_0": level}, {"encoder/sentence -> encoder/word": 0.2})
    draw_gradients(report, "a title", tmp_path / "gradients.svg")
    assert has_text(tmp_path / "gradients.svg", "a title", "encoder/word (-0.69)", "steps before the last")


@pytest.mark.parametrize(("channels", "panels"), [(1, 1), (5, 4)])
def test_at_most_four_channels_are_drawn_above_the_scores(tmp_path, channels, panels):
    series = np.arange(12.0).reshape(12, 1) * np.ones(channels)
    draw_scores(series, series + 0.1, np.linspace(0.5, 2.0, 12), tmp_path / "scores.svg")
    assert has_text(tmp_path / "scores.svg", *(f"channel {k}" for k in range(panels)), "reconstruction", "score")
    assert not has_text(tmp_path / "scores.svg", f"channel {panels}")
