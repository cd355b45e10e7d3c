"""The smallest model that trains: every word is predicted from the mean of its document's words."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from hae_jax.batch import EOD, EOS, Batch
from hae_jax.layers.losses import Loss
from hae_jax.models import Losses

VOCAB = 23


class Fake(nn.Module):
    """Implements what the training step needs of a model."""

    dropout: float = 0.5

    @nn.compact
    def __call__(self, batch, train=False):
        words = jnp.concatenate([table.reshape(-1) for table in batch.buckets])
        owner = jnp.concatenate([owners(table, batch.row_index, at) for table, at in places(batch)])
        mask = (words != 0) & (owner >= 0)
        vectors = nn.Embed(VOCAB, 7, name="embed")(words) * mask[:, None]
        mean = jnp.zeros((len(batch.row_index), 7)).at[owner].add(vectors)
        mean = nn.Dropout(self.dropout, deterministic=not train)(jnp.tanh(nn.Dense(7, name="code")(mean)))
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (7, VOCAB))
        nats = -jnp.take_along_axis(nn.log_softmax(mean[owner] @ kernel), words[:, None], axis=1)[:, 0]
        return Losses(Loss(jnp.sum(nats * mask), jnp.sum(mask, dtype=jnp.float32)), None)


def places(batch):
    """Buckets with the number of rows before each."""
    ends = np.cumsum([0, *(len(table) for table in batch.buckets)])
    return zip(batch.buckets, ends[:-1].tolist(), strict=True)


def owners(table, row_index, at):
    """The document of each word of a bucket, -1 where its row belongs to none."""
    rows = at + jnp.arange(len(table))
    matches = row_index[None] == rows[:, None, None]
    document = jnp.where(matches.any((1, 2)), jnp.argmax(matches.any(2), axis=1), -1)
    return jnp.repeat(document, table.shape[1])


def batch(seed=0, docs=8, sentences=3, rows=32):
    """A batch of one bucket, with unused rows and padding."""
    rng = np.random.default_rng(seed)
    table = np.zeros((rows, 5), np.int32)
    row_index = np.full((docs, sentences), -1, np.int32)
    row = 0
    for doc in range(docs):
        for sent in range(count := int(rng.integers(1, sentences + 1))):
            words = int(rng.integers(1, 5))
            table[row, :words] = rng.integers(4, VOCAB, words)
            table[row, words] = EOD if sent == count - 1 else EOS
            row_index[doc, sent] = row
            row += 1
    return Batch((table,), row_index)
