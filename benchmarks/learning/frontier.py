"""How much of a text is reproduced from how many numbers?

    python -m benchmarks run frontier

Trains the preset `small` with codes of 1,024, 512, 256 and 128 numbers, and reconstructs all held-out addresses. Bits a
number are counted free-running: the tokens that a reconstruction has in the same place of the same row as the document
have -log2 p bits each, where p is their probability, given the token before, in a bigram language model of the training
text (`benchmarks.learning.information`). Their sum, divided by the size of the code, is a measure of what the code has
to store if the language model of the decoder is no better than that. A decoder that ignored its code would have some
tokens right as well: "by chance" is the same sum for reconstructions of other documents, and it is subtracted.

Device: two CPU cores, 4 cells of at most 15 minutes of training and 5 of measuring: 80 minutes.
Expected: BLEU falls slowly to 512 numbers and faster below, while bits a number increase.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.content.codes import decoded_rows
from benchmarks.learning.information import Bigrams, reproduced_bits
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.data import Dataset
from hae_jax.trained import TrainedModel

SIZES = (1024, 512, 256, 128)
"""Numbers of the code, its parts together."""
PACKED, SUPERPOSED = "units for each token", "tokens superposed, normalized"
"""Names of the lines: as in the presets `small-512` and `small-256`, and as in the preset `small`."""
SIZED: dict[int, dict[str, Any]] = {
    1024: {"model.sentence_dim": 768, "optim.learning_rate": 1e-4, "optim.topic_lr_scale": 3.0},
    512: {},
    256: {},
    128: {
        "model.embed_dim": 7, "model.hidden_dim": 119, "model.sentence_dim": 128, "model.topic_dim": 0,
        "model.sentence_gain": 0.15, "optim.learning_rate": 1e-6, "optim.topic_lr_scale": 1.0,
    },
}  # fmt: skip
"""Changed fields of the presets `small-512` and, for 256 numbers, `small-256`, by size."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per recipe and size of the code; one with little training if `quick`."""
    if quick:
        base = Config.from_json(json.dumps(quickstart.cells(True)[0].config))
        return [_cell("tiny", 48, narrow(base, 48))]
    bases = {size: preset("small-256" if size == 256 else "small-512") for size in SIZED}
    return [
        *(_cell(PACKED, size, with_fields(bases[size], fields)) for size, fields in SIZED.items()),
        *(_cell(SUPERPOSED, size, narrow(preset("small"), size)) for size in SIZES),
    ]


def narrow(config: Config, size: int) -> Config:
    """Returns a config with a code of `size` numbers, of which the parts have the same shares as before."""
    topic = config.model.topic_dim
    part = topic * size // (config.model.sentence_dim + topic)
    return with_fields(config, {"model.sentence_dim": size - part} | ({"model.topic_dim": part} if topic else {}))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains and evaluates as `first_run` does, and counts the bits that are reproduced."""
    raw = {name: value for name, value in cell.config.items() if name not in ("recipe", "size")}
    numbers = quickstart.measure(Cell(cell.name, cell.seeds, raw), folder)
    model = TrainedModel.load(folder / "workdir")
    dataset = Dataset.load(model.workdir / "data")
    return numbers | {"size": cell.config["size"]} | bits_per_document(model, dataset)


def bits_per_document(model: TrainedModel, dataset: Dataset) -> dict[str, float]:
    """Returns means over the held-out documents: the bits of a document, those that are reproduced, and those that are
    reproduced by chance, which are counted with the reconstruction of the document before."""
    language = Bigrams(dataset.train, model.tokenizer.vocab_size)
    sources = [dataset.heldout.document(number) for number in range(len(dataset.heldout))]
    outputs = decoded_rows(model, dataset.heldout)
    others = [*outputs[-1:], *outputs[:-1]]
    return {
        "bits": float(np.mean([language.bits(source).sum() for source in sources])),
        "reproduced": float(np.mean([reproduced_bits(language, *pair) for pair in zip(sources, outputs, strict=True)])),
        "by_chance": float(np.mean([reproduced_bits(language, *pair) for pair in zip(sources, others, strict=True)])),
    }


def bits_a_number(numbers: dict[str, Any]) -> float:
    """Returns the reproduced bits per number of the code, without those by chance."""
    return (numbers["reproduced"] - numbers["by_chance"]) / numbers["size"]


def render(records: list[Record]) -> str:
    """Renders one row per recipe and size of the code."""
    lines = [
        "| model | numbers | BLEU-4 | exact | bits of a document | reproduced | by chance | bits a number | steps "
        "| minutes |",
        "|---" * 10 + "|",
    ]
    for record in records:
        n = record["numbers"]
        lines.append(
            f"| {record['config']['recipe']} | {n['size']:,} | {n['bleu']:.1f} of {n['bleu_limit']:.1f} "
            f"| {n['exact_match']:.1%} of {n['exact_limit']:.1%} | {n['bits']:.0f} | {n['reproduced']:.0f} "
            f"| {n['by_chance']:.0f} | {bits_a_number(n):.2f} | {n['steps']:,} | {n['minutes']:.1f} |"
        )
    return "\n".join(lines)


def draw(records: list[Record], folder: Path) -> None:
    """Draws BLEU-4 and bits a number over the size of the code."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {"BLEU-4, free-running": {}, "bits a number": {}}
    for name in dict.fromkeys(record["config"]["recipe"] for record in records):
        rows = sorted((r["numbers"] for r in records if r["config"]["recipe"] == name), key=lambda n: n["size"])
        sizes = [row["size"] for row in rows]
        panels["BLEU-4, free-running"][name] = sizes, [row["bleu"] for row in rows]
        panels["bits a number"][name] = sizes, [bits_a_number(row) for row in rows]
    draw_lines(panels, ("numbers of the code", "on held-out addresses"), folder / "frontier.png")


def _cell(name: str, size: int, config: Config) -> Cell:
    fields = quickstart.as_json(config) | {"recipe": name, "size": size}
    return Cell(f"{name}, {size}", (config.train.seed,), fields)


BENCHMARKS = (Benchmark("frontier", cells, measure, render, draw),)
