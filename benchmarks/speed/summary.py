"""How fast is it, beside its peers, and what made it so?

    python -m benchmarks run speed

Seven tables. Layer: one LSTM forward and backward beside Flax, Keras and PyTorch. Step: the whole training step on
ragged text beside the same model in PyTorch, dense and packed, and beside the rate of dense products. Loss: tiles
beside the logits of all tokens. Greedy: blocks beside a look after every token. Techniques: from the naive step to
ours. Parts: where a step's time goes. Scaling: words a second over sizes. All contenders get the same numbers, have to
find the same results first, and take turns in one process with as many threads as there are cores; compile times stand
apart and are of an empty cache. Ratios are printed; seconds on a GPU alone. Who is not installed is left out, aloud:
PyTorch and Keras come with the extra `peers`.

Device: any; two quiet CPU cores take about 10 minutes. On a GPU the sizes are those of GPUs, and PyTorch finds memory
only if JAX leaves it some: XLA_PYTHON_CLIENT_PREALLOCATE=false.
Expected: on two cores of a CPU the step is 1.5 times as fast as PyTorch's on dense tensors, the tiled loss is no slower
than the full one in a ninth of its temporaries, and sentences side by side are decoded three times as fast as in turn.
Wanted besides, and not so: a layer 1.5 times as fast as Flax's and Keras', and no slower than PyTorch's.
"""

from benchmarks.harness.record import Record, Summary
from benchmarks.speed import breakdown, greedy, layer, loss, scaling, step, techniques
from benchmarks.speed.table import interval


def glance(records: list[Record]) -> str:
    """Everybody else of three tables: how many times as fast ours is."""
    lines = ["| | beside | ours is so many times as fast | 95 % interval |", "|---|---|---|---|"]
    for record in records:
        for place, row in enumerate(record["numbers"]["rows"][1:]):
            lines.append(
                f"| {'' if place else record['cell']} | {row['name']} | {row['ratio']:.2f} | {interval(row)} |"
            )
    return "\n".join(lines)


BENCHMARKS = (
    layer.TABLE, step.TABLE, loss.TABLE, greedy.TABLE, techniques.TABLE, breakdown.TABLE,
    scaling.TABLE,
)  # fmt: skip
SUMMARY: Summary = Summary("speed", ("speed_step", "speed_layer", "speed_loss"), glance)
