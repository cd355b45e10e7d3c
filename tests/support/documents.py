"""Small documents and the batches made of them, written by hand, independently of the data pipeline."""

import jax.numpy as jnp
import numpy as np

from hae_jax.batch import EOD, EOS, PAD, Batch

VOCAB = 13
DOCUMENTS = (
    [[7, 4, EOS], [5, EOS], [9, 6, 12, 4, 8, EOD]],
    [[11, EOD]],
    [[4, 8, 10, 7, EOS], [12, 5, 6, EOD]],
)
"""Three documents, in the format of the models' oracle."""


def batch(documents=DOCUMENTS, widths=(3, 7), spare_rows=1, spare_docs=1, spare_sents=1, order=None) -> Batch:
    """Returns a batch of documents.

    Args:
        documents: lists of sentences; an empty one is an unused document.
        widths: width of each bucket; a sentence is put into the first bucket that is wide enough.
        spare_rows: unused rows at the end of each bucket.
        spare_docs: empty documents at the end.
        spare_sents: empty sentences at the end of the longest document.
        order: key by which sentences, as (document, sentence), are sorted into rows.
    """
    sents = max(map(len, documents)) + spare_sents
    buckets, places = [[] for _ in widths], {}
    numbers = [(d, s) for d, document in enumerate(documents) for s in range(len(document))]
    for d, s in sorted(numbers, key=order):
        sentence = documents[d][s]
        bucket = next(k for k, width in enumerate(widths) if len(sentence) <= width)
        places[d, s] = bucket, len(buckets[bucket])
        buckets[bucket].append(sentence + [PAD] * (widths[bucket] - len(sentence)))
    buckets = [rows + [[PAD] * width] * spare_rows for rows, width in zip(buckets, widths, strict=True)]
    row_index = np.full((len(documents) + spare_docs, sents), -1)
    for (d, s), (bucket, row) in places.items():
        row_index[d, s] = sum(map(len, buckets[:bucket])) + row
    arrays = (jnp.asarray(np.array(rows).reshape(-1, w), jnp.int32) for rows, w in zip(buckets, widths, strict=True))
    return Batch(tuple(arrays), jnp.asarray(row_index, jnp.int32))
