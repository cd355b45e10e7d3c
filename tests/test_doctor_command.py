"""`hae doctor` on the models of this package."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.trained_run import OPTIONS, corpus, trained

from hae_jax.cli import main
from hae_jax.config import Config

__all__ = ["corpus", "trained"]


@pytest.mark.slow
def test_an_untrained_model_is_examined_and_the_report_is_json(corpus, tmp_path, capsys):
    html = tmp_path / "report.html"
    options = ["--data.corpus", str(corpus), *OPTIONS, "--json", "--html", str(html), "--batches", "2"]
    assert main(["doctor", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"healthy", "findings", "seconds", "steps"} <= set(report)
    assert set(report["not_run"]) <= {"pairing", "scale", "inputs", "order", "blank"}
    written = html.read_text(encoding="utf-8")
    assert "<html>" in written
    assert ("<polyline" in written) == (report["steps"] > 0)


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_faulty_run_is_not_changed_and_a_config_that_helps_is_written_beside_it(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained, tmp_path / "faulty")
    config = Config.load(workdir / "config.json")
    replace(config, optim=replace(config.optim, clip_norm=1e-7)).save(workdir / "config.json")
    before = digests(workdir)
    assert main(["doctor", "--workdir", str(workdir), "--json", "--repair", "--batches", "4", "--seconds", "10"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["cause"] for each in report["findings"]][:1] == ["clip-too-tight"]
    found = report["repair"]
    assert found["healed"]
    assert len(found["losses"]["sick"]) == len(found["losses"]["repaired"]) == found["steps"]
    assert digests(workdir) == before
    assert Path(found["config"]) == tmp_path / "faulty-repaired" / "config.json"
    assert Config.load(Path(found["config"])).optim.clip_norm > 1e-3


def test_options_that_the_run_does_not_have_are_refused(trained, capsys):
    assert main(["doctor", "--workdir", str(trained), "--model.hidden_dim", "7", "--optim.eps", "1e-3"]) == 2
    assert "got another model.hidden_dim, optim.eps. Remove them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "0"], "batches must be at least 1, got 0."),
        (["--seconds", "0"], "seconds must be positive, got 0"),
        (["--workdir", "runs/never"], "workdir must hold a run"),
        (["--html", "runs/never/report.html"], "html must be in a folder that exists"),
    ],
)
def test_invalid_options_are_reported_on_one_line(options, message, capsys):
    assert main(["doctor", *options]) == 2
    assert message in capsys.readouterr().err
