"""The progress display."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from hae_jax.inference.evaluate import Evaluation
from hae_jax.training.progress import ProgressDisplay

VALUES = {"loss": 3.2, "norm": 0.31, "binding": 0.25, "words_per_second": 2200.4, "skipped": 2}
SCORES = Evaluation(
    loss=3.2711, perplexity=26.3, token_accuracy=0.41, code_gap=3.7161, bleu=5.23, bleu_limit=90.0, rouge1=0.2,
    rouge2=0.1, rougeL=0.2, exact_match=0.0, exact_limit=0.5, coherence=0.0, by_length={}, by_position={},
    documents=61, tokens=997, examples=(("the [red] cat .", "the cat [/red]"), ("a", "")),
)  # fmt: skip


def shown(terminal, act):
    file = io.StringIO()
    with ProgressDisplay(40, Console(file=file, force_terminal=terminal, width=100, legacy_windows=False)) as progress:
        act(progress)
    return file.getvalue()


def test_without_a_terminal_there_are_plain_lines():
    def act(progress):
        progress.preparing("tokens", 10, 20)
        progress.training(0)
        progress.train(20, VALUES)

    assert shown(False, act) == "step 20/40  loss 3.200  |g| 0.310  clipped 25%  2,200 tokens/s  skipped 2\n"


def test_a_line_reports_what_was_compiled_since_the_one_before():
    values = VALUES | {"compile_seconds": 4.26, "memory": 6_581_551}
    text = shown(False, lambda progress: progress.train(20, values))
    assert text.endswith("tokens/s  skipped 2  compiled in 4.3 s\n")


def test_on_a_terminal_there_is_a_bar():
    def act(progress):
        progress.training(10)
        progress.train(20, VALUES)

    text = shown(True, act)
    assert "20/40" in text
    assert "2,200 tokens/s" in text
    assert "\x1b[" in text


def test_an_evaluation_shows_reconstructions_next_to_their_sources_verbatim():
    text = shown(False, lambda progress: progress.evaluation(20, SCORES))
    assert "step 20: held-out loss 3.271, code gap 3.716, BLEU 5.2, token accuracy 41.0%, 61 documents" in text
    row = next(line for line in text.splitlines() if "the [red] cat ." in line)
    assert "the cat [/red]" in row


@pytest.mark.parametrize("printed", [False, True])
def test_a_terminal_that_shows_results_shows_no_bar(printed):
    program = (
        f"from hae_jax.cli.io import progress_over\nwith progress_over('encoding', 2, {printed}) as count: count('')"
    )
    master, terminal = os.openpty()
    subprocess.run([sys.executable, "-c", program], stdout=terminal, stderr=terminal, check=True)
    os.write(terminal, b"over")
    seen = b""
    while not seen.endswith(b"over"):
        seen += os.read(master, 1024)
    os.close(master)
    os.close(terminal)
    assert (b"encoding" in seen) == (not printed)
