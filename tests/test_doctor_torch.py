"""PyTorch modules as input of the doctor: the trace equals PyTorch, nothing of the user's is changed."""

import copy
import importlib.util
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hae_jax[torch]'")
if importlib.util.find_spec("torchax") is None:
    # torchax itself does not import beside this PyTorch; the adapter makes it.
    pytest.skip("torchax is not installed: pip install --no-deps torchax", allow_module_level=True)

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils.rnn import (  # noqa: E402
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from hae_jax.doctor.frameworks.torch import setup_of  # noqa: E402
from hae_jax.doctor.frameworks.torch_optimizer import to_optax  # noqa: E402
from hae_jax.doctor.inputs.setup import SetupError  # noqa: E402
from hae_jax.doctor.rules import CHANGES, repairs_torch  # noqa: E402
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE  # noqa: E402

VOCABULARY, HIDDEN, STEPS = 11, 6, 7
LENGTHS = torch.tensor([3, 7, 5, 6])
WORDS = torch.arange(1, 29).reshape(4, 7) % 10 + 1
WORDS = WORDS * (torch.arange(STEPS) < LENGTHS[:, None])


class Packed(nn.Module):
    """A recurrent layer over packed sequences."""

    def __init__(self, layer=nn.LSTM, layers=1, bidirectional=False, width=HIDDEN, **options):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5, padding_idx=0)
        self.rnn = layer(5, HIDDEN, layers, batch_first=True, bidirectional=bidirectional, **options)
        self.out = nn.Linear((1 + bidirectional) * width, VOCABULARY)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embedding(words), lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.out(pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=words.size(1))[0])


class Loop(nn.Module):
    """A loop over a cell that writes into a tensor."""

    def __init__(self, cell=nn.LSTMCell):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.cell = cell(5, HIDDEN)
        self.out = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, words, lengths):
        x = self.embedding(words)
        outputs = torch.zeros(len(words), words.size(1), VOCABULARY)
        h = c = torch.zeros(len(words), HIDDEN)
        for step in range(words.size(1)):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(x[:, step], (h, c))
            else:
                h = self.cell(x[:, step], h)
            outputs[:, step] = self.out(h)
        return outputs


def transposed(model, batch):
    words, lengths = batch
    return functional.cross_entropy(model(words, lengths).transpose(1, 2), words, ignore_index=0)


def flattened(model, batch):
    words, lengths = batch
    log_probabilities = functional.log_softmax(model(words, lengths), dim=-1).view(-1, VOCABULARY)
    return nn.NLLLoss(weight=torch.linspace(0.5, 1, VOCABULARY), ignore_index=0)(log_probabilities, words.view(-1))


def selected(model, batch):
    words, lengths = batch
    mask, output = words != 0, model(words, lengths)
    each = functional.cross_entropy(output.reshape(-1, VOCABULARY), words.view(-1), reduction="none")
    return (
        functional.cross_entropy(output[mask], words[mask])
        + functional.mse_loss(output[mask], torch.ones_like(output[mask]))
        + each.view_as(words)[mask].mean()
        + each[mask.view(-1)].sum()
    )


def of_packed_rows(model, batch):
    words, lengths = batch
    output = pack_padded_sequence(model(words, lengths), lengths, batch_first=True, enforce_sorted=False).data
    target = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False).data
    return functional.cross_entropy(output, target, label_smoothing=0.1) + output.abs().mean()


MODELS = {
    "LSTM": lambda: Packed(layers=2, bidirectional=True),
    "GRU": lambda: Packed(nn.GRU),
    "RNN": lambda: Packed(nn.RNN, nonlinearity="relu"),
    "projection": lambda: Packed(proj_size=3, width=3),
    "LSTMCell": lambda: Loop(),
    "GRUCell": lambda: Loop(nn.GRUCell),
    "RNNCell": lambda: Loop(nn.RNNCell),
}
LOSSES = (transposed, flattened, selected, of_packed_rows)
CASES = [*((name, transposed) for name in MODELS), *(("GRU", loss) for loss in LOSSES[1:])]


def traced(setup, train=False):
    """Loss and gradient of the traced program."""
    key = jax.random.key(0)
    compiled = jax.jit(
        jax.value_and_grad(lambda params, fields: setup.loss(params, fields, key, train=train)),
        compiler_options=FAST_COMPILE,
    )
    return compiled(setup.params, setup.batches[0])


def scans(setup):
    """Numbers of steps of the scans of the traced program."""
    key = jax.random.key(0)
    jaxpr = jax.make_jaxpr(lambda params, fields: setup.loss(params, fields, key))(setup.params, setup.batches[0])
    return [each.params["length"] for each in jaxpr.eqns if each.primitive.name == "scan"]


