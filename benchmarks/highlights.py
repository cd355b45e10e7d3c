"""Short tables of the README: rows and columns selected from the full tables of docs/results.md."""

from collections.abc import Mapping

from benchmarks.doctor import accuracy
from benchmarks.gradients import summary as gradients_summary
from benchmarks.harness.record import Record, Summary
from benchmarks.learning import ablation, quickstart, reconstruction
from benchmarks.speed import summary as speed_summary

ABLATION = {
    "the recipe": "preset `small`",
    "one learning rate for both levels": "one learning rate for both levels",
    "no layer norm": "no layer normalization",
    "orthogonal weights": "orthogonal instead of mirror initialization",
    "naive": "naive: as published, with Keras' initialization",
}
"""Rows of the ablation, and their names in the README."""
INITIALIZATIONS = {
    "Flax's default: forget bias 0": "Flax's default, forget bias 0",
    "orthogonal, forget bias 2": "orthogonal, forget bias 2",
    "orthogonal, forget bias 2, layer norm in the cell": "the same with layer normalization in the cell",
}
"""Initializations of LSTMs other than autoencoders, and their names in the README."""
CONTENDERS = {
    "preset `small`, plain": ("PyTorch, packed sequences",),
    "batch 64, 32 steps, 512 units, float32": ("Flax nn.RNN(OptimizedLSTMCell)", "PyTorch nn.LSTM"),
}
"""Cells of the speed tables, and the contenders shown."""


def select(table: str, columns: Mapping[str, str], rows: Mapping[str, str] | None = None) -> str:
    """Returns some rows and columns of a Markdown table, every number unchanged.

    Args:
        table: a Markdown table; text after a blank line is ignored.
        columns: headings of the columns shown, in order, each mapped to the heading shown instead.
        rows: the same for values of the first of these columns; all rows by default.

    Raises:
        ValueError: if the table lacks one of the columns.

    Example:
        >>> table = "| a | b | c |\\n|---|---|---|\\n| x | 1 | 2 |\\n| y | 3 | 4 |"
        >>> print(select(table, {"a": "a", "c": "loss"}, {"y": "ours"}))
        | a | loss |
        |---|---|
        | ours | 4 |
    """
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].splitlines()]
    places = [lines[0].index(name) for name in columns]
    body = [[line[place] for place in places] for line in lines[2:]]
    if rows is not None:
        body = [[rows[line[0]], *line[1:]] for line in body if line[0] in rows]
    head, *others = (f"| {' | '.join(line)} |" for line in [columns.values(), *body])
    return "\n".join([head, "|---" * len(columns) + "|", *others])


def first_run(records: list[Record]) -> str:
    """Renders the main scores of the README's first command."""
    columns = {
        "BLEU-4": "BLEU-4, free-running",
        "exact": "documents exactly right",
        "tokens, teacher-forced": "tokens right, teacher-forced",
        "code gap": "code gap, nats per token",
        "steps": "steps",
        "minutes of training": "minutes of training",
    }
    return select(quickstart.render(records), columns)


def recipe(records: list[Record]) -> str:
    """Renders five rows of the ablation."""
    columns = {"recipe": "300 steps with", "loss, nats per token": "loss, nats per token", "code gap": "code gap"}
    return select(ablation.render(records), columns | {"BLEU-4": "BLEU-4"}, ABLATION)


def reconstruction_verdicts(records: list[Record]) -> str:
    """Renders one line per corpus, which compares the hierarchical model to the flat one."""
    corpora = reconstruction.group_by_row(records)
    return "\n".join(f"* {reconstruction.verdict(corpus, rows)}" for corpus, rows in corpora.items())


def initialization(records: list[Record]) -> str:
    """Renders three initializations of LSTMs other than autoencoders."""
    columns = {
        "initialization": "initialization",
        "measured": "gradient slope, nats per step",
        "gradient over 50 steps": "gradient left after 50 steps",
        "recall: seeds": "seeds that learn recall",
        "adding: seeds": "seeds that learn adding",
        "text: code gap": "code gap on text",
    }
    return select(gradients_summary.render(records), columns, INITIALIZATIONS)


def speed(records: list[Record]) -> str:
    """Renders three rows of the speed table."""
    shown = []
    for record in records:
        ours, *others = record["numbers"]["rows"]
        if names := CONTENDERS.get(record["cell"]):
            rows = [ours, *(row for row in others if row["name"] in names)]
            shown.append(record | {"numbers": {"rows": rows}})
    columns = {
        "": "workload",
        "compared with": "compared with",
        "speedup of ours": "speed of ours, relative",
        "95 % interval": "95 % interval",
    }
    return select(speed_summary.render_peers(shown), columns)


def doctor(records: list[Record]) -> str:
    """Renders how often the doctor names the right cause, and how often it raises a false alarm."""
    rows = {name: name for name in ("right cause first", "false alarm")}
    return select(
        accuracy.render(records), {"result": "result", "models": "models", "rate": "rate (95 % interval)"}, rows
    )


SUMMARIES = (
    Summary("first_run_short", ("first_run",), first_run, excerpt=True),
    Summary("recipe_short", ("recipe",), recipe, excerpt=True),
    Summary("reconstruction_short", ("reconstruction",), reconstruction_verdicts, excerpt=True),
    Summary("initialization_short", ("gradient_initialisation", "gradient_training"), initialization, excerpt=True),
    Summary("speed_short", ("speed_step", "speed_layer"), speed, excerpt=True),
    Summary("doctor_short", ("doctor",), doctor, excerpt=True),
)
