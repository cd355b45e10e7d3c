"""Healthy recurrent models as PyTorch users write them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.doctor.torch_models import (
    BATCH,
    HIDDEN,
    STEPS,
    VOCABULARY,
    CellAutoencoder,
    Classifier,
    ConvolutionalLSTM,
    Forecaster,
    LanguageModel,
    SeriesAutoencoder,
    Tagger,
    TextAutoencoder,
    Training,
    Translator,
    adam,
    batched,
    next_word_loss,
    sentences,
    waves,
    word_loss,
)


def series_autoencoder(**options: Any) -> Training:
    """Returns an autoencoder of waves, examined with a criterion."""
    module = SeriesAutoencoder(**options)
    x = waves()
    return Training(module, nn.MSELoss(), batched(x, x), adam(module))


def text_autoencoder() -> Training:
    """Returns an autoencoder of packed sentences."""
    module = TextAutoencoder()
    return Training(module, word_loss, batched(*sentences()), adam(module), {"clip_norm": 1.0})


def translator() -> Training:
    """Returns a decoder that is called step by step with teacher forcing half of the time."""
    module = Translator()
    words, _ = sentences(shortest=STEPS)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        source = batch[0].t()
        return nn.CrossEntropyLoss()(model(source, source).view(-1, VOCABULARY), source.reshape(-1))

    return Training(module, loss, batched(words), adam(module))


def language_model() -> Training:
    """Returns a language model that SGD with momentum trains, with a clip."""
    module = LanguageModel()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    return Training(module, next_word_loss, batched(sentences()[0]), optimizer, {"clip_norm": 0.25})


def classifier() -> Training:
    """Returns a classifier of packed sentences: does a word occur in the first half?"""
    module = Classifier()
    words, lengths = sentences()
    labels = (words[:, : STEPS // 2] < VOCABULARY // 4).sum(1) > 2

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(model(batch[0], batch[1]), batch[2])

    return Training(module, loss, batched(words, lengths, labels.long()), adam(module))


def binary_classifier() -> Training:
    """Returns a classifier of one logit."""
    module = Classifier(classes=1)
    words, lengths = sentences()
    labels = (words % 2).float().mean(1) > 0.3

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0], batch[1]).squeeze(1), batch[2])

    return Training(module, loss, batched(words, lengths, labels.float()), adam(module))


def tagger() -> Training:
    """Returns a tagger whose loss is that of the words a mask selects."""
    module = Tagger()
    words, lengths = sentences()
    tags = (words + words.roll(1, 1)) % 3

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        words, lengths, tags = batch
        mask = words != 0
        return F.cross_entropy(model(words, lengths)[mask], tags[mask])

    return Training(module, loss, batched(words, lengths, tags), adam(module))


def forecaster() -> Training:
    """Returns a forecaster of the next value, in the loop of `criterion(output, target)`."""
    module = Forecaster()
    x = waves(STEPS + 1, 1)
    return Training(
        module, nn.MSELoss(), batched(x[:, :-1], x[:, -1, 0]), torch.optim.RMSprop(module.parameters(), 3e-3)
    )


def deep_forecaster() -> Training:
    """Returns a forecaster of two layers, whose prediction and target are columns."""
    module = Forecaster(layers=2, squeeze=False)
    x = waves(STEPS + 1, 1)
    return Training(
        module, F.smooth_l1_loss, batched(x[:, :-1], x[:, -1]), torch.optim.AdamW(module.parameters(), 5e-3)
    )


def convolutional() -> Training:
    """Returns convolutions with batch normalization before an LSTM."""
    module = ConvolutionalLSTM()
    x = waves(20)
    labels = (x.abs().mean((1, 2)) > x.abs().mean()).long()
    return Training(module, nn.CrossEntropyLoss(), batched(x, labels), adam(module))


def cells() -> Training:
    """Returns loops over LSTM cells."""
    module = CellAutoencoder()

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        (x,) = batch
        return ((model(x) - x) ** 2).mean()

    return Training(module, loss, batched(waves()), adam(module))


def own_cell() -> Training:
    """Returns an LSTM written out with linear layers."""

    class OwnLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates = nn.Linear(2 + HIDDEN, 4 * HIDDEN)
            self.out = nn.Linear(HIDDEN, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h, c = torch.zeros(len(x), HIDDEN), torch.zeros(len(x), HIDDEN)
            ys = []
            for step in x.unbind(1):
                i, f, g, o = self.gates(torch.cat([step, h], -1)).chunk(4, -1)
                c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                ys.append(self.out(h))
            return torch.stack(ys, 1)

    module, x = OwnLSTM(), waves(STEPS + 1)
    return Training(module, nn.MSELoss(), batched(x[:, :-1], x[:, 1:]), adam(module))


def pretrained() -> Training:
    """Returns a classifier on frozen word vectors."""
    module = Classifier()
    module.embedding = nn.Embedding.from_pretrained(torch.randn(VOCABULARY, 16), freeze=True, padding_idx=0)
    words, lengths = sentences()
    labels = (words[:, :3] > VOCABULARY // 2).sum(1)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        logits = model(batch["words"], batch["lengths"])
        return F.cross_entropy(logits, (batch["labels"] > 1).long())

    batches = [
        {"words": words[at : at + BATCH], "lengths": lengths[at : at + BATCH], "labels": labels[at : at + BATCH]}
        for at in range(0, len(words), BATCH)
    ]
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 5e-3)
    return Training(module, loss, batches, optimizer)


def variational() -> Training:
    """Returns a variational autoencoder of waves."""

    class Variational(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.LSTM(2, 32, batch_first=True)
            self.mean, self.log_variance = nn.Linear(32, 8), nn.Linear(32, 8)
            self.decoder = nn.LSTM(8, 32, batch_first=True)
            self.output = nn.Linear(32, 2)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.encoder(x)[1][0][-1]
            mean, log_variance = self.mean(h), self.log_variance(h)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
            return self.output(self.decoder(z[:, None].expand(-1, x.size(1), -1))[0]), mean, log_variance

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        (x,) = batch
        output, mean, log_variance = model(x)
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return F.mse_loss(output, x) + 0.001 * divergence

    module = Variational()
    return Training(module, loss, batched(waves()), adam(module))


HEALTHY: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("LSTM autoencoder", series_autoencoder, "healthy"),
    ("GRU autoencoder", lambda: series_autoencoder(layer=nn.GRU), "healthy"),
    ("packed text autoencoder", text_autoencoder, "healthy"),
    ("seq2seq with teacher forcing", translator, "healthy"),
    ("language model", language_model, "healthy"),
    ("packed classifier", classifier, "healthy"),
    ("binary classifier", binary_classifier, "healthy"),
    ("bidirectional tagger", tagger, "healthy"),
    ("forecaster", forecaster, "healthy"),
    ("forecaster of two layers", deep_forecaster, "healthy"),
    ("Conv1d and LSTM", convolutional, "healthy"),
    ("loop over LSTMCell", cells, "healthy"),
    ("own cell", own_cell, "healthy"),
    ("frozen word vectors", pretrained, "healthy"),
    ("variational autoencoder", variational, "healthy"),
)
