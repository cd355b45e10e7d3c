"""Text to sentences."""

import re

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

    Sentences joined by spaces are the text with each run of white space, blank lines included, as one space. So a
    sentence never ends where the text has no space, as in languages written without any.

    Example:
        >>> split_sentences("Dr. Li came. He saw\nus.\n\nThe end")
        ['Dr. Li came.', 'He saw us.', 'The end']

    Reference:
        Kiss & Strunk, 2006 (Punkt); the implementation is nupunkt's.
    """
    sentences = []
    for paragraph in (" ".join(paragraph.split()) for paragraph in _BLANK_LINES.split(clean(text))):
        start = end = 0
        for sentence in map(str, sent_tokenize(paragraph)):
            end = paragraph.index(sentence, end) + len(sentence)
            if paragraph[end : end + 1] in ("", " "):
                sentences.append(paragraph[start:end].strip())
                start = end
    return sentences
