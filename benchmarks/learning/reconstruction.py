"""The paper's table: the standard, the hierarchical and the attention model, trained for the same time.

    python -m benchmarks run reconstruction

All have as many parameters, within a unit of width, as the hierarchical model of the preset without its topic part,
train for the same minutes with a schedule that ends with them, and reconstruct all held-out documents. Minutes are
compute time of a CPU's cores, nearly independent of other load; the number of steps that fit is measured once per row.
"Standard" is the paper's term for one flat LSTM; here it has all of the recipe that does not need a hierarchy. On the
addresses, the hierarchical model as published, without the recipe, is included for comparison. With attention the
decoder reads all sentence states, so that this model has no code of fixed size. Cells are ordered by seed, so that a
table of one seed is complete early.

Device: two CPU cores, 21 cells of 3 minutes of training, 90 minutes in all, with the preset `small`: 4 rows of 16
tokens. A GPU takes the preset `reviews` for both corpora, 16 rows of 32 words, and 2 minutes per cell: an hour.
Expected: hierarchical above standard in BLEU-4 on both corpora; the naive model's code gap stays near 0.
"""

import dataclasses
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import jax

from benchmarks.harness import statistics
from benchmarks.harness.matched_size import count_parameters, match_size
from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.time_budget import initial_state_and_step, planned_steps
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import NAIVE, with_fields
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.data import Dataset, prepare

SEEDS = (0, 1, 2)
CURVE_POINTS, CURVE_DOCUMENTS = 10, 64
"""Points of a learning curve, and documents on which it is measured."""
MODELS: dict[str, dict[str, Any]] = {
    "standard": {"model.kind": "flat", "optim.learning_rate": 2e-4},
    "hierarchical": {},
    "hierarchical, attention": {"model.attention": True},
    "hierarchical, naive": NAIVE,
}
"""Changed fields of the preset by row. One wide layer needs a lower learning rate, as the preset's sentence level does;
5e-4 is worse."""
SCALED_FIELDS = {"hierarchical, attention": ("hidden_dim", "embed_dim", "sentence_dim")}
"""Widths that are scaled to match the number of parameters, if not `hidden_dim` alone: mirror initialization needs a
code with a block per sentence, and word vectors that fit, hence all widths in proportion."""
ROWS = {"sotu": list(MODELS), "reviews": list(MODELS)[:3]}
"""The rows of each corpus."""
CURVES = {"code gap": "code_gap", "BLEU-4, free-running": "bleu"}
"""Scores of the learning curves, by panel title."""


def base_config(corpus: str, quick: bool) -> Config:
    """Returns the preset for the device, without a topic part, with the given corpus and minutes of training."""
    gpu = jax.default_backend() != "cpu"
    minutes = 0.1 if quick else 2.0 if gpu else 3.0
    config = with_fields(preset("tiny" if quick else "reviews" if gpu else "small"), {"model.topic_dim": 0})
    data = dataclasses.replace(config.data, corpus=corpus, holdout=0.05 if corpus == "sotu" else 0.02)
    # The number of steps is planned when the speed is known.
    return dataclasses.replace(config, data=data, train=dataclasses.replace(config.train, minutes=minutes))


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per model, corpus and seed, by seed; the first three on the addresses if `quick`."""
    rows, seeds = ({"sotu": ROWS["sotu"][:3]}, SEEDS[:1]) if quick else (ROWS, SEEDS)
    return [
        Cell(f"{corpus}: {name}, seed {seed}", (seed,),
             quickstart.as_json(row_config(base_config(corpus, quick), name, seed)) | {"corpus": corpus, "row": name})
        for seed in seeds
        for corpus, names in rows.items()
        for name in names
    ]  # fmt: skip


def row_config(config: Config, name: str, seed: int) -> Config:
    """Returns the config of a row, with as many parameters as the hierarchical model has, and the given seed."""
    vocab = config.data.vocab_size
    other = with_fields(config, MODELS[name])
    model = other.model
    if MODELS[name]:
        model = match_size(
            model, vocab, count_parameters(config.model, vocab), SCALED_FIELDS.get(name, ("hidden_dim",))
        )
    return dataclasses.replace(other, model=model, train=dataclasses.replace(config.train, seed=seed))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Plans the steps, trains, and evaluates; all cells of a corpus share its tokenized text."""
    raw = {name: value for name, value in cell.config.items() if name not in ("corpus", "row")}
    config = Config.from_json(json.dumps(raw))
    store, workdir = folder.parent / "corpora" / config.data.corpus, folder / "workdir"
    minutes = config.train.minutes
    plan = store.with_name(f"{store.name}, {cell.config['row']}, {minutes}.json")
    steps = planned_steps(minutes, *initial_state_and_step(config, prepare(config.data, store)), plan)
    every = max(steps // CURVE_POINTS, 1)
    train = dataclasses.replace(
        config.train, steps=steps, minutes=0, eval_every=every, save_every=every, eval_documents=CURVE_DOCUMENTS,
        log_every=min(config.train.log_every, every),
    )  # fmt: skip
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "data").exists():
        (workdir / "data").symlink_to(store.resolve())
    planned = Cell(cell.name, cell.seeds, quickstart.as_json(dataclasses.replace(config, train=train)))
    vocab = Dataset.load(store).tokenizer.vocab_size
    scores = quickstart.measure(planned, folder)
    extra = {"minutes": minutes, "wall_minutes": scores["minutes"], "parameters": count_parameters(config.model, vocab)}
    return scores | extra


