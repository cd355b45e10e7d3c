"""Text to sentences and back."""

from hypothesis import given
from hypothesis import strategies as st

from hae_jax.data.text import clean, split_sentences


def test_sentences_end_at_blank_lines_but_not_at_line_breaks():
    assert split_sentences("A title\n \nDr. Li saw\r\nthe U.S. army. He\nleft!") == [
        "A title",
        "Dr. Li saw the U.S. army.",
        "He left!",
    ]


@given(st.text(st.characters(), max_size=97))
def test_splitting_keeps_every_sign_but_space(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(clean(text).split())
