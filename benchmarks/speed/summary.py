"""How fast is training compared with other implementations, and which techniques matter?

    python -m benchmarks run speed

Seven tables. Layer: one LSTM forward and backward against Flax, Keras and PyTorch. Step: the whole training step on
ragged text against the same model in PyTorch, padded and packed, and against the rate of dense matrix products. Loss:
tiles against the logits of all tokens. Greedy: parallel sentences against a check after every token. Techniques: from
the naive step to ours. Parts: the time of each part of a step. Scaling: tokens per second by size. All contenders get
the same inputs, have to return the same results, and alternate in one process with as many threads as there are cores;
compile times are separate and with an empty cache. Tables give ratios; seconds on a GPU only. Packages that are not
installed are omitted and listed: PyTorch and Keras come with the extra `peers`.

Device: any; two idle CPU cores take about 10 minutes. On a GPU the sizes are larger, and PyTorch has memory only if JAX
does not preallocate all of it: XLA_PYTHON_CLIENT_PREALLOCATE=false.
Expected: on two cores of a CPU the step is 1.5 times as fast as PyTorch's on padded tensors, the tiled loss is no
slower than the full one with a ninth of its temporaries, and parallel sentences are decoded three times as fast as
sequential ones. Targets that are not reached: a layer 1.5 times as fast as Flax's and Keras', and no slower than
PyTorch's.
"""

from benchmarks.harness.record import Record, Summary
from benchmarks.speed import breakdown, greedy, layer, loss, scaling, step, techniques
from benchmarks.speed.table import format_interval


def render_peers(records: list[Record]) -> str:
    """Renders our speedup over each contender of three tables."""
    lines = ["| | compared with | speedup of ours | 95 % interval |", "|---|---|---|---|"]
    for record in records:
        for index, row in enumerate(record["numbers"]["rows"][1:]):
            lines.append(
                f"| {'' if index else record['cell']} | {row['name']} | {row['ratio']:.2f} | {format_interval(row)} |"
            )
    return "\n".join(lines)


BENCHMARKS = (
    layer.TABLE, step.TABLE, loss.TABLE, greedy.TABLE, techniques.TABLE, breakdown.TABLE,
    scaling.TABLE,
)  # fmt: skip
SUMMARY: Summary = Summary("speed", ("speed_step", "speed_layer", "speed_loss"), render_peers)