@pytest.mark.parametrize(("name", "loss"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_loss_and_gradients_are_those_of_pytorch(name, loss):
    torch.manual_seed(1)
    model = MODELS[name]()
    setup = setup_of(model, loss, [(WORDS, LENGTHS)])
    value, gradient = traced(setup)
    theirs = loss(model, (WORDS, LENGTHS))
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), rtol=2e-5)
    for own, parameter in model.named_parameters():
        np.testing.assert_allclose(gradient[own], parameter.grad, atol=2e-5, rtol=1e-4, err_msg=own)


@pytest.mark.parametrize(("name", "expected"), [("LSTM", [7] * 4), ("GRU", [7]), ("LSTMCell", [7]), ("GRUCell", [7])])
def test_each_recurrence_is_one_scan(name, expected):
    assert scans(setup_of(MODELS[name](), transposed, [(WORDS, LENGTHS)])) == expected


def test_the_gates_of_a_traced_lstm_are_found_by_their_layers():
    from hae_jax.doctor.inputs.normalize import normalize
    from hae_jax.doctor.tracing.traced_loss import trace_loss

    found = trace_loss(normalize(setup_of(MODELS["LSTM"](), transposed, [(WORDS, LENGTHS)])), 4).roles.recurrences
    assert [each.name for each in found] == ["rnn/l0", "rnn/l0_reverse", "rnn/l1", "rnn/l1_reverse"]
    assert all(len(each.forget) == 1 and len(each.gates) == 3 for each in found)


def test_nothing_of_the_users_module_or_optimizer_is_changed():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.lstm = nn.BatchNorm1d(5), nn.LSTM(5, HIDDEN, batch_first=True)
            self.drop, self.hidden, self.calls = nn.Dropout(0.5), None, 0

        def forward(self, x):
            self.calls += 1
            output, self.hidden = self.lstm(self.norm(x.transpose(1, 2)).transpose(1, 2), self.hidden)
            return self.drop(output)

    model = Stateful()
    model.norm.eval()
    before, modes = copy.deepcopy(model.state_dict()), [part.training for part in model.modules()]
    optimizer = torch.optim.Adam(model.parameters())
    torch_state = torch.get_rng_state()
    for loss in (lambda module, batch: module(batch).square().mean(), lambda batch: model(batch).square().mean()):
        traced(setup_of(model, loss, [torch.ones(4, 7, 5)], optimizer), train=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert (model.hidden, model.calls, optimizer.state, len(model._forward_hooks)) == (None, 0, {}, 0)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_dropout_is_random_in_training_only_and_differs_with_the_key():
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5))
    setup = setup_of(model, lambda module, x: module(x).square().mean(), [torch.ones(2, 3)])
    values = [
        float(setup.loss(setup.params, setup.batches[0], jax.random.key(seed), train=train))
        for train in (True, False)
        for seed in (0, 1)
    ]
    assert values[0] != values[1]
    assert values[2] == values[3]


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.3),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.3),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    "maximize": lambda p: torch.optim.AdamW(p, 0.1, maximize=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.9, eps=1e-3),
    "centered": lambda p: torch.optim.RMSprop(p, 0.05, momentum=0.5, centered=True, eps=1e-2),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.1, initial_accumulator_value=0.2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_the_optax_twin_takes_the_same_steps(name, clip_norm):
    start = {"weight": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), "bias": np.array([0.3, -0.1], np.float32)}
    theirs = {key: nn.Parameter(torch.from_numpy(value.copy())) for key, value in start.items()}
    optimizer = OPTIMIZERS[name](list(theirs.values()))
    twin, _ = to_optax(optimizer, {id(value): key for key, value in theirs.items()}, start, clip_norm)
    ours, state, update = dict(start), twin.init(start), jax.jit(twin.update)
    rng = np.random.default_rng(0)
    for _ in range(6):
        gradient = {key: rng.normal(size=value.shape).astype(np.float32) for key, value in start.items()}
        for key, value in theirs.items():
            value.grad = torch.from_numpy(gradient[key].copy())
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(list(theirs.values()), clip_norm)
        optimizer.step()
        updates, state = update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value.detach(), rtol=2e-5, atol=2e-6)


def test_groups_have_their_own_rates_and_parameters_without_a_group_stay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    groups = [{"params": model[0].parameters(), "lr": 1.0}, {"params": model[1].parameters()}]
    setup = setup_of(model, lambda m, x: m(x).sum(), [torch.ones(3, 2)], torch.optim.SGD(groups, 0.5))
    ones = {name: jnp.ones_like(value) for name, value in setup.params.items()}
    updates, _ = setup.optimizer.update(ones, setup.optimizer.init(setup.params), setup.params)
    rates = {name.split(".")[0]: float(np.ravel(value)[0]) for name, value in updates.items()}
    assert rates == {"0": -1.0, "1": -0.5, "2": 0.0}


