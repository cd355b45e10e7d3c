import math
from collections import Counter

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from hae_jax.inference.metrics import ROUGE, align, bleu, coherence, exact_match, overlap, rouge

SOURCES = ["the cat sat on the mat .", "it rained all day , so we stayed .", "no"]
OUTPUTS = ["the cat sat on a mat .", "it rained all night , so we left .", "yes no"]
words = st.lists(st.sampled_from(["ant", "bee", "cat", "dog", "eel"]), min_size=1, max_size=9).map(" ".join)
texts = st.lists(words, min_size=1, max_size=7)


def grams(text, n):
    tokens = text.split()
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def f1(a, b):
    return 2 * (a & b).total() / (a.total() + b.total()) if a.total() + b.total() else 0.0


def common(a, b):
    """Length of the longest common subsequence, by its definition."""
    if not a or not b:
        return 0
    return common(a[1:], b[1:]) + 1 if a[0] == b[0] else max(common(a[1:], b), common(a, b[1:]))


def test_bleu_equals_its_formula():
    pairs = list(zip(SOURCES, OUTPUTS, strict=True))
    precision = [
        sum((grams(a, n) & grams(b, n)).total() for a, b in pairs) / sum(grams(b, n).total() for _, b in pairs)
        for n in (1, 2, 3, 4)
    ]
    source, output = (sum(len(text.split()) for text in side) for side in (SOURCES, OUTPUTS))
    brevity = min(1.0, math.exp(1 - source / output))
    assert bleu(SOURCES, OUTPUTS) == pytest.approx(100 * brevity * math.prod(precision) ** 0.25)


def test_short_output_pays_for_brevity():
    assert bleu(["a b c d e f"], ["a b c d"]) == pytest.approx(100 * math.exp(1 - 6 / 4))


@given(texts, st.randoms(use_true_random=False))
def test_bleu_is_that_of_sacrebleu(sources, random):
    outputs = random.sample(sources, len(sources))
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    assert bleu(sources, outputs) == pytest.approx(metric.corpus_score(outputs, [sources]).score)


def test_bleu_takes_tokens_as_they_are():
    assert bleu(["do n't stop now"], ["do n't stop now"]) == 100.0
    assert bleu(["a b c d."], ["a b c d ."]) < 100.0


@given(words, words)
def test_rouge_equals_its_definition(source, output):
    result = rouge([source], [output])
    a, b = source.split(), output.split()
    assert result["rouge1"] == pytest.approx(f1(grams(source, 1), grams(output, 1)))
    assert result["rouge2"] == pytest.approx(f1(grams(source, 2), grams(output, 2)))
    assert result["rougeL"] == pytest.approx(2 * common(a, b) / (len(a) + len(b)))


def test_rouge_is_the_mean_over_texts():
    single = [rouge([a], [b]) for a, b in zip(SOURCES, OUTPUTS, strict=True)]
    together = rouge(SOURCES, OUTPUTS)
    assert together == pytest.approx({name: sum(one[name] for one in single) / 3 for name in ROUGE})


def test_rouge_drops_case_and_punctuation():
    assert rouge(["The cat, sat."], ["the cat sat"]) == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}


def test_exact_match_is_exact():
    assert exact_match(SOURCES, SOURCES) == 1.0
    assert exact_match(SOURCES, [*SOURCES[:2], "no ."]) == pytest.approx(2 / 3)
    assert exact_match(["a b"], ["A b"]) == 0.0


def test_overlap_counts_each_word_as_often_as_both_have_it():
    assert overlap("a a b", "a c c") == pytest.approx(2 / 6)
    assert overlap("", "") == 0.0


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([0, 1, 2, 3], 0.0),
        ([0, 1], 0.0),
        ([2, 3], 0.0),
        ([1, 0, 2, 3], (2 + 1 + 1 + 1 + 1 + 0) / 6),
        ([3, 2, 1, 0], (2 + 4 + 6 + 2 + 4 + 2) / 6),
        ([0, 0, 0, 0], (1 + 2 + 3 + 1 + 2 + 1) / 6),
        ([0, 2], 1.0),
        ([0, 3, 1], (2 + 1 + 3) / 3),
    ],
)
def test_coherence_equals_hand_computed_values(output, expected):
    source = ["ant bee", "cat dog", "eel fox", "gnu hen"]
    assert coherence([source], [[source[i] for i in output]]) == pytest.approx(expected)


@given(texts.filter(lambda text: len(text) > 1))
def test_a_perfect_reconstruction_is_coherent_even_if_it_repeats_itself(text):
    assert coherence([text], [text]) == 0.0


def test_sentences_are_aligned_to_the_likeliest_source():
    source = ["the cat sat on the mat", "a dog barked at the cat", "it rained"]
    assert align(source, ["a dog sat", "the cat sat on a mat", "zebras", "it rained ."]) == [(0, 1), (1, 0), (3, 2)]
    assert align(source, []) == align([], source) == []


def test_a_text_without_an_order_is_left_out():
    source = ["ant bee", "cat dog", "eel fox"]
    swapped = coherence([source], [source[::-1]])
    assert coherence([source] * 3, [source[::-1], source[:1], ["zebra", "eel fox"]]) == swapped
    assert math.isnan(coherence([source], [["zebra"]]))


@pytest.mark.parametrize("metric", [bleu, rouge, exact_match, coherence])
def test_each_source_needs_its_output(metric):
    with pytest.raises(ValueError, match="outputs must be as many as sources, and at least one, got 1 for 2"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="got 0 for 0"):
        metric([], [])
