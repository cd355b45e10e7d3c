"""Batches: documents as rows of sentences in length buckets, and dense batches of continuous series.

Most of a dense `[doc, sent, word]` tensor would be padding. The sentences of all documents of a batch are therefore
rows of a few buckets of different widths, and `row_index` maps each sentence of each document to its row.
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

PAD, UNK, EOS, EOD = 0, 1, 2, 3
"""Ids of padding, unknown words, end of sentence, and end of document (which replaces the last EOS)."""
SPECIALS = ("<pad>", "<unk>", "<eos>", "<eod>")


class Batch(NamedTuple):
    """Documents as sentences in length buckets.

    Attributes:
        buckets: token ids, one array per length bucket, shortest first. Every sentence ends with EOS, the last one of
            its document with EOD, followed by PAD. Unused rows consist of PAD.
        row_index: for each sentence of each document, its row in the concatenated buckets; -1 where the document has no
            such sentence. Unused documents consist of -1.
        next_tokens: token ids of the next document of the same group, without end marks, followed by PAD; PAD alone
            where there is none. Batches of a training run have it; evaluation does not need it.
    """

    buckets: tuple[Int[Array, "row word"], ...]
    row_index: Int[Array, "doc sent"]
    next_tokens: Int[Array, "doc token"] | None = None


class Signals(NamedTuple):
    """Continuous series of different lengths, padded to the longest.

    Attributes:
        values: scaled values; 0 where none was observed, and after the end of a series.
        observed: True where a value was observed; a missing value is False within a valid step.
        mask: True where a step is valid.
    """

    values: Float[Array, "series time channel"]
    observed: Bool[Array, "series time channel"]
    mask: Bool[Array, "series time"]


AnyBatch = Batch | Signals
"""A batch of either kind of model."""
