"""The hierarchical autoencoder in PyTorch, as one writes it there: `nn.LSTM`, dense tensors or packed sequences.

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
    """A batch of documents, ready to be trained on.

    Attributes:
        words: ids, as wide as the longest sentence, [doc, sent, word].
        before: what the decoder reads: PAD, then all but the last.
        backwards: each sentence from its last word on, padding behind.
        lengths: words of each sentence, on the CPU, where PyTorch wants them.
        order: for each place in a document, the sentence that is read there: from the last one on.
        counts: sentences of each document, on the CPU.
        rows: places of real sentences in the flat array of all, and which of those is which document's.
    """

    words: Tensor
    before: Tensor
    backwards: Tensor
    lengths: Tensor
    order: Tensor
    counts: Tensor
    rows: Tensor


def text(words: np.ndarray, device: torch.device) -> Text:
    """Prepares documents, [doc, sent, word], whose missing sentences come last."""
    lengths = (words != PAD).sum(-1)
    counts = (lengths > 0).sum(-1)
    words = words[:, :, : lengths.max()].astype(np.int64)
    # From the last one on; what is missing stays behind.
    back = lengths[..., None] - 1 - np.arange(words.shape[2])
    turned = np.where(back >= 0, np.take_along_axis(words, np.maximum(back, 0), -1), PAD)
    order = np.maximum(counts[:, None] - 1 - np.arange(words.shape[1]), 0)
    before = np.pad(words, ((0, 0), (0, 0), (1, 0)))[..., :-1]
    rows = np.flatnonzero(lengths.ravel())
    there = [torch.from_numpy(x).to(device) for x in (words, before, turned, order, rows)]
    return Text(there[0], there[1], there[2], torch.from_numpy(lengths), there[3], torch.from_numpy(counts), there[4])


class Twin(nn.Module):
    """The model.

    Args:
        config: sizes.
        params: our parameters, with which it begins.
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
        """Returns the mean nats a token."""
        return self.packed(text) if packed else self.padded(text)

    def padded(self, text: Text) -> Tensor:
        """Runs over dense tensors, padding and all."""
        docs, sents, width = text.words.shape
        device = text.words.device
        vectors = _last(self.encoder_word(self._look(text.backwards.flatten(0, 1)))[0], text.lengths.flatten())
        vectors = vectors.view(docs, sents, -1)
        vectors = vectors.gather(1, text.order[..., None].expand(-1, -1, vectors.shape[-1]))
        code = _last(self.encoder_sentence(vectors)[0], text.counts)
        told = self._unfold(code, sents).flatten(0, 1)
        said = torch.cat([self._look(text.before.flatten(0, 1)), told[:, None].expand(-1, width, -1)], -1)
        hidden, _ = self.decoder_word(said, self._states(self.open_word(told)))
        logits = linear(hidden.flatten(0, 1), self.table, self.bias)
        return cross_entropy(logits.float(), text.words.flatten().to(device), ignore_index=PAD)

    def packed(self, text: Text) -> Tensor:
        """Runs over packed sequences: real words alone."""
        docs, sents, _ = text.words.shape
        lengths = text.lengths.flatten()
        lengths = lengths[lengths > 0]
        _, (last, _) = self.encoder_word(self._pack(self._look(text.backwards.flatten(0, 1)[text.rows]), lengths))
        vectors = last.new_zeros(docs * sents, last.shape[-1]).index_copy(0, text.rows, last[-1]).view(docs, sents, -1)
        vectors = vectors.gather(1, text.order[..., None].expand(-1, -1, vectors.shape[-1]))
        _, (code, _) = self.encoder_sentence(self._pack(vectors, text.counts))
        told = self._unfold(code[-1], sents).flatten(0, 1)[text.rows]
        before = self._look(text.before.flatten(0, 1)[text.rows])
        said = self._pack(torch.cat([before, told[:, None].expand(-1, before.shape[1], -1)], -1), lengths)
        hidden, _ = self.decoder_word(said, self._states(self.open_word(told)))
        targets = self._pack(text.words.flatten(0, 1)[text.rows], lengths).data
        return cross_entropy(linear(hidden.data, self.table, self.bias).float(), targets)

    def _look(self, words: Tensor) -> Tensor:
        """Looks word vectors up; PAD's is zero."""
        return embedding(words, self.table) * (words != PAD)[..., None]

    def _unfold(self, code: Tensor, sents: int) -> Tensor:
        """Finds the vector of each sentence."""
        states = self._states(self.open_sentence(code))
        hidden, _ = self.decoder_sentence(code[:, None].expand(-1, sents, -1).contiguous(), states)
        return self.readout_sentence(hidden)

    def _states(self, opened: Tensor) -> tuple[Tensor, Tensor]:
        """Cuts an affine map's result into c and h of all layers; PyTorch wants h first."""
        parts = opened.chunk(2 * self.layers, -1)
        return torch.stack(parts[1::2]), torch.stack(parts[::2])

    @staticmethod
    def _pack(values: Tensor, lengths: Tensor) -> Any:
        return pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)


