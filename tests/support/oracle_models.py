"""An oracle of the autoencoders: NumPy's float64, one document, sentence and word at a time.

Documents are lists of sentences, sentences lists of token ids with their end mark; there are no padding, no buckets and
no masks. Written from the equations in docs and docstrings; it shares only parameter names with hae_jax.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from support.oracle import NO_MASKS, attend, layer_output, log_softmax, lstm_step, times

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

    # One step of a stack, its inputs and outputs.

    def step(self, states, x, stack, context=None):
        new = []
        for (cell, hidden), weights in zip(states, stack, strict=True):
            cell, hidden, _ = lstm_step(cell, hidden, x, weights, self.masks, context)
            new.append((cell, hidden))
            x, context = layer_output(hidden, weights), None
        return new

    def zeros(self, stack):
        return [(np.zeros(len(w.recurrent)), np.zeros(len(w.recurrent))) for w in stack]

    def final_vector(self, states, stack):
        if self.config.bridge == "top_hidden":
            return layer_output(states[-1][1], stack[-1])
        return np.concatenate([part for state in states for part in state])

    def initial_states(self, vector, params):
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
        """States after all words, from states of zeros."""
        states = self.zeros(stack)
        for word in words:
            states = self.step(states, self.embed(word), stack)
        return states

    def decode_words(self, vector, words, params):
        """Log-probabilities before each word, teacher forced, and the vector of the last states."""
        stack = layers(params["recurrent"])
        states = self.initial_states(vector, params.get("opening"))
        context = vector if self.config.conditioning == "every_step" else None
        rows = []
        for word in [PAD, *words]:
            states = self.step(states, self.embed(word), stack, context)
            rows.append(log_softmax(self.logits(layer_output(states[-1][1], stack[-1]))))
        return rows[:-1], self.final_vector(states, stack)

    def ordered(self, sequence):
        return sequence[::-1] if self.config.reverse else sequence

    # Hierarchical.

    def sentence_vectors(self, document):
        stack = layers(self.params["encoder"]["word"])
        return [self.final_vector(self.read(self.ordered(sentence), stack), stack) for sentence in document]

    def encode(self, document):
        """The code, and the encoder's top hidden state at each sentence."""
        if self.config.kind == "flat":
            text = [word for sentence in document for word in sentence]
            stack = layers(self.params["encoder"])
            return self.final_vector(self.read(self.ordered(text), stack), stack), []
        stack = layers(self.params["encoder"]["sentence"])
        states, memory = self.zeros(stack), []
        for vector in self.ordered(self.sentence_vectors(document)):
            states = self.step(states, vector, stack)
            memory.append(layer_output(states[-1][1], stack[-1]))
        return self.final_vector(states, stack), memory

    def decode(self, code, memory, document):
        """Log-probabilities before each word: a list of rows for each sentence."""
        if self.config.kind == "flat":
            rows, _ = self.decode_words(
                code, [word for sentence in document for word in sentence], self.params["decoder"]
            )
            starts = np.cumsum([0] + [len(sentence) for sentence in document])
            return [rows[a:b] for a, b in pairwise(starts)]
        config, params = self.config, self.params["sentence_decoder"]
        stack = layers(params["recurrent"])
        states = self.initial_states(code, params.get("opening"))
        encoder_vectors = self.sentence_vectors(document)
        feedback = np.zeros_like(encoder_vectors[0])
        results = []
        for number, sentence in enumerate(document):
            parts = [] if config.feedback == "none" else [feedback]
            if config.attention:
                weights = SimpleNamespace(**{k: params[f"attention_{k}"] for k in ("query", "memory", "score")})
                parts.append(attend(states[-1][1], np.array(memory), [True] * len(memory), weights))
            x = np.concatenate(parts) if parts else None
            states = self.step(states, x, stack, code if config.conditioning == "every_step" else None)
            vector = self.final_vector(states, stack)
            if config.bridge == "top_hidden":
                vector = times(vector, params["readout_kernel"]) + params["readout_bias"]
            rows, last = self.decode_words(vector, sentence, self.params["word_decoder"])
            results.append(rows)
            feedback = last if config.feedback == "word" else encoder_vectors[number]
        return results

    def decode_from_encoder_vectors(self, document):
        """Log-probabilities of the auxiliary loss: each sentence from its encoder vector."""
        encoder_vectors = self.sentence_vectors(document)
        return [
            self.decode_words(v, s, self.params["word_decoder"])[0]
            for v, s in zip(encoder_vectors, document, strict=True)
        ]


def nats(rows, document):
    """The nats of each word: a list for each sentence."""
    return [
        [-row[word] for row, word in zip(sentence_rows, sentence, strict=True)]
        for sentence_rows, sentence in zip(rows, document, strict=True)
    ]
