"""Tokenizers: ids, vocabulary, special ids, and what is reported."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hae_jax.batch import EOD, EOS, PAD, SPECIALS, UNK
from hae_jax.data.text import clean, split_sentences
from hae_jax.data.tokenizer import BYTES, Tokenizer, TokenizerError

TEXTS = [
    "The nation's farms, 12,000.5 of them, prosper.",
    "Don't the farms of the self-governing nation prosper?",
    "Über alles: the farms!",
]
BOTH = pytest.mark.parametrize("kind", ["word", "bpe"])
HOSTILE = {
    "emoji": "👩‍👩‍👧 ran. 😀😀! 🏳️‍🌈.",
    "right to left": "שלום עולם. مرحبا بالعالم؟ \u202eevil\u202c.",
    "zero width": "a\u200bb\u200c\u200d\ufeff. \u2060.",
    "combining": "Z\u0351\u036b\u0343\u0343\u0324\u0308" * 99,
    "one line of a megabyte": "word " * 200_000,
    "one word of a megabyte": "x" * 1_000_000,
    "points": "." * 100_000,
    "surrogate": "a \ud83d b. \udc00",
    "controls": "a\x00b\x07\x1b[31m.\x85\u2028Next.",
    "blank": " \n\t\r\n \u3000",
    "empty": "",
}


@BOTH
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_split_and_encoded(kind, text):
    tokenizer = Tokenizer.train([*TEXTS, text], kind, 307)
    sentences = tokenizer.encode_all(split_sentences(text))
    for ids in sentences:
        assert all(i == UNK or EOD < i < tokenizer.vocab_size for i in ids)
        tokenizer.decode(ids).encode()
    joined = tokenizer.decode(i for ids in sentences for i in ids)
    assert kind == "word" or joined == " ".join(clean(text).split())


def test_words_are_lower_case_numbers_clitics_letters_and_single_signs():
    tokenizer = Tokenizer.train(TEXTS, "word", 101)
    words = "the nation 's farms , 12,000.5 of them , don 't prosper ?"
    assert tokenizer.decode(tokenizer.encode("The NATION's farms, 12,000.5 of them, don't prosper?")) == words


def test_the_vocabulary_is_the_most_frequent_words():
    texts = [" ".join(["one"] * 7 + ["three"] * 5 + ["two"] * 5 + ["rare"])]
    tokenizer = Tokenizer.train(texts, "word", len(SPECIALS) + 3)
    assert tokenizer.vocab_size == 7
    assert tokenizer.encode("One three two rare") == [4, 5, 6, UNK]
    assert tokenizer.decode([4, UNK, 6]) == "one <unk> two"
    assert [word for word, _ in Counter(texts[0].split()).most_common(3)] == ["one", "three", "two"]


def test_a_small_text_fills_fewer_ids():
    assert Tokenizer.train(["a b c"], "word", 4000).vocab_size == len(SPECIALS) + 3


@given(st.text(max_size=89))
def test_bytes_lose_nothing(text):
    tokenizer = Tokenizer.train(TEXTS, "bpe", 307)
    assert tokenizer.decode(tokenizer.encode(text)) == clean(text).strip()


@BOTH
def test_decoding_leaves_out_padding_and_marks(kind):
    tokenizer = Tokenizer.train(TEXTS, kind, 307)
    ids = tokenizer.encode("the farms")
    assert tokenizer.decode([PAD, *ids, EOS, EOD, PAD]) == "the farms"
    assert tokenizer.decode([]) == ""


@BOTH
def test_no_text_can_spell_a_special_id(kind):
    text = " ".join(SPECIALS)
    tokenizer = Tokenizer.train([text] * 50, kind, 331)
    assert min(tokenizer.encode(text)) > EOD
    assert tokenizer.decode(tokenizer.encode(text)).replace(" ", "") == text.replace(" ", "")


@BOTH
def test_many_sentences_are_encoded_as_one_by_one(kind):
    tokenizer = Tokenizer.train(TEXTS, kind, 307)
    assert tokenizer.encode_all(TEXTS) == [tokenizer.encode(text) for text in TEXTS]


@BOTH
def test_a_saved_tokenizer_is_the_same(kind, tmp_path):
    tokenizer = Tokenizer.train(TEXTS, kind, 307)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.encode_all(TEXTS) == tokenizer.encode_all(TEXTS)
    assert loaded.decode(loaded.encode(TEXTS[0])) == tokenizer.decode(tokenizer.encode(TEXTS[0]))


@BOTH
def test_training_is_the_same_in_every_process(kind, tmp_path):
    program = (
        "import sys; from pathlib import Path; from hae_jax.data.tokenizer import Tokenizer\n"
        "texts = [f'word{i * i % 211} w{i % 13}' for i in range(997)]\n"
        "Tokenizer.train(texts, sys.argv[1], 311).save(Path(sys.argv[2]))"
    )
    for seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed}
        path = str(tmp_path / seed)
        subprocess.run([sys.executable, "-c", program, kind, path], check=True, env=environment)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_vocabulary_too_small_for_bytes_is_reported():
    least = len(SPECIALS) + BYTES
    message = f"data.vocab_size must be at least {least} with data.tokenizer 'bpe', got {least - 1}"
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.train(TEXTS, "bpe", least - 1)
    assert Tokenizer.train(TEXTS, "bpe", least).vocab_size == least


def test_texts_without_a_word_are_reported():
    with pytest.raises(TokenizerError, match="at least one word, got none"):
        Tokenizer.train([" ", ""], "word", 11)


@pytest.mark.parametrize("content", ["", "{}", "[", '{"version": "1.0"}', "\x00"])
def test_a_damaged_tokenizer_is_reported(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=re.escape(f"must be a tokenizer.json, got {tmp_path}")):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_a_missing_or_foreign_tokenizer_is_reported(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(TokenizerError, match="must be a tokenizer"):
        Tokenizer.load(path)
    Tokenizer.train(TEXTS, "word", 11).save(path)
    description = json.loads(path.read_text(encoding="utf-8"))
    del description["model"]["vocab"]["<eod>"]
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(TokenizerError, match="must start with the ids"):
        Tokenizer.load(path)