def group_by_row(records: list[Record]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Returns the measured numbers of all seeds, by corpus and row."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for corpus, names in ROWS.items():
        for name in names:
            numbers = [r["numbers"] for r in records if (r["config"]["corpus"], r["config"]["row"]) == (corpus, name)]
            if numbers:
                groups.setdefault(corpus, {})[name] = numbers
    return groups


def render(records: list[Record]) -> str:
    """Renders a table of scores, one by length, and a verdict for each corpus."""
    parts = []
    for corpus, rows in group_by_row(records).items():
        parts += [
            f"**{corpus}**; means with 95 % intervals over seeds",
            "",
            "| model | parameters | loss | code gap | tokens, teacher-forced, % | BLEU-4, free-running "
            "| ROUGE-1 / 2 / L | coherence, 0 is best | exact | steps | minutes, planned | seeds |",
            "|---" * 12 + "|",
            *(score_row(name, numbers) for name, numbers in rows.items()),
            "",
            *length_table(rows),
            "",
            verdict(corpus, rows),
            "",
        ]
    return "\n".join(parts).rstrip()


def score_row(name: str, numbers: list[dict[str, Any]]) -> str:
    """Renders the scores of one model."""

    def values(key: str, scale: float = 1.0) -> list[float]:
        return [scale * n[key] for n in numbers if n[key] is not None]

    rouge = " / ".join(f"{fmean(values(key)):.2f}" for key in ("rouge1", "rouge2", "rougeL"))
    coherence = values("coherence")
    return (
        f"| {name} | {numbers[0]['parameters']:,} | {statistics.format_mean(values('loss'))} "
        f"| {statistics.format_mean(values('code_gap'))} | {statistics.format_mean(values('token_accuracy', 100), 1)} "
        f"| {statistics.format_mean(values('bleu'), 1)} | {rouge} | {f'{fmean(coherence):.2f}' if coherence else '-'} "
        f"| {fmean(values('exact_match')):.1%} | {fmean(values('steps')):,.0f} "
        f"| {fmean(values('minutes')):.1f} | {len(numbers)} |"
    )


def length_table(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Renders BLEU-4 and the teacher-forced accuracy by document length."""
    lengths = sorted(
        {bucket for numbers in rows.values() for n in numbers for bucket in n["by_length"]},
        key=lambda bucket: int(bucket.split("-")[0]),
    )

    def entry(numbers: list[dict[str, Any]], bucket: str) -> str:
        parts = [n["by_length"][bucket] for n in numbers if bucket in n["by_length"]]
        accuracy, bleu = (fmean(part[key] for part in parts) for key in ("token_accuracy", "bleu"))
        return f"{bleu:.1f}, {accuracy:.0%}"

    return [
        "Free-running BLEU-4, and teacher-forced tokens, by tokens per document:",
        "",
        "| model | " + " | ".join(lengths) + " |",
        "|---" * (len(lengths) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(entry(numbers, bucket) for bucket in lengths) + " |"
            for name, numbers in rows.items()
        ),
    ]


def verdict(corpus: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    """Compares the hierarchical with the standard model: whether their intervals of BLEU-4 overlap."""
    if not {"standard", "hierarchical"} <= rows.keys():
        return f"{corpus}: no verdict yet."
    ours, theirs = ([n["bleu"] for n in rows[name]] for name in ("hierarchical", "standard"))
    low, high = statistics.mean_interval(ours)
    below, above = statistics.mean_interval(theirs)
    scores = f"BLEU-4 {statistics.format_mean(ours, 1)} against {statistics.format_mean(theirs, 1)}"
    if min(len(ours), len(theirs)) < 2:
        return f"{corpus}: {scores}, too few seeds for a verdict."
    if low > above:
        return f"{corpus}: hierarchical beats standard, {scores}: the intervals do not overlap."
    if high < below:
        return f"{corpus}: standard beats hierarchical, {scores}: the intervals do not overlap."
    return f"{corpus}: no significant difference between hierarchical and standard, {scores}: the intervals overlap."


def draw(records: list[Record], folder: Path) -> None:
    """Draws the learning curves, means over seeds, of the corpus with the naive model."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {title: {} for title in CURVES}
    for name, numbers in group_by_row(records).get("sotu", {}).items():
        points = list(zip(*(n["curve"] for n in numbers), strict=False))
        minutes = [fmean(at["step"] / n["steps"] * n["minutes"] for at, n in zip(point, numbers, strict=True))
                   for point in points]  # fmt: skip
        for title, key in CURVES.items():
            panels[title][name] = minutes, [fmean(at[key] for at in point) for point in points]
    draw_lines(panels, ("minutes of training", "on held-out addresses"), folder / "reconstruction.png")


TABLE = Benchmark("reconstruction", cells, measure, render, draw)
BENCHMARKS = (TABLE,)
