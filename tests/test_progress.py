"""What a person sees."""

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
    loss=3.2711, perplexity=26.3, token_accuracy=0.41, code_gap=3.7161, bleu=5.23, bleu_limit=90.0, rouge1=None,
    rouge2=None, rougeL=None, exact_match=0.0, exact_limit=0.5, coherence=None, by_length={}, by_position={},
    documents=61, tokens=997, examples=(("the [red] cat .", "the cat [/red]"), ("a", "")),
)  # fmt: skip


def shown(terminal, act):
    file = io.StringIO()
    with ProgressDisplay(40, Console(file=file, force_terminal=terminal, width=100, legacy_windows=False)) as screen:
        act(screen)
    return file.getvalue()


def test_without_a_terminal_there_are_plain_lines():
    def act(screen):
        screen.preparing("tokens", 10, 20)
        screen.training(0)
        screen.train(20, VALUES)

    assert shown(False, act) == "step 20/40  loss 3.200  |g| 0.310  clipped 25%  2,200 words/s  skipped 2\n"


def test_a_line_says_what_was_compiled_since_the_one_before():
    values = VALUES | {"compile_seconds": 4.26, "memory": 6_581_551}
    text = shown(False, lambda screen: screen.train(20, values))
    assert text.endswith("words/s  skipped 2  compiled in 4.3 s\n")


def test_on_a_terminal_there_is_a_bar():
    def act(screen):
        screen.training(10)
        screen.train(20, VALUES)

    text = shown(True, act)
    assert "20/40" in text
    assert "2,200 words/s" in text
    assert "\x1b[" in text


def test_an_evaluation_shows_reconstructions_beside_their_sources_as_they_are():
    text = shown(False, lambda screen: screen.evaluation(20, SCORES))
    assert "step 20: held-out loss 3.271, code gap 3.716, BLEU 5.2, 41.0% of tokens, on 61 documents" in text
    row = next(line for line in text.splitlines() if "the [red] cat ." in line)
    assert "the cat [/red]" in row


@pytest.mark.parametrize("printed", [False, True])
def test_a_terminal_that_shows_results_shows_no_bar_beside_them(printed):
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
