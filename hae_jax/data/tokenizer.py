"""Sentences to token ids and back: word-level and byte-level BPE tokenizers."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import SupportsIndex

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from hae_jax.batch import EOD, PAD, SPECIALS, UNK
from hae_jax.data.text import clean

WORDS = r"\d+(?:[.,]\d+)*|(?<=\w)['" "\u2019" r"]\w+|\w+|[^\w\s]"
"""Pattern of a word-level token: a number with its points and commas, a clitic ('s, 't), a run of letters, any other
character."""

BYTES = 256
"""Tokens in the initial alphabet of byte-level BPE, one for each byte."""

# The time to learn byte pairs grows with the square of a word's length, so very long words are cut for training.
_PIECE = re.compile(r"\S{1,256}")


class TokenizerError(ValueError):
    """A tokenizer cannot be trained or loaded."""


class Tokenizer:
    """Maps sentences to token ids and back; the first four ids are `hae_jax.batch.SPECIALS`.

    `word` tokens are lower-case words and punctuation characters (see `WORDS`); those outside the vocabulary become
    UNK, and `decode` joins tokens by spaces. `bpe` tokens are byte-level pairs: case is kept, nothing is unknown, and
    `decode(encode(sentence))` is the sentence with surrounding spaces stripped. A sentence begins with the token of a
    space, so the ids of several sentences, concatenated, are decoded to the sentences joined by spaces, wherever rows
    end. No text is encoded as a special id: an "<eos>" in the text is three words, or five bytes, like any other.

    Training is deterministic, also across processes: words of equal frequency are ordered alphabetically.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.vocab_size: int = max(engine.get_vocab().values()) + 1

    @classmethod
    def train(cls, texts: Iterable[str], kind: str, vocab_size: int) -> "Tokenizer":
        """Builds the vocabulary of some texts.

        Args:
            texts: sentences or longer texts, iterated over once.
            kind: `word` or `bpe`.
            vocab_size: maximum number of ids, special ones included; a small text yields fewer.

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
        """Returns the token ids of one sentence, without an end mark."""
        return self._engine.encode(clean(sentence)).ids

    def encode_all(self, sentences: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of many sentences, using all cores."""
        return [encoding.ids for encoding in self._engine.encode_batch_fast([clean(text) for text in sentences])]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of token ids, of one row or of all rows of a text; padding and end marks are omitted."""
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
            # Read as text, not by `from_file`, which raises a bare Exception for every fault.
            engine = Engine.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            raise TokenizerError(
                f"tokenizer must be a tokenizer.json, got {path}: {error}. Restore the file or train again."
            ) from None
        if [engine.id_to_token(i) for i in range(PAD, EOD + 1)] != list(SPECIALS):
            raise TokenizerError(
                f"tokenizer must start with the ids {SPECIALS}, got {path}. Use one trained by hae_jax."
            )
        return cls(engine)


def _with_specials(engine: Engine) -> Engine:
    # Trained without special tokens and renumbered, because the library would find "<eos>" inside ordinary text.
    description = json.loads(engine.to_str())
    vocab = description["model"]["vocab"]
    shifted = {token: i + len(SPECIALS) for token, i in vocab.items()}
    description["model"]["vocab"] = {token: i for i, token in enumerate(SPECIALS)} | shifted
    return Engine.from_str(json.dumps(description))
