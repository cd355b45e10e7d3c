"""Texts longer than one code on the command line: all of their codes, and their text."""

import numpy as np
from support.command import error_of, hae, rows
from support.trained_run import PARAGRAPHS, corpus, trained, windows

from hae_jax.cli import main
from hae_jax.config.presets import preset

__all__ = ["corpus", "error_of", "hae", "trained"]


def test_reconstruct_keeps_the_order_and_returns_whole_texts(hae, trained, corpus):
    found = rows(hae("reconstruct", "--workdir", trained, "--input", corpus))
    assert [row["source"] for row in found] == PARAGRAPHS
    assert all(isinstance(row["reconstruction"], str) for row in found)
    assert [row["windows"] for row in found] == [windows(text) for text in PARAGRAPHS]
    assert {row["windows"] for row in found} == {1, 2}
    assert found[0].keys() == {"source", "reconstruction", "windows", "words"}


def test_decoding_the_codes_of_whole_texts_reconstructs_them(hae, trained, corpus, tmp_path):
    codes, numbers = tmp_path / "codes.npy", tmp_path / "codes.numbers.npy"
    hae("encode", "--workdir", trained, "--input", corpus, "--output", codes, "--windows")
    assert sorted(tmp_path.iterdir()) == [codes, numbers]
    array = np.load(codes)
    number = sum(map(windows, PARAGRAPHS))
    assert (array.shape, array.dtype) == (
        (number, preset("tiny").model.sentence_dim + preset("tiny").model.topic_dim),
        np.float32,
    )
    assert np.load(numbers).tolist() == [n for n, text in enumerate(PARAGRAPHS) for _ in range(windows(text))]
    decoded = rows(hae("decode", "--workdir", trained, "--input", codes, "--numbers", numbers))
    whole = rows(hae("reconstruct", "--workdir", trained, "--input", corpus))
    assert [row["reconstruction"] for row in decoded] == [row["reconstruction"] for row in whole]
    assert len(rows(hae("decode", "--workdir", trained, "--input", codes))) == number


def test_encode_writes_one_code_per_text_and_warns_of_longer_ones(trained, corpus, tmp_path, capsys):
    path = tmp_path / "codes.npy"
    words = ["encode", "--workdir", str(trained), "--input", str(corpus), "--output", str(path)]
    capsys.readouterr()
    assert main(words) == 0
    longer, data = sum(windows(text) > 1 for text in PARAGRAPHS), preset("tiny").data
    assert capsys.readouterr().err == (
        f"hae: {longer} of {len(PARAGRAPHS)} texts exceed one code ({data.max_sentences} rows of {data.max_tokens} "
        "tokens): the codes hold their beginnings. Use --windows.\n"
    )
    assert list(tmp_path.iterdir()) == [path]
    codes = np.load(path)
    assert main([*words, "--windows"]) == 0
    assert capsys.readouterr().err == ""
    first = np.unique(np.load(tmp_path / "codes.numbers.npy"), return_index=True)[1]
    np.testing.assert_allclose(np.load(path)[first], codes, atol=1e-5)
    assert main([*words, "--part", "order"]) == 0
    np.testing.assert_array_equal(np.load(path), codes[:, : preset("tiny").model.sentence_dim])
    assert main([*words, "--part", "topic"]) == 0
    np.testing.assert_array_equal(np.load(path), codes[:, preset("tiny").model.sentence_dim :])


def test_a_sentence_of_500_words_and_a_text_of_400_sentences_are_whole(hae, trained, tmp_path):
    sentence = " ".join(["the rain began soon after"] * 100) + "."
    many = " ".join(["Nobody had asked for it. It took the whole afternoon."] * 200)
    path = tmp_path / "long.txt"
    path.write_text(f"{sentence}\n\n{many}", encoding="utf-8")
    found = rows(hae("reconstruct", "--workdir", trained, "--input", path))
    assert [row["source"] for row in found] == [sentence, many]
    assert [row["windows"] for row in found] == [windows(sentence), windows(many)]
    assert min(row["windows"] for row in found) > 9
    assert [row["words"] for row in found] == [501, 200 * (6 + 6)]


def test_numbers_of_other_codes_are_refused(error_of, trained, tmp_path):
    codes, numbers = tmp_path / "codes.npy", tmp_path / "codes.numbers.npy"
    np.save(codes, np.zeros((3, 256), np.float32))
    words = ["decode", "--workdir", trained, "--input", codes, "--numbers", numbers]
    for wrong in (np.arange(4), np.zeros(3), np.zeros((3, 1), int)):
        np.save(numbers, wrong)
        assert "text must hold a whole number for each of 3 codes" in error_of(*words)
    numbers.write_bytes(b"\x93NUMPY\x01\x00")
    assert "numbers must be a whole .npy file" in error_of(*words)


def test_a_part_that_the_codes_lack_is_refused_and_nothing_is_written(error_of, trained, corpus, tmp_path):
    words = ["encode", "--workdir", trained, "--input", corpus, "--output", tmp_path / "codes.npy"]
    assert "--part must be one of all, order, topic, got 'tpoic'" in error_of(*words, "--part", "tpoic")
    assert not list(tmp_path.iterdir())
