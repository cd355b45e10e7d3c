"""A run of a few steps on a small text, for all tests of the command line."""

import pytest

from hae_jax.cli import main
from hae_jax.config.presets import preset

PEOPLE = ("the ferryman", "a clockmaker", "our neighbour", "the young botanist", "a retired pilot")
DEEDS = ("mended the old bridge", "counted the swallows", "drew a map of the valley", "waited for the morning train")
PLACES = ("by the river", "behind the mill", "on the northern hill", "in the empty market")
ENDS = ("Nobody had asked for it.", "It took the whole afternoon.", "The rain began soon after.")
PARAGRAPHS = [
    f"{PEOPLE[i % 5].capitalize()} {DEEDS[i % 4]} {PLACES[i // 4 % 4]}. {ENDS[i % 3]}"
    + (f" Then {PEOPLE[i // 5 % 5]} came home." if i % 2 else "")
    for i in range(41)
]
STEPS = 4
OPTIONS = [
    *("--preset", "tiny", "--train.steps", str(STEPS), "--train.eval_every", "2", "--train.save_every", "2"),
    *("--data.holdout", "0.2"),
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A .txt of short paragraphs."""
    path = tmp_path_factory.getbasetemp() / "paragraphs.txt"
    path.write_text("\n\n".join(PARAGRAPHS), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, corpus):
    """A workdir that tests must not change; each test module that imports this fixture gets the same one."""
    workdir = tmp_path_factory.getbasetemp() / "trained"
    if not workdir.exists():
        # Named when it is complete: a run that failed must not pass for one.
        part = workdir.with_name("training")
        assert main(["train", "--workdir", str(part), "--data.corpus", str(corpus), *OPTIONS]) == 0
        part.rename(workdir)
    return workdir


def windows(text):
    """Number of codes of a text of words and full stops, which are tokens."""
    data = preset("tiny").data
    sentences = [sentence.rstrip(".") for sentence in text.split(". ")]
    return -(-sum(-(-(len(sentence.split()) + 1) // data.max_tokens) for sentence in sentences) // data.max_sentences)
