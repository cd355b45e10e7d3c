"""The tables of usefulness: one per corpus, one row per representation."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.harness import statistics
from benchmarks.harness.record import Record
from benchmarks.learning.content.representations import CODE, DECODED, ORDER, TOPIC, UNFOLDED

TITLES = {
    "sotu": "State of the Union addresses",
    "reviews": "Film reviews",
    "sentences": "Film reviews of one sentence, encoded by the model of the film reviews",
    "bbc": "BBC news",
    "reuters": "Reuters R8",
}
"""Titles of the tables by corpus, in their order."""
FIRST = (CODE, ORDER, TOPIC, UNFOLDED, DECODED)
"""The first rows, in their order."""
SEARCHES = {
    "occurrence": "sentence in document, %",
    "order": "order of two sentences, %",
    "sentence_rank": "document of a sentence, MRR",
}
"""Columns by the names of scores in records."""


def render(records: list[Record]) -> str:
    """Renders a table per corpus: means over seeds, with the union of the seeds' 95 % intervals."""
    parts = []
    for corpus, title in TITLES.items():
        found = [
            (record["numbers"], record["numbers"]["corpora"][corpus])
            for record in records
            if corpus in record["numbers"]["corpora"]
        ]
        if found:
            parts.append(f"**{title}**\n\n{table([own for _, own in found])}\n\n{description(found)}")
    return "\n\n".join(parts)


def table(seeds: Sequence[dict[str, Any]]) -> str:
    """Renders the scores of a corpus, given those of each seed."""
    first = seeds[0]
    questions, searched = list(first["classes"]), first["documents"]["searched"]
    columns = ["representation", "numbers"]
    columns += [
        f"{question}: {name}" for question in questions for name in ("linear, %", "10 nearest, %", "k-means, NMI")
    ]
    if searched:
        columns += [*SEARCHES.values(), "found after 1 / 2 / 4 words replaced, %"]
    majority = ["most frequent class", ""]
    for classes in first["classes"].values():
        majority += [accuracy([(max(classes.values()), sum(classes.values()))]), "", ""]
    lines = [majority + [""] * (len(columns) - len(majority))]
    for name in sorted(first["rows"], key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        rows = [seed["rows"][name] for seed in seeds]
        line = [name, f"{rows[0]['size']:,}"]
        for question in questions:
            scores = {"linear": accuracy, "neighbours": share, "clusters": mean}
            line += [_cell(rows, form, kind, question) for kind, form in scores.items()]
        if searched:
            line += [_cell(rows, mean if score == "sentence_rank" else accuracy, score) for score in SEARCHES]
            line.append(_cell(rows, shares, "replaced"))
        lines.append(line)
    head, *body = (f"| {' | '.join(line)} |" for line in [columns, *lines])
    return "\n".join([head, "|---" * len(columns) + "|", *body])


def description(found: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Renders the numbers of documents and classes, and the reconstruction by the model, given those of each seed."""
    model, own = found[0]
    number = own["documents"]
    classes = "; ".join(
        f"{question}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
        for question, counts in own["classes"].items()
    )
    among = f", of which {number['searched']:,} are searched" if number["searched"] else ""
    bleu = fmean(each["bleu"] for each, _ in found)
    return (
        f"{number['train']:,} training and {number['test']:,} held-out documents{among}. Held-out {classes}. "
        f"BLEU-4 of the model {bleu:.1f} of {model['bleu_limit']:.1f}; {len(found)} seed{'s' * (len(found) > 1)}."
    )


def accuracy(scores: Sequence[tuple[int, int]]) -> str:
    """Formats an accuracy in per cent, with Wilson's interval; of several seeds their mean and the union of intervals.

    Example:
        >>> accuracy([(90, 100)]), accuracy([(90, 100), (80, 100)])
        ('90.0 [82.6, 94.5]', '85.0 [71.1, 94.5]')
    """
    lows, highs = zip(*(statistics.wilson(*score) for score in scores), strict=True)
    return f"{share(scores)} [{100 * min(lows):.1f}, {100 * max(highs):.1f}]"


def share(scores: Sequence[tuple[int, int]]) -> str:
    """Formats an accuracy in per cent without an interval."""
    return f"{100 * fmean(correct / total for correct, total in scores):.1f}"


def shares(scores: Sequence[dict[str, tuple[int, int]]]) -> str:
    """Formats accuracies by the number of replaced words, as in "99.0 / 98.0 / 90.0"."""
    return " / ".join(share([each[number] for each in scores]) for number in scores[0])


def mean(scores: Sequence[float]) -> str:
    """Formats a mean over seeds."""
    return f"{fmean(scores):.2f}"


def _cell(rows: Sequence[dict[str, Any]], form: Any, *keys: str) -> str:
    """Formats a score of all seeds; a dash if it was not measured."""
    values: list[Any] = list(rows)
    for key in keys:
        if key not in values[0]:
            return "-"
        values = [value[key] for value in values]
    return form(values)
