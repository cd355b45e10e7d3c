"""The hierarchical autoencoder in idiomatic PyTorch: `nn.LSTM`, padded tensors or packed sequences.

The same parameters, loss, clip and Adam as ours with `bridge` "top_hidden", `conditioning` "every_step", `feedback`
"none", tied embeddings of the size of the hidden states, and neither layer normalization nor auxiliary losses. Both
read backwards; what can be prepared before a step, reversed sentences and their lengths, is. `nn.LSTM` has no
context input, so the context is concatenated to the embedding of every word.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, linear
from torch.nn.utils.rnn import pack_padded_sequence

from hae_jax.batch import PAD
from hae_jax.config import Config, ModelConfig
from hae_jax.training.optim import CLIPPERS


class Text(NamedTuple):
    """A prepared batch of documents.

    Attributes:
        words: ids, padded to the longest sentence, [doc, sent, word].
        before: inputs of the decoder: PAD, then all words but the last.
        backwards: each sentence reversed, padding last.
        lengths: words of each sentence, on the CPU, as PyTorch requires.
        order: for each position in a document, the sentence that is read there: the last one first.
        counts: sentences of each document, on the CPU.
        rows: indices of the real sentences in the flat array of all.
    """

    words: Tensor
    before: Tensor
    backwards: Tensor
    lengths: Tensor
    order: Tensor
    counts: Tensor
    rows: Tensor


def prepare_text(words: np.ndarray, device: torch.device) -> Text:
    """Prepares documents, [doc, sent, word], whose missing sentences come last."""
    lengths = (words != PAD).sum(-1)
    counts = (lengths > 0).sum(-1)
    words = words[:, :, : lengths.max()].astype(np.int64)
    # From the last word to the first; padding remains last.
    positions = lengths[..., None] - 1 - np.arange(words.shape[2])
    backwards = np.where(positions >= 0, np.take_along_axis(words, np.maximum(positions, 0), -1), PAD)
    order = np.maximum(counts[:, None] - 1 - np.arange(words.shape[1]), 0)
    before = np.pad(words, ((0, 0), (0, 0), (1, 0)))[..., :-1]
    rows = np.flatnonzero(lengths.ravel())
    on_device = {"words": words, "before": before, "backwards": backwards, "order": order, "rows": rows}
    tensors = {name: torch.from_numpy(array).to(device) for name, array in on_device.items()}
    return Text(lengths=torch.from_numpy(lengths), counts=torch.from_numpy(counts), **tensors)


class TorchAutoencoder(nn.Module):
    """The model.

    Args:
        config: sizes.
        params: our parameters, as initial values.
    """

    def __init__(self, config: ModelConfig, params: PyTree) -> None:
        super().__init__()
        self.layers = config.layers
        encoder, above, below = params["encoder"], params["sentence_decoder"], params["word_decoder"]
        self.table = _parameter(params["words"]["embedding"])
        self.bias = _parameter(params["words"]["bias"])
        self.encoder_word = _lstm(encoder["word"])
        self.encoder_sentence = _lstm(encoder["sentence"])
        self.decoder_sentence, self.decoder_word = _lstm(above["recurrent"]), _lstm(below["recurrent"])
        self.open_sentence, self.open_word = _linear(**above["opening"]), _linear(**below["opening"])
        self.readout_sentence = _linear(above["readout_kernel"], above["readout_bias"])

    def forward(self, text: Text, packed: bool) -> Tensor:
        """Returns the mean nats per token."""
        return self.packed(text) if packed else self.padded(text)

    def padded(self, text: Text) -> Tensor:
        """Computes the loss with padded tensors."""
        docs, sents, width = text.words.shape
        device = text.words.device
        vectors = _last(self.encoder_word(self._embed(text.backwards.flatten(0, 1)))[0], text.lengths.flatten())
        vectors = vectors.view(docs, sents, -1)
        vectors = vectors.gather(1, text.order[..., None].expand(-1, -1, vectors.shape[-1]))
        code = _last(self.encoder_sentence(vectors)[0], text.counts)
        vectors = self._sentence_vectors(code, sents).flatten(0, 1)
        inputs = torch.cat([self._embed(text.before.flatten(0, 1)), vectors[:, None].expand(-1, width, -1)], -1)
        hidden, _ = self.decoder_word(inputs, self._states(self.open_word(vectors)))
        logits = linear(hidden.flatten(0, 1), self.table, self.bias)
        return cross_entropy(logits.float(), text.words.flatten().to(device), ignore_index=PAD)

    def packed(self, text: Text) -> Tensor:
        """Computes the loss with packed sequences: real words only."""
        docs, sents, _ = text.words.shape
        lengths = text.lengths.flatten()
        lengths = lengths[lengths > 0]
        _, (last, _) = self.encoder_word(self._pack(self._embed(text.backwards.flatten(0, 1)[text.rows]), lengths))
        vectors = last.new_zeros(docs * sents, last.shape[-1]).index_copy(0, text.rows, last[-1]).view(docs, sents, -1)
        vectors = vectors.gather(1, text.order[..., None].expand(-1, -1, vectors.shape[-1]))
        _, (code, _) = self.encoder_sentence(self._pack(vectors, text.counts))
        vectors = self._sentence_vectors(code[-1], sents).flatten(0, 1)[text.rows]
        before = self._embed(text.before.flatten(0, 1)[text.rows])
        inputs = self._pack(torch.cat([before, vectors[:, None].expand(-1, before.shape[1], -1)], -1), lengths)
        hidden, _ = self.decoder_word(inputs, self._states(self.open_word(vectors)))
        targets = self._pack(text.words.flatten(0, 1)[text.rows], lengths).data
        return cross_entropy(linear(hidden.data, self.table, self.bias).float(), targets)

    def _embed(self, words: Tensor) -> Tensor:
        """Returns word vectors; that of PAD is zero."""
        return embedding(words, self.table) * (words != PAD)[..., None]

    def _sentence_vectors(self, code: Tensor, sents: int) -> Tensor:
        """Decodes a code into the vector of each sentence."""
        states = self._states(self.open_sentence(code))
        hidden, _ = self.decoder_sentence(code[:, None].expand(-1, sents, -1).contiguous(), states)
        return self.readout_sentence(hidden)

    def _states(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Splits the output of an affine map into c and h of all layers; PyTorch takes h first."""
        parts = output.chunk(2 * self.layers, -1)
        return torch.stack(parts[1::2]), torch.stack(parts[::2])

    @staticmethod
    def _pack(values: Tensor, lengths: Tensor) -> Any:
        return pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)


