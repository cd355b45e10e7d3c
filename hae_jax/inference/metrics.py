"""Metrics of reconstructed texts: words, phrases, exact matches, and the order of sentences.

A text is a string whose tokens are separated by spaces. Only ROUGE tokenizes further: it removes case and punctuation.
"""

import math
from collections import Counter
from collections.abc import Sequence

import sacrebleu

ROUGE = ("rouge1", "rouge2", "rougeL")


def check(sources: Sequence[object], outputs: Sequence[object]) -> None:
    """Raises a ValueError unless there is one output for each of at least one source."""
    if not sources or len(sources) != len(outputs):
        raise ValueError(
            f"outputs must be as many as sources, and at least one, got {len(outputs)} for {len(sources)}. "
            "Give one output for each source."
        )


def bleu(sources: Sequence[str], outputs: Sequence[str]) -> float:
    """Returns corpus BLEU-4 in [0, 100] on tokens separated by spaces.

    Example:
        >>> bleu(["the cat sat down ."], ["the cat sat down ."]), bleu(["a b c d"], ["e f g h"])
        (100.0, 0.0)

    Reference:
        Papineni et al., 2002; Post, 2018, https://arxiv.org/abs/1804.08771
    """
    check(sources, outputs)
    score = sacrebleu.corpus_bleu(outputs, [sources], tokenize="none", force=True).score
    return round(score, 10)  # four precisions of 1 have the geometric mean 100.00000000000004


def rouge(sources: Sequence[str], outputs: Sequence[str]) -> dict[str, float]:
    """Returns ROUGE-1, ROUGE-2 and ROUGE-L: mean F1, in [0, 1], of unigrams, bigrams, longest common subsequence.

    Example:
        >>> rouge(["a b c d"], ["a b d c"])
        {'rouge1': 1.0, 'rouge2': 0.333..., 'rougeL': 0.75}

    Reference:
        Lin, 2004, https://aclanthology.org/W04-1013
    """
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, which takes a second

    check(sources, outputs)
    scorer = RougeScorer(list(ROUGE), split_summaries=False)
    scores = [scorer.score(source, output) for source, output in zip(sources, outputs, strict=True)]
    return {name: math.fsum(score[name].fmeasure for score in scores) / len(scores) for name in ROUGE}


def exact_match(sources: Sequence[str], outputs: Sequence[str]) -> float:
    """Returns the share of texts that were reconstructed exactly.

    Example:
        >>> exact_match(["a b", "c d"], ["a b", "c e"])
        0.5
    """
    check(sources, outputs)
    return sum(source == output for source, output in zip(sources, outputs, strict=True)) / len(sources)


def overlap(source: str, output: str) -> float:
    """Returns the F1 of the words that two sentences share, counted with multiplicity."""
    a, b = Counter(source.split()), Counter(output.split())
    return 2 * (a & b).total() / max(1, a.total() + b.total())


def align(source: Sequence[str], output: Sequence[str]) -> list[tuple[int, int]]:
    """Aligns each output sentence to the source sentence with the highest overlap.

    Ties are broken by the distance in position; an output sentence that shares no word with the source is not aligned.

    Returns:
        Pairs of positions (in the output, in the source), in the order of the output.

    Example:
        >>> align(["the cat sat", "a dog ran"], ["one dog ran", "the cat ran", "nothing"])
        [(0, 1), (1, 0)]
    """
    pairs = []
    for i, sentence in enumerate(output):
        best = max(range(len(source)), key=lambda j: (overlap(source[j], sentence), -abs(i - j)), default=None)
        if best is not None and overlap(source[best], sentence) > 0:
            pairs.append((i, best))
    return pairs


def coherence(sources: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]) -> float:
    """Measures how far the sentences of reconstructions are out of order; 0 is the order of the source.

    Each output sentence i is aligned to the source sentence i' that shares most words with it. The distance of two
    output sentences should equal that of their counterparts:

        L = 2 / (N (N - 1))  sum over i < j of  |(j - i) - (j' - i')|

    and L is averaged over documents.

    Differs from the paper: ties are broken by the distance in position, so that a document that repeats a sentence may
    still score 0; sentences without a counterpart are excluded from the sum and from N, and documents with N < 2, which
    have no order, from the average.

    Args:
        sources: the sentences of each document.
        outputs: the sentences of each reconstruction.

    Returns:
        The mean of L; nan if no reconstruction has two sentences with a counterpart.

    Example:
        >>> source = ["the cat sat", "a dog ran", "it rained"]
        >>> coherence([source], [source]), coherence([source], [source[::-1]])
        (0.0, 2.666...)

    Reference:
        Li, Luong & Jurafsky, 2015, https://arxiv.org/abs/1506.01057, "Coherence Evaluation"
    """
    check(sources, outputs)
    scores = []
    for source, output in zip(sources, outputs, strict=True):
        pairs = align(source, output)
        costs = [abs((j - i) - (b - a)) for at, (i, a) in enumerate(pairs) for j, b in pairs[at + 1 :]]
        if costs:
            scores.append(math.fsum(costs) / len(costs))
    return math.fsum(scores) / len(scores) if scores else math.nan
