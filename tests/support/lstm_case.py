"""One LSTM with fixed weights, computed by several libraries.

Every function here takes the same `Case` and returns the same `LayerResult`: the hidden states, the last state, and the
gradients of one fixed weighted sum of them. Rows end at different steps, one after a single step.
"""

import json
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

BATCH, TIME, FEAT, HIDDEN = 3, 7, 5, 2
LENGTHS = np.array([7, 1, 4])
MASK = np.arange(TIME) < LENGTHS[:, None]
RECORDED = Path(__file__).with_name("recorded_lstm.json")


class Case(NamedTuple):
    """Inputs and weights; gates in the order input, forget, candidate, output."""

    inputs: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray


class Answer(NamedTuple):
    """Results. Padded steps of `outputs` are zero; `gradient` is that of `objective`."""

    outputs: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray
    gradient: Case


def case() -> Case:
    """Returns the one case, from a fixed seed."""
    rng = np.random.default_rng(20)
    shapes = Case((BATCH, TIME, FEAT), (BATCH, HIDDEN), (BATCH, HIDDEN), (FEAT, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN),
                  (4 * HIDDEN,))  # fmt: skip
    return Case(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def objective(outputs, cell, hidden):
    """Returns a weighted sum with different weights for all values; works on arrays of JAX and torch."""
    pull = np.cos(np.arange(BATCH * TIME * HIDDEN, dtype=np.float32)).reshape(BATCH, TIME, HIDDEN)
    if not isinstance(outputs, jax.Array):
        import torch

        pull = torch.from_numpy(pull)
    return (pull * outputs).sum() + 2 * (pull[:, 0] * cell).sum() + 3 * (pull[:, 1] * hidden).sum()


def answer_of(run) -> Answer:
    """Evaluates and differentiates a JAX function that maps a `Case` to outputs, last cell and last hidden state."""

    def loss(case):
        outputs, cell, hidden = run(case)
        outputs = jnp.where(MASK[..., None], outputs, 0.0)
        return objective(outputs, cell, hidden), (outputs, cell, hidden)

    gradient, results = jax.grad(loss, has_aux=True)(jax.tree.map(jnp.asarray, case()))
    return jax.tree.map(np.asarray, Answer(*results, gradient))


def flax_answer(cell: type[nn.RNNCellBase]) -> Answer:
    """Runs flax's cell in a Python loop, one row after the other."""

    def run(case: Case):
        params = {}
        for gate, kernel, recurrent, bias in zip(
            "ifgo", *(jnp.split(x, 4, axis=-1) for x in (case.kernel, case.recurrent, case.bias)), strict=True
        ):
            params["i" + gate] = {"kernel": kernel}
            params["h" + gate] = {"kernel": recurrent, "bias": bias}
        outputs, last = [], []
        for row in range(BATCH):
            carry, steps = (case.cell[row], case.hidden[row]), []
            for time in range(LENGTHS[row]):
                carry, out = cell(HIDDEN).apply({"params": params}, carry, case.inputs[row, time])
                steps.append(out)
            outputs.append(jnp.pad(jnp.stack(steps), ((0, TIME - LENGTHS[row]), (0, 0))))
            last.append(carry)
        return jnp.stack(outputs), *(jnp.stack(part) for part in zip(*last, strict=True))

    return answer_of(run)


def keras_answer() -> Answer:
    """Runs Keras' LSTM layer on its JAX backend."""
    import keras

    # Keras relies on implicit broadcasting.
    with jax.numpy_rank_promotion("allow"):
        layer = keras.layers.LSTM(HIDDEN, return_sequences=True, return_state=True)
        layer.build((BATCH, TIME, FEAT))

        def run(case: Case):
            weights = [case.kernel, case.recurrent, case.bias]
            (outputs, hidden, cell), _ = layer.stateless_call(
                weights, [v.value for v in layer.non_trainable_variables], case.inputs,
                initial_state=[case.hidden, case.cell], mask=jnp.asarray(MASK),
            )  # fmt: skip
            return outputs, cell, hidden

        return answer_of(run)


def torch_answer() -> Answer:
    """Runs torch's LSTM on packed sequences."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    given = case()
    lstm = torch.nn.LSTM(FEAT, HIDDEN, batch_first=True)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(given.kernel.T))
        lstm.weight_hh_l0.copy_(torch.from_numpy(given.recurrent.T))
        lstm.bias_ih_l0.copy_(torch.from_numpy(given.bias))
        lstm.bias_hh_l0.zero_()
    inputs, cell, hidden = (torch.tensor(x, requires_grad=True) for x in (given.inputs, given.cell, given.hidden))
    packed = pack_padded_sequence(inputs, torch.from_numpy(LENGTHS), batch_first=True, enforce_sorted=False)
    packed, (last_hidden, last_cell) = lstm(packed, (hidden[None], cell[None]))
    outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=TIME)
    objective(outputs, last_cell[0], last_hidden[0]).backward()
    gradient = Case(inputs.grad, cell.grad, hidden.grad, lstm.weight_ih_l0.grad.T, lstm.weight_hh_l0.grad.T,
                    lstm.bias_ih_l0.grad)  # fmt: skip
    results = Answer(outputs, last_cell[0], last_hidden[0], gradient)
    return jax.tree.map(lambda x: x.detach().numpy(), results)


def recorded_answer() -> Answer:
    """Returns torch's answer as recorded by `python tests/support/lstm_case.py`."""
    raw = json.loads(RECORDED.read_text(encoding="utf-8"))
    leaves = [np.asarray(leaf, np.float32) for leaf in raw["leaves"]]
    return jax.tree.unflatten(jax.tree.structure(Answer(0, 0, 0, Case(*range(6)))), leaves)


if __name__ == "__main__":
    import torch

    leaves = [np.asarray(leaf, np.float64).round(9).tolist() for leaf in jax.tree.leaves(torch_answer())]
    text = json.dumps({"source": f"torch.nn.LSTM, torch {torch.__version__}", "leaves": leaves})
    RECORDED.write_text(text + "\n", encoding="utf-8")