class Trainer:
    """Training of the PyTorch model.

    Args:
        config: `model` and `optim`; the learning rate must be constant.
        params: our parameters.
        texts: batches, which the steps cycle through.
        packed: whether sequences are packed.
    """

    def __init__(self, config: Config, params: PyTree, texts: list[Text], packed: bool) -> None:
        self.texts, self.is_packed, self.step = texts, packed, 0
        self.device = texts[0].words.device
        self.dtype = getattr(torch, config.model.dtype)
        self.model = TorchAutoencoder(config.model, params).to(self.device)
        self.clip = config.optim.clip_norm or CLIPPERS["global_norm"][1]
        sentence = [p for name, p in self.model.named_parameters() if "sentence" in name and p.requires_grad]
        others = [p for name, p in self.model.named_parameters() if "sentence" not in name and p.requires_grad]
        optim = config.optim
        slow: dict[str, Any] = {"params": sentence, "lr": optim.learning_rate * optim.sentence_lr_scale}
        self.optimizer = torch.optim.Adam(
            [slow, {"params": others}], optim.learning_rate, (optim.b1, optim.b2), optim.eps, fused=True
        )

    def advance(self) -> tuple[Tensor, Tensor]:
        """Takes a step; returns the loss before it, and the gradient norm."""
        text = self.texts[self.step % len(self.texts)]
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.model(text, self.is_packed)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach(), norm

    def run(self, calls: int) -> None:
        """Takes the given number of steps, and waits for the device."""
        for _ in range(calls):
            self.advance()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Returns the hidden state after each row's last valid step; zeros for rows without one."""
    lengths = lengths.to(hidden.device)
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, (lengths - 1).clamp(min=0)] * (lengths > 0)[:, None]


def _parameter(array: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)))


def _linear(kernel: Any, bias: Any) -> nn.Linear:
    layer = nn.Linear(*kernel.shape)
    layer.weight, layer.bias = _parameter(np.asarray(kernel).T), _parameter(bias)
    return layer


def _lstm(params: PyTree) -> nn.LSTM:
    """Converts our parameters of a stack: input and context kernels are concatenated; the second bias stays zero."""
    stack = [params[f"layer_{index}"] for index in range(len(params))]
    kernels = [
        np.concatenate([np.asarray(layer[name]) for name in ("kernel", "context") if name in layer]) for layer in stack
    ]
    lstm = nn.LSTM(len(kernels[0]), len(stack[0]["recurrent"]), len(stack), batch_first=True)
    for index, (layer, kernel) in enumerate(zip(stack, kernels, strict=True)):
        setattr(lstm, f"weight_ih_l{index}", _parameter(kernel.T))
        setattr(lstm, f"weight_hh_l{index}", _parameter(np.asarray(layer["recurrent"]).T))
        setattr(lstm, f"bias_ih_l{index}", _parameter(layer["bias"]))
        getattr(lstm, f"bias_hh_l{index}").data.zero_()
        getattr(lstm, f"bias_hh_l{index}").requires_grad_(False)
    lstm.flatten_parameters()
    return lstm
