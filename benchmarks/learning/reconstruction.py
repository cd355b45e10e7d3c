"""The paper's table: the standard model, the hierarchical one, and the one with attention, given the same time.

    python -m benchmarks run reconstruction

All have as many parameters, within a unit of width, as the hierarchical model of the preset, train for the same minutes
with a schedule that ends with them, and put all held-out documents through their codes. Minutes are those that a CPU's
cores work, so that it matters little what else a machine does; how many steps they hold is found out once for each row.
"Standard" is the paper's word for one flat LSTM; here it has all of the recipe that does not need a hierarchy. On the
addresses the hierarchical model as published, without the recipe, shows what it is worth. With attention the decoder
sees all sentence states, so that model has no code of fixed size. Cells stand seed by seed, so that a table of one seed
is whole early on.

Device: two CPU cores, 21 cells of 3 minutes of training, 90 minutes in all, with the preset `small`: 4 sentences of 16
words. A GPU takes the preset `reviews` for both corpora, 16 sentences of 32 words, and 2 minutes a cell: an hour.
Expected: hierarchical above standard in BLEU-4 on both corpora; the naive model's code gap stays near 0.
"""

import dataclasses
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import jax

from benchmarks.harness import statistics
from benchmarks.harness.matched_size import equalised, parameters
from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.time_budget import planned, training
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import NAIVE, changed
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.data import Dataset, prepare

SEEDS = (0, 1, 2)
LOOKS, LOOKED_AT = 10, 64
"""Points of a learning curve, and the documents it is measured on."""
MODELS: dict[str, dict[str, Any]] = {
    "standard": {"model.kind": "flat", "optim.learning_rate": 2e-4},
    "hierarchical": {},
    "hierarchical, attention": {"model.attention": True},
    "hierarchical, naive": NAIVE,
}
"""Fields of the config in which a row differs from the preset. One wide layer wants smaller steps, as the preset's
sentence level does; 5e-4 is worse."""
NARROWED = {"hierarchical, attention": ("hidden_dim", "embed_dim", "sentence_dim")}
"""What is made narrower to save parameters, if not the words' LSTMs alone: mirrored weights want a code with room for a
vector a sentence, and word vectors that fit, so all of it in proportion."""
ROWS = {"sotu": list(MODELS), "reviews": list(MODELS)[:3]}
"""The rows of each corpus."""
TOLD = {"code gap": "code_gap", "BLEU-4, running free": "bleu"}
"""What the learning curves show."""


def base(corpus: str, quick: bool) -> Config:
    """Returns the preset that suits the device, with that corpus and minutes of training."""
    gpu = jax.default_backend() != "cpu"
    minutes = 0.1 if quick else 2.0 if gpu else 3.0
    config = preset("tiny" if quick else "reviews" if gpu else "small")
    data = dataclasses.replace(config.data, corpus=corpus, holdout=0.05 if corpus == "sotu" else 0.02)
    # Steps are planned for once the speed is known.
    return dataclasses.replace(config, data=data, train=dataclasses.replace(config.train, minutes=minutes))


def cells(quick: bool) -> list[Cell]:
    """All models on both corpora, seed by seed; the first three on the addresses if it has to be quick."""
    rows, seeds = ({"sotu": ROWS["sotu"][:3]}, SEEDS[:1]) if quick else (ROWS, SEEDS)
    return [
        Cell(f"{corpus}: {name}, seed {seed}", (seed,),
             quickstart.as_json(varied(base(corpus, quick), name, seed)) | {"corpus": corpus, "row": name})
        for seed in seeds
        for corpus, names in rows.items()
        for name in names
    ]  # fmt: skip


