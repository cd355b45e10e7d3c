"""Texts longer than one code: their windows, encoded, decoded and joined; and parts of codes."""

from dataclasses import dataclass

import numpy as np
import pytest
from support.random_model import SHORT, TEXTS, trained

from hae_jax.config import ModelConfig
from hae_jax.data.text import split_sentences
from hae_jax.inference import text_batches
from hae_jax.inference import texts as streams
from hae_jax.inference.texts import Windows, code_part, iter_encode, iter_reconstruct


@pytest.fixture(scope="module")
def model():
    return trained()


def test_a_text_longer_than_a_code_has_its_first_window_by_default_and_a_warning(model):
    windows = model.encode(TEXTS, windows=True)
    assert windows.text.tolist() == [0, 1, 2, 3, 4, 4]
    with pytest.warns(UserWarning, match="exceed one code") as caught:
        codes = model.encode(TEXTS)
    assert [str(warning.message) for warning in caught] == [
        "1 of 5 texts exceed one code (3 rows of 7 tokens): the codes hold their beginnings. See encode(windows=True)."
    ]
    np.testing.assert_allclose(codes, windows.codes[:5], atol=1e-5)
    # The halves of the last text, 3 and 2 sentences, have the same codes by themselves.
    np.testing.assert_allclose(model.encode(["A fox. A dog. A cat.", "A gnu. A hen."]), windows.codes[4:], atol=1e-5)


def test_windows_are_joined_to_texts(model):
    windows = model.encode(TEXTS, windows=True)
    apart = model.decode(windows.codes)
    assert model.decode(windows) == [*apart[:4], " ".join(filter(None, apart[4:]))]
    # Some of the texts, with the numbers that they had.
    chosen = np.isin(windows.text, [1, 4])
    assert model.decode(Windows(windows.codes[chosen], windows.text[chosen])) == [
        model.decode(windows)[number] for number in (1, 4)
    ]
    for text in (np.zeros(5, int), np.zeros(6), np.zeros((6, 1), int)):
        with pytest.raises(ValueError, match="text must hold a whole number for each of 6 codes, got"):
            model.decode(tuple.__new__(Windows, (windows.codes, text)))


class Echo:
    """A decoding method that decodes every code perfectly: to the documents that were encoded last."""

    def __init__(self):
        self.documents = []

    def record(self, batch):
        rows = [row for bucket in batch.buckets for row in np.asarray(bucket).tolist()]
        self.documents = [[token for row in doc if row >= 0 for token in rows[row]] for doc in batch.row_index.tolist()]

    def __call__(self, model, params, code, max_tokens, part=0):
        assert len(code.document) == len(self.documents)
        return np.array(
            [ids + [0] * (max_tokens - len(ids)) for ids in [[*filter(None, ids)] for ids in self.documents]]
        )


LONG = " ".join(f"word{i % 37}" for i in range(500)) + "."
MANY = " ".join(f"Fox {i} ran, and the dog slept." for i in range(400))


@pytest.mark.parametrize("text", [LONG, MANY, "我来了。他看见了。" * 199, MANY + "\n\n" + LONG])
def test_a_text_of_any_length_is_reconstructed_whole(text, monkeypatch):
    model, echo = trained("bpe"), Echo()
    encode = streams.encode
    monkeypatch.setattr(
        streams, "encode", lambda module, params, batch: echo.record(batch) or encode(module, params, batch)
    )
    found = list(iter_reconstruct(model, ["Before.", text, "After."], echo))
    assert [each.reconstruction for each in found] == ["Before.", text.replace("\n\n", " "), "After."]
    rows = sum(-(-len(ids) // 7) for ids in model.tokenizer.encode_all(split_sentences(text)))
    assert [each.windows for each in found] == [1, -(-rows // 3), 1]
    assert found[1].windows > 2 * text_batches.DOCS, "it is more than two batches"


@dataclass(frozen=True)
class Topical(ModelConfig):
    """A config whose codes have a topic part."""

    topic_dim: int = 2


def test_parts_of_codes_are_slices(model):
    assert_close = np.testing.assert_array_equal
    assert_close(model.encode(SHORT, "order"), model.encode(SHORT))
    with pytest.raises(ValueError, match="part must be all or order for a model without a topic part, got topic"):
        model.encode(SHORT, "topic")
    with pytest.raises(ValueError, match="part must be one of all, order, topic, got 'tpoic'"):
        list(getattr(iter_encode, "__wrapped__", iter_encode)(model, SHORT, "tpoic"))
    codes, config = np.arange(10.0).reshape(2, 5), Topical()
    assert_close(code_part(config, codes, "all"), codes)
    assert_close(code_part(config, codes, "order"), codes[:, :3])
    assert_close(code_part(config, codes, "topic"), codes[:, 3:])
