"""Prose uses the terms of the field: machines encode, decode and return; they do not say, tell or hear."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRIVATE = re.compile(
    r"""\b(?:
      say|says|said|saying | tell|tells|told|telling | hear|hears|heard | speak|speaks|spoke|spoken
    | look|looks|looked|looking(?!\ glass) | ask|asks|asked|asking | stand|stands|stood|standing
    | know|knows|knew | listen|listens | whisper\w*
    | nobody|everybody|whoever | teller\w* | belts? | piles?|piled | organs? | abreast | foretold | unfolds?|unfolded
    | ears
    | gives?\ away | given\ away | gave\ away | comes?\ back | came\ back | hands?\ over | handed\ over | handover
    | side\ by\ side | beside\ the\ point | takes?\ off
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of a language that this project spoke before 0.4; a reader of papers has to decode each of them."""
MOST = 0.5
"""Occurrences in 100 lines."""
AREAS = {
    "README.md": ["README.md"],
    "docs": ["docs/*.md"],
    "notebooks": ["notebooks/*.py"],
    **{
        f"hae_jax/{path.name}": [f"hae_jax/{path.name}/**/*.py", f"hae_jax/{path.name}/**/*.md"]
        for path in sorted((ROOT / "hae_jax").iterdir())
        if path.is_dir() and path.name != "__pycache__"
    },
    "hae_jax": ["hae_jax/*.py"],
    **{
        f"benchmarks/{path.name}": [f"benchmarks/{path.name}/**/*.py"]
        for path in sorted((ROOT / "benchmarks").iterdir())
        if path.is_dir() and path.name not in ("__pycache__", "results")
    },
    "benchmarks": ["benchmarks/*.py"],
    "tests": ["tests/**/*.py"],
}


def occurrences(text: str) -> list[tuple[int, str]]:
    """Lines and words of the private vocabulary, identifiers included; rows of tables keep the names of records."""
    return [
        (number, found[0])
        for number, line in enumerate(text.splitlines(), 1)
        if not line.startswith("|")
        for found in PRIVATE.finditer(line.replace("_", " "))
    ]


def test_private_words_are_found_in_prose_and_in_identifiers():
    assert [word for _, word in occurrences("def tell_side_by_side(): ...\n# what the decoder says\nstandard")] == [
        "tell",
        "side by side",
        "says",
    ]


@pytest.mark.parametrize("area", AREAS)
def test_the_private_vocabulary_is_gone(area):
    paths = [path for pattern in AREAS[area] for path in sorted(ROOT.glob(pattern)) if path != Path(__file__)]
    lines, found = 0, []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        found += [f"{path.relative_to(ROOT)}:{number}: {word}" for number, word in occurrences(text)]
    assert 100 * len(found) < MOST * lines, "\n".join(found)
