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


@given(st.text(st.characters() | st.sampled_from(" .!?\n\"'()我é\u3000"), max_size=97))
def test_sentences_joined_by_spaces_are_the_text(text):
    sentences = split_sentences(text)
    assert " ".join(sentences) == " ".join(clean(text).split())
    assert all(sentences)


def test_a_sentence_ends_at_a_space():
    assert split_sentences('He said "Stop."Then he left. Yes!') == ['He said "Stop."Then he left.', "Yes!"]
