"""A slow twin of the autoencoders: NumPy's float64, one document, sentence and word at a time.

Documents are lists of sentences, sentences lists of word ids with their end mark; there is no padding, no table and no
mask. Written from the equations in docs and docstrings; it shares only parameter names with hae_jax.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from support.oracle import NO_MASKS, attend, given, log_softmax, lstm_step, times

PAD = 0


def affine(x, params):
    return times(x, params["kernel"]) + params["bias"]


def layers(params):
    """Weights of a stack, bottom layer first."""
    stack = []
    for k in range(len(params)):
        p = params[f"layer_{k}"]
        norm = None
        if "norm_input" in p:
            norm = SimpleNamespace(
                input=p["norm_input"], recurrent=p["norm_recurrent"], cell=p["norm_cell"], bias=p.get("norm_bias")
            )
        output = None
        if "output_gain" in p:
            output = SimpleNamespace(gain=p["output_gain"], bias=p.get("output_bias"))
        stack.append(SimpleNamespace(
            kernel=p.get("kernel"), context=p.get("context"), recurrent=p["recurrent"], bias=p.get("bias"), norm=norm,
            output=output,
        ))  # fmt: skip
    return stack


class Oracle:
    """The models of `hae_jax.models`, given a config and parameters as NumPy arrays."""

    def __init__(self, config, params):
        self.config, self.params = config, params
        self.masks = SimpleNamespace(**vars(NO_MASKS))
        if config.zoneout_cell:
            self.masks.keep_cell = config.zoneout_cell
        if config.zoneout_hidden:
            self.masks.keep_hidden = config.zoneout_hidden

    # One step of a stack, and what goes in and out of it.

    def step(self, states, x, stack, context=None):
        new = []
        for (cell, hidden), weights in zip(states, stack, strict=True):
            cell, hidden, _ = lstm_step(cell, hidden, x, weights, self.masks, context)
            new.append((cell, hidden))
            x, context = given(hidden, weights), None
        return new

    def zeros(self, stack):
        return [(np.zeros(len(w.recurrent)), np.zeros(len(w.recurrent))) for w in stack]

    def summary(self, states, stack):
        if self.config.bridge == "top_hidden":
            return given(states[-1][1], stack[-1])
        return np.concatenate([part for state in states for part in state])

    def opening(self, vector, params):
        if self.config.bridge == "top_hidden":
            vector = affine(vector, params)
        parts = np.split(vector, 2 * self.config.layers)
        return list(zip(parts[::2], parts[1::2], strict=True))

    def embed(self, word):
        table = self.params["words"]["embedding"]
        return np.zeros(table.shape[1]) if word == PAD else table[word]

    def logits(self, hidden):
        words = self.params["words"]
        if "bridge" in words:
            hidden = times(hidden, words["bridge"])
        kernel = words["embedding"].T if self.config.tie_embeddings else words["kernel"]
        return times(hidden, kernel) + words.get("bias", 0)

    def read(self, words, stack):
        """States after reading all words from nothing."""
        states = self.zeros(stack)
        for word in words:
            states = self.step(states, self.embed(word), stack)
        return states

    def say(self, vector, words, params):
        """Log-probabilities before each word, teacher forced, and the summary after the last word was read."""
        stack = layers(params["recurrent"])
        states = self.opening(vector, params.get("opening"))
        context = vector if self.config.conditioning == "every_step" else None
        rows = []
        for word in [PAD, *words]:
            states = self.step(states, self.embed(word), stack, context)
            rows.append(log_softmax(self.logits(given(states[-1][1], stack[-1]))))
        return rows[:-1], self.summary(states, stack)

    def turned(self, sequence):
        return sequence[::-1] if self.config.reverse else sequence

    # Hierarchical.

    def sentence_vectors(self, document):
        stack = layers(self.params["encoder"]["word"])
        turn = -1 if self.config.reverse and self.config.feedback != "sentence" else 1
        return [self.summary(self.read(sentence[::turn], stack), stack) for sentence in document]

    def encode(self, document):
        """The code, and the encoder's top hidden state at each sentence."""
        if self.config.kind == "flat":
            text = [word for sentence in document for word in sentence]
            stack = layers(self.params["encoder"])
            return self.summary(self.read(self.turned(text), stack), stack), []
        stack = layers(self.params["encoder"]["sentence"])
        states, memory = self.zeros(stack), []
        for vector in self.turned(self.sentence_vectors(document)):
            states = self.step(states, vector, stack)
            memory.append(given(states[-1][1], stack[-1]))
        return self.summary(states, stack), memory

    def decode(self, code, memory, document):
        """Log-probabilities before each word: a list of rows for each sentence."""
        if self.config.kind == "flat":
            rows, _ = self.say(code, [word for sentence in document for word in sentence], self.params["decoder"])
            starts = np.cumsum([0] + [len(sentence) for sentence in document])
            return [rows[a:b] for a, b in pairwise(starts)]
        config, params = self.config, self.params["sentence_decoder"]
        stack = layers(params["recurrent"])
        states = self.opening(code, params.get("opening"))
        own = self.sentence_vectors(document)
        feedback = np.zeros_like(own[0])
        results = []
        for number, sentence in enumerate(document):
            parts = [] if config.feedback == "none" else [feedback]
            if config.attention:
                weights = SimpleNamespace(**{k: params[f"attention_{k}"] for k in ("query", "memory", "score")})
                parts.append(attend(states[-1][1], np.array(memory), [True] * len(memory), weights))
            x = np.concatenate(parts) if parts else None
            states = self.step(states, x, stack, code if config.conditioning == "every_step" else None)
            vector = self.summary(states, stack)
            if config.bridge == "top_hidden":
                vector = times(vector, params["readout_kernel"]) + params["readout_bias"]
            rows, said = self.say(vector, sentence, self.params["word_decoder"])
            results.append(rows)
            feedback = said if config.feedback == "word" else own[number]
        return results

    def beside(self, document):
        """Log-probabilities of the auxiliary loss: each sentence from its own vector."""
        own = self.sentence_vectors(document)
        return [self.say(v, s, self.params["word_decoder"])[0] for v, s in zip(own, document, strict=True)]


def nats(rows, document):
    """The nats of each word: a list for each sentence."""
    return [
        [-row[word] for row, word in zip(sentence_rows, sentence, strict=True)]
        for sentence_rows, sentence in zip(rows, document, strict=True)
    ]
