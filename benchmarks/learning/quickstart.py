"""What does the README's first command achieve?

    python -m benchmarks run first_run

Trains the preset `small` on the State of the Union addresses, exactly as `hae train --workdir W` does, and reconstructs
the paragraphs of all held-out addresses from their codes: documents of at most 4 sentences of 16 words.

Device: two CPU cores, 20 minutes, at most 15 of them of training.
Expected: free-running BLEU-4 of 75 or more, where the vocabulary limits it to 84; a code gap of 10 nats per token.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.config import Config, TrainConfig
from hae_jax.config.presets import preset
from hae_jax.trained import TrainedModel
from hae_jax.training import fit

CURVE = ("step", "loss", "code_gap", "bleu", "token_accuracy")


def cells(quick: bool) -> list[Cell]:
    """Returns one cell: the preset `small`, or a few steps of `tiny` if `quick`."""
    if not quick:
        return [Cell("small", (preset("small").train.seed,), as_json(preset("small")))]
    train = TrainConfig(steps=40, eval_every=20, eval_documents=16, save_every=20)
    return [Cell("tiny", (train.seed,), as_json(dataclasses.replace(preset("tiny"), train=train)))]


def as_json(config: Config) -> dict[str, Any]:
    """Returns a config as JSON values."""
    return json.loads(config.to_json())


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains, or resumes training, and evaluates the final checkpoint, as `hae evaluate` does."""
    config, workdir = Config.from_json(json.dumps(cell.config)), folder / "workdir"
    if code := fit(config, workdir).exit_code:
        raise SystemExit(code)
    scores = TrainedModel.load(workdir).evaluate()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = [line for line in lines if line["kind"] == "train"]
    return scores.to_dict() | {
        "steps": trained[-1]["step"],
        "minutes": trained[-1]["seconds"] / 60,
        "words_per_second": sorted(line["words_per_second"] for line in trained)[len(trained) // 2],
        "curve": [{name: line[name] for name in CURVE} for line in lines if line["kind"] != "train"],
    }


def render(records: list[Record]) -> str:
    """Renders the scores, those by document length, and the learning curve."""
    parts = []
    for record in records:
        n = record["numbers"]
        parts += [
            "| loss, nats per token | code gap | BLEU-4 | tokens, teacher-forced | ROUGE-1 / 2 / L | exact "
            "| coherence, 0 is best | steps | minutes of training |",
            "|---|---|---|---|---|---|---|---|---|",
            f"| {n['loss']:.2f} | {n['code_gap']:.2f} | {n['bleu']:.1f} of {n['bleu_limit']:.1f} "
            f"| {n['token_accuracy']:.1%} | {n['rouge1']:.2f} / {n['rouge2']:.2f} / {n['rougeL']:.2f} "
            f"| {n['exact_match']:.1%} of {n['exact_limit']:.1%} "
            f"| {'-' if n['coherence'] is None else format(n['coherence'], '.2f')} "
            f"| {n['steps']:,} | {n['minutes']:.1f} |",
            "",
            f"On all {n['documents']:,} held-out documents ({n['tokens']:,} tokens). By document length:",
            "",
            "| tokens | documents | loss | BLEU-4 | exact |",
            "|---|---|---|---|---|",
            *(
                f"| {bucket} | {part['documents']:,} | {part['loss']:.2f} | {part['bleu']:.1f} "
                f"| {part['exact_match']:.1%} |"
                for bucket, part in sorted(n["by_length"].items(), key=lambda item: int(item[0].split("-")[0]))
            ),
            "",
            "During training (the last row on all held-out documents, the others on some):",
            "",
            "| step | loss | code gap | BLEU-4 | tokens, teacher-forced |",
            "|---|---|---|---|---|",
            *(
                f"| {at['step']:,} | {at['loss']:.2f} | {at['code_gap']:.2f} | {at['bleu']:.1f} "
                f"| {at['token_accuracy']:.1%} |"
                for at in n["curve"]
            ),
        ]
    return "\n".join(parts)


BENCHMARKS = (Benchmark("first_run", cells, measure, render),)
