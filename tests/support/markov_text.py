"""A tiny autoencoder with a closed form: a table of word pairs, and a code that favours words."""

import flax.linen as nn
import jax.numpy as jnp

from hae_jax.batch import EOS, PAD, Batch
from hae_jax.models.outputs import Code, Scores
from hae_jax.models.ragged import dense_tokens


class Markov(nn.Module):
    """Logits of the next word: a row of `follow`, chosen by the last word, plus the logits of the code.

    The code is the mean of the rows of `embed` of all words of a document.
    """

    vocab: int
    code: int

    def setup(self):
        normal = nn.initializers.normal(1.0)
        self.follow = self.param("follow", normal, (self.vocab, self.vocab))
        self.embed = self.param("embed", normal, (self.vocab, self.code))
        self.project = self.param("project", normal, (self.code, self.vocab))

    def encode(self, batch: Batch) -> Code:
        words = dense_tokens(batch)
        mask = (words != PAD)[..., None]
        total = (self.embed[words] * mask).sum((1, 2))
        return Code(total / jnp.maximum(1, mask.sum((1, 2))))

    def score(self, code: Code, batch: Batch) -> Scores:
        words = dense_tokens(batch)
        docs, sents = words.shape[:2]
        first = jnp.where(jnp.arange(sents) == 0, PAD, EOS)
        before = jnp.concatenate([jnp.broadcast_to(first[None, :, None], (docs, sents, 1)), words[..., :-1]], 2)
        logits = self.follow[before] + (code.document @ self.project)[:, None, None]
        nll = -jnp.take_along_axis(nn.log_softmax(logits), words[..., None], -1)[..., 0]
        doc, sent, _ = jnp.indices(words.shape)
        columns = nll, logits.argmax(-1) == words, words != PAD, doc, sent
        return Scores(*(column.reshape(-1) for column in columns))

    def start(self, code: Code, max_tokens: int):
        return {"code_logits": code.document @ self.project}

    def step(self, state, token):
        return state, self.follow[token] + state["code_logits"]

    def __call__(self, batch: Batch):
        return self.score(self.encode(batch), batch)
