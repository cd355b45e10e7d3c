"""A batch is a table of sentences; one of continuous series is dense.

Dense `[doc, sent, word]` tensors waste most of their work on padding. So the sentences of all documents of a batch
stand in flat tables, one table a length bucket, and `row_index` says where each sentence of each document is to be found.
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

PAD, UNK, EOS, EOD = 0, 1, 2, 3
"""Ids of padding, unknown words, end of sentence, and end of document (which stands in for the last EOS)."""
SPECIALS = ("<pad>", "<unk>", "<eos>", "<eod>")


class Batch(NamedTuple):
    """Documents as tables of sentences.

    Attributes:
        buckets: word ids, one table a length bucket, shortest first; every sentence ends with EOS, the last one of its
            document with EOD, then PAD. A row of PAD alone is spare room.
        row_index: for each sentence of each document, its row in the tables stacked upon each other; -1 where the document
            has no such sentence. A document of -1 alone is spare room.
    """

    buckets: tuple[Int[Array, "row word"], ...]
    row_index: Int[Array, "doc sent"]


class Signals(NamedTuple):
    """Continuous series of different lengths, padded to the longest.

    Attributes:
        values: what was measured, scaled; 0 where nothing was, and after a series' end.
        observed: True where a value was measured; a missing one is False within a real step.
        mask: True where a step is real.
    """

    values: Float[Array, "series time channel"]
    observed: Bool[Array, "series time channel"]
    mask: Bool[Array, "series time"]


AnyBatch = Batch | Signals
"""What a model may be trained on."""
