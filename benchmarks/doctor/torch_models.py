"""Recurrent models as PyTorch users write them, and small data for them."""

import random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

VOCABULARY, STEPS, BATCH, HIDDEN, BATCHES = 20, 10, 16, 24, 30
"""Sizes; id 0 is padding, 1 the start of a sentence."""


class Training(NamedTuple):
    """What `examine` takes: `examine(module, loss_fn, batches, optimizer, **options)`."""

    module: nn.Module
    loss_fn: Any
    batches: Any
    optimizer: Any
    options: dict[str, Any] = {}  # noqa: RUF012


def waves(steps: int = STEPS, channels: int = 2, scale: float = 1.0, count: int = BATCH * BATCHES) -> torch.Tensor:
    """Returns noisy sines `[example, time, channel]`."""
    g = torch.Generator().manual_seed(0)
    pitch = torch.rand(count, 1, channels, generator=g) * 0.8 + 0.2
    phase = torch.rand(count, 1, channels, generator=g) * 6.3
    time = torch.arange(steps)[None, :, None]
    return scale * (torch.sin(pitch * time + phase) + 0.1 * torch.randn(count, steps, channels, generator=g))


def sentences(count: int = BATCH * BATCHES, steps: int = STEPS, shortest: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ids `[example, time]` of a Markov chain, padded with 0, and their lengths."""
    g = torch.Generator().manual_seed(0)
    successors = torch.randint(2, VOCABULARY, (VOCABULARY, 3), generator=g)
    ids = torch.zeros(count, steps, dtype=torch.long)
    word = torch.randint(2, VOCABULARY, (count,), generator=g)
    for step in range(steps):
        ids[:, step] = word
        word = successors[word, torch.randint(0, 3, (count,), generator=g)]
    lengths = torch.randint(shortest, steps + 1, (count,), generator=g)
    return ids * (torch.arange(steps)[None] < lengths[:, None]), lengths


def batched(*tensors: torch.Tensor) -> Any:
    """Returns a loader of batches of tensors, or of tuples of them."""
    dataset = torch.utils.data.TensorDataset(*tensors)
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True)


def adam(module: nn.Module, lr: float = 5e-3) -> Any:
    """Returns Adam."""
    return torch.optim.Adam(module.parameters(), lr=lr)


def open_gates(module: nn.Module) -> None:
    """Sets the biases of forget gates to 1."""
    for name, value in module.named_parameters():
        if "bias_ih" in name:
            hidden = value.numel() // 4
            nn.init.constant_(value[hidden : 2 * hidden], 1.0)


class SeriesAutoencoder(nn.Module):
    """An LSTM autoencoder of series whose decoder reads the repeated code."""

    def __init__(self, channels: int = 2, hidden: int = HIDDEN, layer: Any = nn.LSTM, **options: Any):
        super().__init__()
        self.encoder = layer(channels, hidden, batch_first=True, **options)
        self.decoder = layer(hidden, hidden, batch_first=True, **options)
        self.output = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, state = self.encoder(x)
        code = (state[0] if isinstance(state, tuple) else state)[-1]
        repeated = code.unsqueeze(1).repeat(1, x.size(1), 1)
        decoded, _ = self.decoder(repeated)
        return self.output(decoded)


class TextAutoencoder(nn.Module):
    """An autoencoder of padded sentences with packed sequences and teacher forcing.

    The switches are the mistakes that can be made in it.
    """

    def __init__(
        self,
        hidden: int = HIDDEN,
        packed: bool = True,
        wired: bool = True,
        swapped: bool = False,
        leak: bool = False,
        softmax: bool = False,
        detached: bool = False,
        dropout: float = 0.0,
        batch_first: bool = True,
    ):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16, padding_idx=0)
        self.encoder = nn.LSTM(16, hidden, batch_first=batch_first)
        self.decoder = nn.LSTM(16, hidden, batch_first=batch_first)
        self.output = nn.Linear(hidden, VOCABULARY)
        self.packed, self.wired, self.swapped, self.leak = packed, wired, swapped, leak
        self.softmax, self.detached, self.dropout = softmax, detached, dropout

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = self.embedding(words)
        if self.dropout:
            x = F.dropout(x, self.dropout)
        if self.packed:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, c) = self.encoder(x)
        if self.detached:
            h, c = h.detach(), c.detach()
        start = torch.ones_like(words[:, :1])
        before = words if self.leak else torch.cat([start, words[:, :-1]], dim=1)
        state = (c, h) if self.swapped else (h, c)
        y, _ = self.decoder(self.embedding(before), state if self.wired else None)
        logits = self.output(y)
        return F.softmax(logits, dim=-1) if self.softmax else logits


def word_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """Returns the mean cross-entropy of real words."""
    words, lengths = batch
    return F.cross_entropy(model(words, lengths).reshape(-1, VOCABULARY), words.reshape(-1), ignore_index=0)


class Translator(nn.Module):
    """A decoder that is called step by step and reads its own output half of the time."""

    def __init__(self, hidden: int = HIDDEN, ratio: float = 0.5):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.encoder = nn.GRU(16, hidden)
        self.decoder = nn.GRU(16, hidden)
        self.output = nn.Linear(hidden, VOCABULARY)
        self.ratio = ratio

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        steps, batch = target.shape
        outputs = torch.zeros(steps, batch, VOCABULARY, device=source.device)
        _, hidden = self.encoder(self.embedding(source))
        token = torch.ones(batch, dtype=torch.long)
        for step in range(steps):
            output, hidden = self.decoder(self.embedding(token).unsqueeze(0), hidden)
            outputs[step] = self.output(output.squeeze(0))
            token = target[step] if random.random() < self.ratio else outputs[step].argmax(1)
        return outputs


class LanguageModel(nn.Module):
    """A language model with tied weights and dropout between two layers."""

    def __init__(self, hidden: int = HIDDEN, dropout: float = 0.1, **options: Any):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(VOCABULARY, hidden)
        self.rnn = nn.LSTM(hidden, hidden, 2, dropout=dropout, **options)
        self.decoder = nn.Linear(hidden, VOCABULARY)
        self.decoder.weight = self.encoder.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        output, _ = self.rnn(self.drop(self.encoder(ids)))
        return F.log_softmax(self.decoder(self.drop(output)).view(-1, VOCABULARY), dim=1)


def next_word_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """Returns the negative log-likelihood of each next word, of batches `[batch, time]`."""
    (ids,) = batch
    ids = ids.t()
    return F.nll_loss(model(ids[:-1]), ids[1:].reshape(-1), ignore_index=0)


class Classifier(nn.Module):
    """A bidirectional LSTM over packed sentences, with a linear layer on its last states."""

    def __init__(self, classes: int = 2, hidden: int = HIDDEN):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embedding(words), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))


class Tagger(nn.Module):
    """A bidirectional GRU over packed sentences, with a tag for each word."""

    def __init__(self, hidden: int = HIDDEN):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16, padding_idx=0)
        self.gru = nn.GRU(16, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, 3)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embedding(words), lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=words.size(1))
        return self.fc(output)


class Forecaster(nn.Module):
    """An LSTM whose last output predicts the next value of a series."""

    def __init__(self, hidden: int = HIDDEN, layers: int = 1, squeeze: bool = True):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, layers, batch_first=True)
        self.fc = nn.Linear(hidden, 1)
        self.squeeze = squeeze

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, _ = self.lstm(x)
        prediction = self.fc(output[:, -1])
        return prediction.squeeze(-1) if self.squeeze else prediction


class ConvolutionalLSTM(nn.Module):
    """Convolutions with batch normalization before an LSTM, as for classes of signals."""

    def __init__(self, channels: int = 2, hidden: int = HIDDEN):
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(channels, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.2)
        )
        self.lstm = nn.LSTM(16, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.front(x.permute(0, 2, 1)).permute(0, 2, 1)
        return self.fc(self.lstm(features)[0][:, -1])


class CellAutoencoder(nn.Module):
    """Loops over `nn.LSTMCell`, the decoder of which reads what it wrote in the step before."""

    def __init__(self, channels: int = 2, hidden: int = HIDDEN):
        super().__init__()
        self.encoder = nn.LSTMCell(channels, hidden)
        self.decoder = nn.LSTMCell(channels, hidden)
        self.output = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(x.size(0), self.encoder.hidden_size)
        for step in range(x.size(1)):
            h, c = self.encoder(x[:, step], (h, c))
        outputs, value = [], torch.zeros_like(x[:, 0])
        for _ in range(x.size(1)):
            h, c = self.decoder(value, (h, c))
            value = self.output(h)
            outputs.append(value)
        return torch.stack(outputs[::-1], dim=1)