def varied(config: Config, name: str, seed: int) -> Config:
    """Returns the config of a row, as many parameters as the hierarchical model has, and another seed."""
    vocab = config.data.vocab_size
    other = changed(config, MODELS[name])
    model = other.model
    if MODELS[name]:
        model = equalised(model, vocab, parameters(config.model, vocab), NARROWED.get(name, ("hidden_dim",)))
    return dataclasses.replace(other, model=model, train=dataclasses.replace(config.train, seed=seed))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Plans the steps, trains, and evaluates; all cells of a corpus share its tokenised text."""
    raw = {name: value for name, value in cell.config.items() if name not in ("corpus", "row")}
    config = Config.from_json(json.dumps(raw))
    store, workdir = folder.parent / "corpora" / config.data.corpus, folder / "workdir"
    minutes = config.train.minutes
    plan = store.with_name(f"{store.name}, {cell.config['row']}, {minutes}.json")
    steps = planned(minutes, *training(config, prepare(config.data, store)), plan)
    every = max(steps // LOOKS, 1)
    train = dataclasses.replace(
        config.train, steps=steps, minutes=0, eval_every=every, save_every=every, eval_documents=LOOKED_AT,
        log_every=min(config.train.log_every, every),
    )  # fmt: skip
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / "data").exists():
        (workdir / "data").symlink_to(store.resolve())
    whole = Cell(cell.name, cell.seeds, quickstart.as_json(dataclasses.replace(config, train=train)))
    vocab = Dataset.load(store).tokenizer.vocab_size
    found = quickstart.measure(whole, folder)
    kept = {"minutes": minutes, "wall_minutes": found["minutes"], "parameters": parameters(config.model, vocab)}
    return found | kept


def grouped(records: list[Record]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Returns the numbers of all seeds, by corpus and row, as far as they have been measured."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for corpus, names in ROWS.items():
        for name in names:
            numbers = [r["numbers"] for r in records if (r["config"]["corpus"], r["config"]["row"]) == (corpus, name)]
            if numbers:
                found.setdefault(corpus, {})[name] = numbers
    return found


def render(records: list[Record]) -> str:
    """A table of scores and one by length for each corpus, with the verdict under it."""
    parts = []
    for corpus, rows in grouped(records).items():
        parts += [
            f"**{corpus}**; means with 95 % intervals over seeds",
            "",
            "| model | parameters | loss | code gap | tokens, teacher-forced, % | BLEU-4, running free "
            "| ROUGE-1 / 2 / L | coherence, 0 is best | exact | steps | minutes, planned | seeds |",
            "|---" * 12 + "|",
            *(row(name, numbers) for name, numbers in rows.items()),
            "",
            *by_length(rows),
            "",
            verdict(corpus, rows),
            "",
        ]
    return "\n".join(parts).rstrip()


def row(name: str, numbers: list[dict[str, Any]]) -> str:
    """Writes the scores of one model."""

    def values(key: str, scale: float = 1.0) -> list[float]:
        return [scale * n[key] for n in numbers if n[key] is not None]

    rouge = " / ".join(f"{fmean(values(key)):.2f}" for key in ("rouge1", "rouge2", "rougeL"))
    coherence = values("coherence")
    return (
        f"| {name} | {numbers[0]['parameters']:,} | {statistics.mean(values('loss'))} "
        f"| {statistics.mean(values('code_gap'))} | {statistics.mean(values('token_accuracy', 100), 1)} "
        f"| {statistics.mean(values('bleu'), 1)} | {rouge} | {f'{fmean(coherence):.2f}' if coherence else '-'} "
        f"| {fmean(values('exact_match')):.1%} | {fmean(values('steps')):,.0f} "
        f"| {fmean(values('minutes')):.1f} | {len(numbers)} |"
    )


def by_length(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Writes BLEU-4 and the teacher-forced accuracy by the tokens of a document."""
    lengths = sorted(
        {bucket for numbers in rows.values() for n in numbers for bucket in n["by_length"]},
        key=lambda bucket: int(bucket.split("-")[0]),
    )

    def of(numbers: list[dict[str, Any]], bucket: str) -> str:
        parts = [n["by_length"][bucket] for n in numbers if bucket in n["by_length"]]
        hits, bleu = (fmean(part[key] for part in parts) for key in ("token_accuracy", "bleu"))
        return f"{bleu:.1f}, {hits:.0%}"

    return [
        "BLEU-4 running free, and tokens teacher-forced, by the tokens of a document:",
        "",
        "| model | " + " | ".join(lengths) + " |",
        "|---" * (len(lengths) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(of(numbers, bucket) for bucket in lengths) + " |"
            for name, numbers in rows.items()
        ),
    ]


def verdict(corpus: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    """Says whether the hierarchy is worth something: whether the intervals of BLEU-4 lie apart."""
    if not {"standard", "hierarchical"} <= rows.keys():
        return f"{corpus}: no verdict yet."
    ours, theirs = ([n["bleu"] for n in rows[name]] for name in ("hierarchical", "standard"))
    low, high = statistics.student(ours)
    below, above = statistics.student(theirs)
    said = f"BLEU-4 {statistics.mean(ours, 1)} against {statistics.mean(theirs, 1)}"
    if min(len(ours), len(theirs)) < 2:
        return f"{corpus}: {said}, of too few seeds for a verdict."
    if low > above:
        return f"{corpus}: hierarchical beats standard, {said}: the intervals lie apart."
    if high < below:
        return f"{corpus}: standard beats hierarchical, {said}: the intervals lie apart."
    return f"{corpus}: no difference is certain between hierarchical and standard, {said}: the intervals overlap."


def draw(records: list[Record], folder: Path) -> None:
    """Draws the learning curves, means over seeds, of the corpus that has the naive model."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {title: {} for title in TOLD}
    for name, numbers in grouped(records).get("sotu", {}).items():
        looks = list(zip(*(n["curve"] for n in numbers), strict=False))
        minutes = [fmean(at["step"] / n["steps"] * n["minutes"] for at, n in zip(look, numbers, strict=True))
                   for look in looks]  # fmt: skip
        for title, key in TOLD.items():
            panels[title][name] = minutes, [fmean(at[key] for at in look) for look in looks]
    draw_lines(panels, ("minutes of training", "on held-out addresses"), folder / "reconstruction.png")


TABLE = Benchmark("reconstruction", cells, measure, render, draw)
BENCHMARKS = (TABLE,)
