"""Text to sentences, and sentences to ids and back."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import SupportsIndex

from nupunkt import sent_tokenize
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from hae_jax.batch import EOD, PAD, SPECIALS, UNK

WORDS = r"\d+(?:[.,]\d+)*|(?<=\w)['" "\u2019" r"]\w+|\w+|[^\w\s]"
"""What counts as a word: a number with its points and commas, a clitic ('s, 't), a run of letters, any other sign."""

BYTES = 256
"""Byte-level BPE starts from one id for each byte."""

_BLANK_LINES = re.compile(r"\n\s*\n")
# The time to learn byte pairs grows with the square of a word's length, so endless words are learned from in pieces.
_PIECE = re.compile(r"\S{1,256}")
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")


class TokenizerError(ValueError):
    """A tokenizer cannot be trained or loaded."""


def clean(text: str) -> str:
    r"""Makes text harmless: \n ends each line, and no byte order mark, NUL or lone surrogate is left.

    Example:
        >>> clean("\ufeffone\r\ntwo\x00")
        'one\ntwo\ufffd'
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _UNWRITABLE.sub("\ufffd", text)


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


class Tokenizer:
    """Maps sentences to ids and back; the first four ids are `hae_jax.batch.SPECIALS`.

    `word` takes whole words and signs (see `WORDS`) in lower case; what is not among the most frequent ones becomes
    UNK, and `decode` puts a space between any two. `bpe` takes byte-level pairs: case is kept, nothing is unknown, and
    `decode(encode(sentence))` is the sentence with the spaces around it stripped. No text can spell a special id: an
    "<eos>" in the text is three words, or five bytes, like any other.

    Training is deterministic, across processes too: words of equal frequency stand in alphabetical order.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.vocab_size: int = max(engine.get_vocab().values()) + 1

    @classmethod
    def train(cls, texts: Iterable[str], kind: str, vocab_size: int) -> "Tokenizer":
        """Builds the vocabulary of some texts.

        Args:
            texts: sentences or longer texts, read once.
            kind: `word` or `bpe`.
            vocab_size: number of ids, special ones included; a small text may fill fewer.

        Raises:
            TokenizerError: if `vocab_size` is too small for byte-level BPE, or the texts hold no word.
        """
        least = len(SPECIALS) + (BYTES if kind == "bpe" else 1)
        if vocab_size < least:
            raise TokenizerError(
                f"data.vocab_size must be at least {least} with data.tokenizer {kind!r}, got {vocab_size}. Raise it."
            )
        size = vocab_size - len(SPECIALS)
        trainer: trainers.Trainer
        if kind == "bpe":
            engine = Engine(models.BPE())
            engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
            engine.decoder = decoders.ByteLevel()
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        else:
            engine = Engine(models.WordLevel(unk_token=SPECIALS[UNK]))
            engine.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
            engine.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
            trainer = trainers.WordLevelTrainer(vocab_size=size, show_progress=False)
        engine.train_from_iterator((" ".join(_PIECE.findall(clean(text))) for text in texts), trainer)
        if not engine.get_vocab_size():
            raise TokenizerError("texts must hold at least one word, got none. Check the corpus.")
        return cls(_with_specials(engine))

    def encode(self, sentence: str) -> list[int]:
        """Returns the ids of one sentence, without an end mark."""
        return self._engine.encode(clean(sentence)).ids

    def encode_all(self, sentences: Sequence[str]) -> list[list[int]]:
        """Returns the ids of many sentences, using all cores."""
        return [encoding.ids for encoding in self._engine.encode_batch_fast([clean(text) for text in sentences])]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of some ids; padding and end marks are left out."""
        kept = [i for i in map(int, ids) if i == UNK or i > EOD]
        if self._engine.decoder is None:
            return " ".join(str(self._engine.id_to_token(i)) for i in kept)
        return self._engine.decode(kept).strip()

    def save(self, path: Path) -> None:
        """Writes the tokenizer as a `tokenizer.json` that the `tokenizers` library reads."""
        self._engine.save(str(path))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Reads what `save` wrote.

        Raises:
            TokenizerError: if the file is missing, damaged, or lacks the four special ids.
        """
        try:
            # Read as text, not by `from_file`: the library answers every fault with a bare Exception.
            engine = Engine.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise TokenizerError(
                f"tokenizer must be a tokenizer.json, got {path}: {error}. Restore the file or train anew."
            ) from None
        if [engine.id_to_token(i) for i in range(PAD, EOD + 1)] != list(SPECIALS):
            raise TokenizerError(f"tokenizer must start with the ids {SPECIALS}, got {path}. Use one that we trained.")
        return cls(engine)


def _with_specials(engine: Engine) -> Engine:
    # Trained without special tokens and renumbered, because the library would find "<eos>" inside ordinary text.
    description = json.loads(engine.to_str())
    vocab = description["model"]["vocab"]
    shifted = {token: i + len(SPECIALS) for token, i in vocab.items()}
    description["model"]["vocab"] = {token: i for i, token in enumerate(SPECIALS)} | shifted
    return Engine.from_str(json.dumps(description))
