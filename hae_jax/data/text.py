"""Text to sentences and back."""

import re
from collections.abc import Iterable

from nupunkt import sent_tokenize

_BLANK_LINES = re.compile(r"\n\s*\n")
_INVALID = re.compile(r"[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    r"""Normalizes line ends to \n, strips a byte order mark, and replaces NUL and lone surrogates by U+FFFD.

    Example:
        >>> clean("\ufeffone\r\ntwo\x00")
        'one\ntwo\ufffd'
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _INVALID.sub("\ufffd", text)


def split_sentences(text: str) -> list[str]:
    r"""Splits text into sentences; a blank line always ends one, a single line break never does.

    Example:
        >>> split_sentences("Dr. Li came. He saw\nus.\n\nThe end")
        ['Dr. Li came.', 'He saw us.', 'The end']

    Reference:
        Kiss & Strunk, 2006 (Punkt); the implementation is nupunkt's.
    """
    paragraphs = (" ".join(paragraph.split()) for paragraph in _BLANK_LINES.split(clean(text)))
    return [str(sentence) for paragraph in paragraphs for sentence in sent_tokenize(paragraph)]


def join_sentences(sentences: Iterable[str]) -> str:
    """Joins the sentences of a document by spaces; empty ones leave no gap.

    Example:
        >>> join_sentences(["One .", "", "Two ."])
        'One . Two .'
    """
    return " ".join(sentence for sentence in sentences if sentence)
