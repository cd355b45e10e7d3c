"""Faults of recurrent models as PyTorch users make them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.doctor.torch_healthy import language_model
from benchmarks.doctor.torch_models import (
    STEPS,
    VOCABULARY,
    Forecaster,
    LanguageModel,
    SeriesAutoencoder,
    TextAutoencoder,
    Training,
    adam,
    batched,
    next_word_loss,
    sentences,
    waves,
    word_loss,
)


def series(
    steps: int = STEPS,
    scale: float = 1.0,
    lr: float = 5e-3,
    loss_fn: Any = None,
    shuffled: bool = False,
    **options: Any,
) -> Training:
    """Returns an autoencoder of waves with a fault."""
    module, x = SeriesAutoencoder(**options), waves(steps, scale=scale)
    y = x[torch.randperm(len(x))] if shuffled else x
    return Training(module, loss_fn or nn.MSELoss(), batched(x, y), adam(module, lr))


def text(optimizer: Any = adam, loss_fn: Any = word_loss, clip_norm: float | None = 1.0, **options: Any) -> Training:
    """Returns an autoencoder of sentences with a fault."""
    module = TextAutoencoder(**options)
    return Training(module, loss_fn, batched(*sentences()), optimizer(module), {"clip_norm": clip_norm})


def initialized(training: Training, name: str, fill: Callable[[torch.Tensor], Any]) -> Training:
    """Returns a training whose parameters of some name were initialized by the user."""
    with torch.no_grad():
        for own, value in training.module.named_parameters():
            if name in own:
                fill(value)
    return training


def close_gates(value: torch.Tensor) -> None:
    """Sets the forget quarter of a bias to a negative number."""
    hidden = value.numel() // 4
    value[hidden : 2 * hidden] = -3.0


def counted_padding(model: nn.Module, batch: Any) -> torch.Tensor:
    """Returns the cross-entropy of all words, padding included."""
    words, lengths = batch
    return F.cross_entropy(model(words, lengths).transpose(1, 2), words)


def summed(model: nn.Module, batch: Any) -> torch.Tensor:
    """Returns the sum of the cross-entropies of all words."""
    words, lengths = batch
    criterion = nn.CrossEntropyLoss(ignore_index=0, reduction="sum")
    return criterion(model(words, lengths).view(-1, VOCABULARY), words.view(-1))


def column(rate: float = 5e-3) -> Training:
    """Returns a forecaster whose predictions are a column and whose targets are not."""
    module = Forecaster(squeeze=False)
    x = waves(STEPS + 1, 1)
    return Training(module, nn.MSELoss(), batched(x[:, :-1], x[:, -1, 0]), adam(module, rate))


def relu_cells() -> Training:
    """Returns an RNN of rectified units over long series."""
    module = SeriesAutoencoder(layer=nn.RNN, nonlinearity="relu")
    x = waves(40)
    return initialized(Training(module, nn.MSELoss(), batched(x, x), adam(module)), "weight_hh", nn.init.eye_)


def only_decoder(module: Any) -> Any:
    """Returns an optimizer that was given the wrong parameters."""
    return torch.optim.Adam(list(module.decoder.parameters()) + list(module.output.parameters()), lr=5e-3)


def frozen_encoder() -> Training:
    """Returns an autoencoder whose encoder was frozen and never unfrozen."""
    module = SeriesAutoencoder()
    for value in module.encoder.parameters():
        value.requires_grad = False
    x = waves()
    return Training(module, nn.MSELoss(), batched(x, x), adam(module))


def axes() -> Training:
    """Returns a forecaster of batches `[batch, time]` whose LSTM expects time first."""
    x = waves()

    class LastStep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, 24)
            self.fc = nn.Linear(24, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.lstm(x)[0][:, -1])

    module = LastStep()
    return Training(module, nn.MSELoss(), batched(x[:, :-1], x[:, -1]), adam(module))


def fast_words() -> Training:
    """Returns a language model with a rate far too high."""
    training = language_model()
    return training._replace(optimizer=torch.optim.RMSprop(training.module.parameters(), lr=0.5))


def decayed(module: nn.Module) -> Any:
    """Returns AdamW with far too much decay."""
    return torch.optim.AdamW(module.parameters(), lr=5e-3, weight_decay=10.0)


def zipped() -> Training:
    """Returns a language model whose loader does not shuffle sorted sentences."""
    module, (words, _) = LanguageModel(), sentences()
    words = words[words[:, 0].argsort()]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(words), batch_size=16)
    return Training(module, next_word_loss, loader, adam(module))


FAULTY: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("no bias, long series", lambda: series(50, bias=False), "forget-gate-closed"),
    ("forget bias of -3", lambda: initialized(text(), "bias_hh", close_gates), "forget-gate-closed"),
    (
        "RNN of deviation 1",
        lambda: initialized(series(30, layer=nn.RNN), "weight_hh", nn.init.normal_),
        "exploding-recurrence",
    ),
    ("rectified RNN", relu_cells, "unbounded-activation"),
    ("rate of 1", lambda: series(lr=1.0), "learning-rate-too-high"),
    ("RMSprop, rate of 0.5", fast_words, "learning-rate-too-high"),
    ("rate of 1e-7", lambda: series(lr=1e-7), "learning-rate-too-low"),
    ("SGD, rate of 1e-5", lambda: text(lambda m: torch.optim.SGD(m.parameters(), 1e-5)), "learning-rate-too-low"),
    ("clip at 1e-4", lambda: text(lambda m: torch.optim.SGD(m.parameters(), 0.3), clip_norm=1e-4), "clip-too-tight"),
    ("softmax in forward", lambda: text(softmax=True), "softmax-twice"),
    ("decoder reads its target", lambda: text(leak=True), "target-leak"),
    ("decoder without state", lambda: text(wired=False), "code-unwired"),
    ("(c, h) for (h, c)", lambda: text(swapped=True), "state-swapped"),
    ("optimizer of the decoder", lambda: text(only_decoder), "frozen-parameters"),
    ("detached state", lambda: text(detached=True), "frozen-parameters"),
    ("requires_grad left False", frozen_encoder, "frozen-parameters"),
    ("sum of cross-entropies", lambda: text(loss_fn=summed), "loss-reduction"),
    ("sum of squares", lambda: series(loss_fn=nn.MSELoss(reduction="sum")), "loss-reduction"),
    ("padding counted", lambda: text(loss_fn=counted_padding), "padding-in-loss"),
    ("not packed", lambda: text(packed=False), "padding-in-encoder"),
    ("batch_first forgotten", axes, "axes-swapped"),
    ("inputs of thousands", lambda: series(scale=1000.0), "inputs-unscaled"),
    ("targets shuffled", lambda: series(shuffled=True), "targets-scrambled"),
    ("dropout in evaluation", lambda: text(dropout=0.3), "dropout-wrong"),
    ("weight decay of 10", lambda: text(decayed), "over-regularised"),
    ("column against row", column, "targets-broadcast"),
    ("loader without shuffle", zipped, "data-not-shuffled"),
)
