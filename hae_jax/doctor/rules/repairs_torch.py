"""Repairs in the words of PyTorch: the line to change, by cause."""

CHANGES: dict[str, str] = {
    "softmax-twice": "remove nn.Softmax or F.softmax from forward; nn.CrossEntropyLoss takes logits",
    "state-swapped": "self.decoder(y, (h, c)): nn.LSTM returns and takes h first, then c",
    "layer-norm-misuse": "nn.LayerNorm(features), of which the input is [batch, time, features]",
    "axes-swapped": (
        "nn.LSTM(..., batch_first=True) for inputs of shape [batch, time, features], or x.transpose(0, 1) without it"
    ),
    "target-leak": "decoder(target[:, :-1]), whose loss is that of target[:, 1:]: it reads the words before",
    "code-unwired": "self.decoder(y, hidden), with the hidden state that self.encoder(x) returned",
    "frozen-parameters": (
        "torch.optim.Adam(model.parameters()), requires_grad_(True) for the parameters named, and no detach(), "
        ".data or torch.no_grad() between them and the loss"
    ),
    "masked-nan": (
        "x.masked_fill(~mask, 1.0) before the logarithm, root or quotient, masked_fill(~mask, 0.0) after it, and "
        "mask.sum().clamp(min=1) as the divisor"
    ),
    "low-precision": (
        "model.float() with torch.autocast and torch.amp.GradScaler in place of model.half() or model.bfloat16()"
    ),
    "dropout-wrong": (
        "model.eval() before an evaluation, F.dropout(x, p, training=self.training), and p of at most 0.5"
    ),
    "targets-broadcast": "criterion(output.squeeze(-1), target), or target.unsqueeze(-1): both of the same shape",
    "labels-out-of-range": "nn.Linear(hidden, classes) with as many outputs as there are classes, numbered from 0",
    "ids-out-of-range": "nn.Embedding(vocabulary, size), where vocabulary is the largest id plus 1",
    "log-missing": "F.nll_loss(F.log_softmax(logits, dim=-1), target), or nn.CrossEntropyLoss of logits",
    "weights-zero": "remove nn.init.zeros_ and nn.init.constant_ of weights; zeros are for biases",
    "state-random": "torch.zeros(layers, batch, hidden) in place of torch.randn, or no initial state at all",
    "softmax-axis": "F.softmax(scores, dim=-1), over the positions that are attended to",
    "softmax-of-one": "torch.sigmoid for one output with nn.BCELoss, or nn.BCEWithLogitsLoss without it",
    "log-of-zero": "F.log_softmax(logits, dim=-1) in place of torch.log(F.softmax(...)), or x.clamp(min=1e-8).log()",
    "probability-unbounded": "nn.BCEWithLogitsLoss of logits in place of nn.BCELoss",
    "exponential-overflow": "log_variance.clamp(-10, 10).exp(), or F.softplus",
    "no-gradient": "remove detach(), .data, torch.no_grad(), argmax and round between parameters and the loss",
    "data-not-finite": "torch.nan_to_num, or x.masked_fill(x.isnan(), 0.0) with a mask, before anything is computed",
    "loss-negated": "loss = criterion(output, target) without the minus sign",
    "gradient-ascent": "maximize=False, and a positive learning rate; or the loss without the minus sign",
    "gradients-accumulated": "optimizer.zero_grad() before each loss.backward(); a momentum below 1",
    "schedule-ended": "a scheduler with as many steps as the training has, and scheduler.step() where it counts",
    "optimizer-state-lost": "make the optimizer once, before the loop",
    "layer-unused": "output, (h, c) = lstm(x): use output, or h[-1], the last layer",
    "kl-dominates": (
        "F.mse_loss(output, x, reduction='sum') / len(x) beside a KL term summed over the code, or a factor of the KL "
        "term that grows from 0"
    ),
    "inputs-unscaled": "x = (x - mean) / std with mean and std of the training data; targets alike",
    "padding-in-loss": "nn.CrossEntropyLoss(ignore_index=pad), or (loss * mask).sum() / mask.sum()",
    "padding-in-encoder": (
        "pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False) before the encoder"
    ),
    "blank-sentences": (
        "pack the sentence vectors with the number of sentences that are not blank: (words != pad).any(-1).sum(-1)"
    ),
    "loss-reduction": 'nn.CrossEntropyLoss(reduction="mean"), or the sum divided by the number of real positions',
    "vocabulary-collapse": "a larger vocabulary, or a tokenizer of subwords",
    "data-not-shuffled": "DataLoader(dataset, batch_size, shuffle=True)",
    "targets-scrambled": "order = torch.randperm(len(x)); TensorDataset(x[order], y[order]): one order for both",
    "unbounded-activation": 'nn.LSTM, or nn.RNN(..., nonlinearity="tanh"); torch.tanh in a cell of your own',
    "exploding-recurrence": (
        "nn.init.orthogonal_(lstm.weight_hh_l0), and nn.utils.clip_grad_norm_(model.parameters(), 1.0) before "
        "optimizer.step()"
    ),
    "gates-saturated": (
        "remove the initialization of large weights: nn.init.xavier_uniform_(lstm.weight_ih_l0), "
        "nn.init.orthogonal_(lstm.weight_hh_l0), and inputs of unit variance"
    ),
    "forget-gate-closed": (
        "with torch.no_grad(): lstm.bias_ih_l0[hidden : 2 * hidden] = 1; lstm.bias_hh_l0[hidden : 2 * hidden] = 0 "
        "(the second quarter is that of the forget gate)"
    ),
    "over-regularised": "torch.optim.AdamW(..., weight_decay=1e-2, eps=1e-8) or less",
    "clip-too-tight": "nn.utils.clip_grad_norm_(model.parameters(), max_norm) of about twice the median gradient norm",
    "learning-rate-too-high": "torch.optim.Adam(model.parameters(), lr=...) with a tenth of the rate, or a warm-up",
    "learning-rate-too-low": "torch.optim.Adam(model.parameters(), lr=...) with ten times the rate",
    "codes-collapsed": "nn.LayerNorm(hidden) of the code, and a forget bias of 1",
    "constant-output": "torch.cat([y, code.unsqueeze(1).expand(-1, y.size(1), -1)], -1) as the decoder's input",
    "code-ignored": (
        "dropout of the words that the decoder reads, the code at every step by torch.cat, or a smaller decoder; a "
        "lower factor of the KL term"
    ),
    "sequence-too-long": "train on x[:, :steps] with few steps first, then more, or encode parts of a sequence first",
    "bottleneck-too-small": (
        "a larger hidden_size of the encoder; a last nn.Linear without activation if targets lie outside of its range"
    ),
    "exposure-gap": "pass (h, c) of each step to the next one in generation; dropout of the decoder's inputs",
    "not-finite": "check logarithms, roots and quotients of 0; torch.autograd.set_detect_anomaly(True) names them",
    "loss-fails": "loss_fn(model, batch) has to return a tensor with one number, without backward() and item()",
    "no-parameters": "a module with parameters that require gradients",
    "no-batches": "examine(model, loss_fn, loader, optimizer) with a DataLoader or a list of batches",
    "optimizer-fails": "torch.optim.Adam(model.parameters(), lr=1e-3)",
    "patient-fails": "examine(model, loss_fn, loader, optimizer), and pip install --no-deps torchax",
}
"""Causes without an entry are worded as for JAX."""