def test_pretrained_vectors_are_constants_and_weights_frozen_as_drawn_are_parameters():
    torch.manual_seed(0)
    model = Packed()
    model.embedding = nn.Embedding.from_pretrained(torch.randn(VOCABULARY, 5))
    model.out.requires_grad_(False)
    setup = setup_of(model, transposed, [(WORDS, LENGTHS)], torch.optim.Adam(model.parameters()))
    assert "embedding.weight" not in setup.params
    updates, _ = setup.optimizer.update(setup.params, setup.optimizer.init(setup.params), setup.params)
    assert not np.any(updates["out.weight"])
    assert np.any(updates["rnn.weight_hh_l0"])
    assert "requires_grad is False: embedding.weight, out.weight, out.bias" in setup.notes[1]


@pytest.mark.parametrize(
    ("loss", "batch", "understood"),
    [
        (nn.MSELoss(), (torch.ones(4, 2), torch.ones(4, 2)), "MSELoss(module(input), target)"),
        (functional.l1_loss, torch.ones(4, 2), "l1_loss(module(input), target)"),
        (nn.CrossEntropyLoss(), {"x": torch.ones(4, 3, 2), "y": torch.ones(4, 3).long()}, "flatten(0, -2)"),
        (lambda output, target: (output - target).abs().mean(), (torch.ones(4, 2),) * 2, "(module(input), target)"),
        (lambda model, batch: model(batch[0]).mean(), (torch.ones(4, 2),), "(module, batch)"),
    ],
)  # fmt: skip
def test_the_loss_is_called_as_its_users_write_it(loss, batch, understood):
    assert understood in setup_of(nn.Linear(2, 2), loss, [batch]).notes[0]


def test_packed_sequences_in_batches_are_packed_again():
    model = nn.LSTM(2, HIDDEN)
    packed = pack_sequence([torch.ones(5, 2), torch.ones(3, 2), torch.ones(2, 2)])
    setup = setup_of(model, lambda m, batch: m(batch)[0].data.square().mean(), [packed])
    np.testing.assert_allclose(traced(setup)[0], model(packed)[0].data.square().mean().item(), rtol=1e-5)


def by_value(model, batch):
    longest = batch[1].max().item()
    return transposed(model, (batch[0][:, :longest], batch[1]))


def by_branch(model, batch):
    loss = transposed(model, batch)
    return loss if loss < 1e9 else 0 * loss


def by_backward(model, batch):
    loss = transposed(model, batch)
    loss.backward()
    return loss


def by_numpy(model, batch):
    return transposed(model, batch) * float(batch[0].numpy().size)


def by_nonzero(model, batch):
    return transposed(model, batch) + torch.nonzero(batch[0]).float().mean()


@pytest.mark.parametrize(
    ("loss", "line", "repair"),
    [
        (by_value, "longest = batch[1].max().item()", "x.size(1)"),
        (by_branch, "return loss if loss < 1e9", "torch.where"),
        (by_backward, "loss.backward()", "leave backward() and step()"),
        (by_numpy, "batch[0].numpy()", "numpy()"),
        (by_nonzero, "torch.nonzero(batch[0])", "Multiply by the mask"),
    ],
)
def test_what_cannot_be_traced_is_one_line_with_the_users_line_and_a_repair(loss, line, repair):
    with pytest.raises(SetupError) as error:
        setup_of(Loop(), loss, [(WORDS, LENGTHS)])
    assert "\n" not in str(error.value)
    assert line in str(error.value)
    assert "test_doctor_torch.py:" in str(error.value)
    assert repair in str(error.value)


def test_values_may_be_logged_and_pythons_chance_is_fixed_and_said():
    def loss(model, batch):
        value = transposed(model, batch)
        if random.random() < 0.5 and torch.rand(1).item() < 0.5:
            value = 2 * value
        return {"loss": value, "log": value.item()}

    model = Loop()
    setup = setup_of(model, loss, [(WORDS, LENGTHS)])
    np.testing.assert_allclose(traced_loss(setup), 2 * transposed(model, (WORDS, LENGTHS)).item(), rtol=1e-5)
    assert any("draws numbers in Python" in note for note in setup.notes)


def traced_loss(setup):
    """The number to minimize, of a loss that returns a mapping."""
    return setup.loss(setup.params, setup.batches[0], jax.random.key(0))["loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, [torch.ones(2, 2)]), "loss_fn must be a function, got NoneType"),
        ((nn.MSELoss(), []), "batches must yield tensors, got none in 0"),
        ((nn.MSELoss(), 3), "batches must be iterable, got int"),
        ((nn.MSELoss(), [torch.ones(2, 3)]), "mat1 and mat2 shapes cannot be multiplied"),
        ((nn.MSELoss(), [torch.ones(2, 2)], torch.optim.LBFGS([torch.ones(1)])), "got LBFGS. Give an optax optimizer"),
        ((nn.MSELoss(), [torch.ones(2, 2)], torch.optim.SGD([torch.ones(1)], 0.1)), "got none of them"),
    ],
)  # fmt: skip
def test_wrong_arguments_get_one_line(arguments, message):
    with pytest.raises(SetupError) as error:
        setup_of(nn.Linear(2, 2), *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_cause_has_a_repair_in_the_words_of_pytorch():
    assert set(CHANGES) <= set(repairs_torch.CHANGES)
