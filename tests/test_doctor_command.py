"""`hae doctor` on the models of this package and on those of scripts: output and exit code.

Verdicts do not depend on the speed of the machine: examinations take a fixed number of steps.
"""

import hashlib
import json
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from support.browser import text_in_browser
from support.trained_run import OPTIONS, corpus, trained

from hae_jax.cli import main
from hae_jax.config import Config
from hae_jax.doctor.report import EXIT_CODES

__all__ = ["corpus", "trained"]
SIZES = [
    *("--model.embed_dim", "24", "--model.hidden_dim", "24", "--model.sentence_dim", "72", "--model.topic_dim", "0"),
    *("--data.vocab_size", "300", "--batches", "2"),
]
"""Options of a small model."""
HEALTHY, FAULTY = 0.1, 40.0
"""Learning rates of gradient descent on a parabola."""
SCRIPT = """
    import numpy as np
    import optax


    def loss(params, batch):
        return ((batch - params) ** 2).mean()


    def setup(rate={rate}):
        batches = np.random.default_rng(0).normal(3, 1, (8, 16, 4)).astype(np.float32)
        return dict(loss=loss, params=np.ones(4, np.float32), batches=list(batches), optimizer=optax.sgd(rate))


    def fails():
        return dict(setup(), loss=lambda params, batch: 1 / 0)
"""


@pytest.fixture
def script(tmp_path):
    """Writes a script of a learning rate, and returns its path."""

    def write(rate):
        path = tmp_path / f"rate_{rate}.py".replace(".", "_", 1)
        path.write_text(textwrap.dedent(SCRIPT).replace("{rate}", str(rate)), encoding="utf-8")
        return path

    return write


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_an_untrained_model_is_examined_and_the_report_is_json(corpus, tmp_path, capsys):
    html = tmp_path / "report.html"
    options = ["--data.corpus", str(corpus), *OPTIONS, *SIZES, "--json", "--html", str(html)]
    code = main(["doctor", *options])
    report = json.loads(capsys.readouterr().out)
    assert {"kind", "verdict", "findings", "evidence", "steps", "seconds"} <= set(report)
    assert code == EXIT_CODES[report["verdict"]]
    assert report["steps"] == 200, "the number of steps does not depend on the machine"
    assert ("<polyline" in html.read_text(encoding="utf-8")) == (report["steps"] > 0)


@pytest.mark.slow
def test_a_faulty_run_is_not_changed_and_a_config_that_helps_is_written_beside_it(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained, tmp_path / "faulty")
    config = Config.load(workdir / "config.json")
    replace(config, optim=replace(config.optim, clip_norm=1e-7)).save(workdir / "config.json")
    before = digests(workdir)
    assert main(["doctor", "--workdir", str(workdir), "--json", "--repair", "--batches", "4"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [each["cause"] for each in report["findings"]][:1] == ["clip-too-tight"]
    found = report["repair"]
    assert found["healed"]
    assert len(found["losses"]["sick"]) == len(found["losses"]["repaired"]) == found["steps"]
    assert digests(workdir) == before
    assert Path(found["config"]) == tmp_path / "faulty-repaired" / "config.json"
    assert Config.load(Path(found["config"])).optim.clip_norm > 1e-3


def examined(path, capsys, *options, function="setup"):
    """Returns exit code and JSON report of a script."""
    capsys.readouterr()
    code = main(["doctor", "--script", f"{path}:{function}", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_the_exit_code_is_the_verdict_on_a_script(script, capsys):
    code, report = examined(script(FAULTY), capsys)
    assert (code, report["verdict"]) == (1, "findings")
    assert report["findings"][0]["cause"] == "learning-rate-too-high"
    code, report = examined(script(HEALTHY), capsys)
    assert (code, report["verdict"], report["findings"]) == (0, "healthy", [])


def test_an_examination_that_is_cut_short_has_no_verdict(script, capsys):
    code, report = examined(script(HEALTHY), capsys, "--seconds", "1e-9")
    assert (code, report["verdict"]) == (3, "unknown")
    assert report["unsettled"]


def test_a_loss_that_fails_is_a_finding(script, capsys):
    code, report = examined(script(HEALTHY), capsys, function="fails")
    assert (code, report["findings"][0]["cause"]) == (1, "loss-fails")


def test_the_repair_of_a_script_is_tested(script, capsys):
    code, report = examined(script(FAULTY), capsys, "--repair")
    assert code == 1
    assert report["repair"]["healed"]


def test_the_web_page_of_a_report_is_shown_by_a_browser(script, tmp_path, capsys):
    page = tmp_path / "report.html"
    code, report = examined(script(FAULTY), capsys, "--html", str(page))
    shown = text_in_browser(page)
    assert code == 1
    assert "learning-rate-too-high" in shown["text"]
    assert report["findings"][0]["repair"]["change"] in shown["text"]
    assert shown["title"].startswith("hae doctor")
    assert shown["polylines"] == 1
    assert shown["overflow"] <= 0, "nothing is wider than the page"


def test_options_that_the_run_does_not_have_are_refused(trained, capsys):
    assert main(["doctor", "--workdir", str(trained), "--model.hidden_dim", "7", "--optim.eps", "1e-3"]) == 2
    assert "got another model.hidden_dim, optim.eps. Remove them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "0"], "batches must be at least 1, got 0."),
        (["--seconds", "0"], "seconds must be positive, got 0"),
        (["--workdir", "runs/never"], "workdir must hold a run"),
        (["--html", "runs/never/report.html"], "html must be a file in a folder that exists"),
        (["--html", "."], "html must be a file in a folder that exists"),
    ],
)
def test_invalid_options_are_reported_on_one_line(options, message, capsys):
    assert main(["doctor", *options]) == 2
    assert message in capsys.readouterr().err
