"""Small documents and the batches made of them, written out by hand: the pipeline is no witness of itself."""

import jax.numpy as jnp
import numpy as np

from hae_jax.batch import EOD, EOS, PAD, Batch

VOCAB = 13
DOCUMENTS = (
    [[7, 4, EOS], [5, EOS], [9, 6, 12, 4, 8, EOD]],
    [[11, EOD]],
    [[4, 8, 10, 7, EOS], [12, 5, 6, EOD]],
)
"""Three documents, as the models' slow twin wants them."""


def batch(documents=DOCUMENTS, widths=(3, 7), spare_rows=1, spare_docs=1, spare_sents=1, order=None) -> Batch:
    """Lays documents out as tables of sentences.

    Args:
        documents: lists of sentences; an empty one is spare room.
        widths: words a row of each table; a sentence goes to the first table that holds it.
        spare_rows: rows of padding at the end of each table.
        spare_docs: empty documents at the end.
        spare_sents: empty sentences at the end of the longest document.
        order: key by which sentences, as (document, sentence), are sorted into rows.
    """
    sents = max(map(len, documents)) + spare_sents
    tables, places = [[] for _ in widths], {}
    numbers = [(d, s) for d, document in enumerate(documents) for s in range(len(document))]
    for d, s in sorted(numbers, key=order):
        sentence = documents[d][s]
        table = next(k for k, width in enumerate(widths) if len(sentence) <= width)
        places[d, s] = table, len(tables[table])
        tables[table].append(sentence + [PAD] * (widths[table] - len(sentence)))
    tables = [rows + [[PAD] * width] * spare_rows for rows, width in zip(tables, widths, strict=True)]
    slots = np.full((len(documents) + spare_docs, sents), -1)
    for (d, s), (table, row) in places.items():
        slots[d, s] = sum(map(len, tables[:table])) + row
    arrays = (jnp.asarray(np.array(rows).reshape(-1, w), jnp.int32) for rows, w in zip(tables, widths, strict=True))
    return Batch(tuple(arrays), jnp.asarray(slots, jnp.int32))