class Trainer:
    """A twin on its way.

    Args:
        config: `model` and `optim`; the learning rate must be constant.
        params: our parameters.
        texts: batches, which are visited in turn.
        packed: whether sequences are packed.
    """

    def __init__(self, config: Config, params: PyTree, texts: list[Text], packed: bool) -> None:
        self.texts, self.is_packed, self.step = texts, packed, 0
        self.device = texts[0].words.device
        self.dtype = getattr(torch, config.model.dtype)
        self.model = Twin(config.model, params).to(self.device)
        self.clip = config.optim.clip_norm or CLIPPERS["global_norm"][1]
        sentence = [p for name, p in self.model.named_parameters() if "sentence" in name and p.requires_grad]
        others = [p for name, p in self.model.named_parameters() if "sentence" not in name and p.requires_grad]
        optim = config.optim
        slow: dict[str, Any] = {"params": sentence, "lr": optim.learning_rate * optim.sentence_lr_scale}
        self.optimizer = torch.optim.Adam(
            [slow, {"params": others}], optim.learning_rate, (optim.b1, optim.b2), optim.eps, fused=True
        )

    def advance(self) -> tuple[Tensor, Tensor]:
        """Takes a step; returns the loss before it, and the norm of its gradient."""
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
        """Takes so many steps, and waits for them."""
        for _ in range(calls):
            self.advance()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Takes the hidden state after each row's last real step; zeros for rows without one."""
    lengths = lengths.to(hidden.device)
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, (lengths - 1).clamp(min=0)] * (lengths > 0)[:, None]


def _parameter(array: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)))


def _linear(kernel: Any, bias: Any) -> nn.Linear:
    made = nn.Linear(*kernel.shape)
    made.weight, made.bias = _parameter(np.asarray(kernel).T), _parameter(bias)
    return made


def _lstm(params: PyTree) -> nn.LSTM:
    """Turns our parameters of a stack into PyTorch's: input and context side by side, one bias of its two at rest."""
    stack = [params[f"layer_{place}"] for place in range(len(params))]
    kernels = [
        np.concatenate([np.asarray(layer[name]) for name in ("kernel", "context") if name in layer]) for layer in stack
    ]
    made = nn.LSTM(len(kernels[0]), len(stack[0]["recurrent"]), len(stack), batch_first=True)
    for place, (layer, kernel) in enumerate(zip(stack, kernels, strict=True)):
        setattr(made, f"weight_ih_l{place}", _parameter(kernel.T))
        setattr(made, f"weight_hh_l{place}", _parameter(np.asarray(layer["recurrent"]).T))
        setattr(made, f"bias_ih_l{place}", _parameter(layer["bias"]))
        getattr(made, f"bias_hh_l{place}").data.zero_()
        getattr(made, f"bias_hh_l{place}").requires_grad_(False)
    made.flatten_parameters()
    return made
