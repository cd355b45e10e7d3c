"""`hae doctor` on the models of this package."""

import json

import pytest
from trained import OPTIONS, corpus, trained

from hae_jax.cli import main
from hae_jax.config import Config

__all__ = ["corpus", "trained"]


@pytest.mark.slow
def test_a_run_is_examined_and_the_report_is_json(trained, tmp_path, capsys):
    html = tmp_path / "report.html"
    assert main(["doctor", "--workdir", str(trained), "--json", "--html", str(html), "--batches", "2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"healthy", "findings", "seconds", "steps"} <= set(report)
    written = html.read_text(encoding="utf-8")
    assert "<html>" in written
    assert ("<polyline" in written) == (report["steps"] > 0)


@pytest.mark.slow
def test_a_fresh_model_with_a_fault_is_called_sick_and_the_repair_is_proved(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["doctor", "--data.corpus", str(corpus), *OPTIONS, "--optim.clip_norm", "1e-7", "--json", "--repair"]
    assert main([*options, "--batches", "4", "--seconds", "10"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["cause"] for each in report["findings"]][:1] == ["clip-too-tight"]
    found = report["repair"]
    assert found["healed"]
    assert len(found["losses"]["sick"]) == len(found["losses"]["repaired"]) == found["steps"]
    assert Config.load(tmp_path / found["config"]).optim.clip_norm > 1e-3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--batches", "0"], "batches must be at least 1, got 0."),
        (["--seconds", "0"], "seconds must be positive, got 0"),
        (["--workdir", "runs/never"], "workdir must hold a run"),
        (["--html", "runs/never/report.html"], "html must be in a folder that exists"),
    ],
)
def test_what_cannot_be_is_said_on_one_line(words, complaint, capsys):
    assert main(["doctor", *words]) == 2
    assert complaint in capsys.readouterr().err
