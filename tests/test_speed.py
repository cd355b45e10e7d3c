"""The contenders of the speed benchmark compute the same, and operations are counted correctly."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import arrays
from support.markov_text import Markov
from support.tolerance import assert_close

from benchmarks.__main__ import run
from benchmarks.harness.record import read
from benchmarks.harness.stopwatch import Contender, compare, compile_uncached, time_alternately
from benchmarks.speed import breakdown, flops, layer, long_step, scaling, summary, techniques
from benchmarks.speed.peers import layers, textbook
from benchmarks.speed.workload import QUICK, Techniques, substituted, workload
from hae_jax import models
from hae_jax.batch import EOD
from hae_jax.config import DataConfig, ModelConfig
from hae_jax.config.presets import preset
from hae_jax.inference.generate import greedy
from hae_jax.layers.losses import cross_entropy
from hae_jax.layers.scan import lstm_scan
from hae_jax.models.outputs import Code
from hae_jax.models.ragged import dense_tokens


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    return workload(QUICK, tmp_path_factory.mktemp("text"), babble=True)


def multiplications(jaxpr) -> int:
    """Counts the operations of all matrix products of a traced function, those in loops once per iteration."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (inner, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * int(np.prod([shape[axis] for axis in inner]))
        for value in equation.params.values():
            body = getattr(value, "jaxpr", value)
            if hasattr(body, "eqns"):
                total += equation.params.get("length", 1) * multiplications(body)
    return total


@pytest.mark.parametrize("layers", [1, 2])
def test_operations_are_those_of_the_traced_model(load, layers):
    sizes = {"embed_dim": 3, "hidden_dim": 5, "sentence_dim": 7, "layers": layers, "sentence_loss": 0.0}
    config = ModelConfig(**sizes)
    model, batch = models.build(config, 11), load.batches[0]
    params = jax.eval_shape(lambda key: model.init(key, batch)["params"], jax.random.key(0))
    traced = jax.make_jaxpr(lambda params: model.apply({"params": params}, batch))(params)
    size = flops.padded_size(batch)
    work = flops.training_flops(config, 11, size)
    # Buckets have spare rows.
    rows = sum(map(len, batch.buckets)) - size.sentences
    spare = rows * (8 + 4 * layers) * 5**2
    assert multiplications(traced.jaxpr) == sum(work.values()) // 3 + spare


def test_operations_for_real_tokens_exclude_padding(load):
    batch = load.batches[0]
    real, padded = flops.real_size(batch), flops.padded_size(batch)
    assert real.words == int((np.asarray(dense_tokens(batch)) != 0).sum())
    assert all(a <= b for a, b in zip(real, padded, strict=True))
    assert flops.training_flops(QUICK.model, 9, real)["softmax"] == 3 * real.words * 2 * 4 * 9


@pytest.mark.parametrize("hoist", [False, True])
def test_the_textbook_scan_has_equal_gradients(rng, hoist):
    mask = jnp.arange(7) < np.array([7, 0, 1, 4])[:, None]
    arguments = (
        arrays.state(rng, 4, 3),
        rng.normal(size=(2, 7, 5)),
        arrays.weights(rng, 5, 3, 11),
        rng.normal(size=(4, 11)),
    )

    def gradient(scan):
        def loss(state, inputs, weights, context):
            last, hidden, gates = scan(state, inputs, mask, weights, context=context)
            return jnp.where(mask[..., None], jnp.sin(hidden), 0).sum() + last.cell.sum() + gates.forget.sum()

        return jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*jax.tree.map(jnp.float32, arguments))

    assert_close(gradient(partial(textbook.scan, hoist=hoist)), gradient(lstm_scan), slack=10)


def test_the_textbook_loss_has_equal_gradients(rng):
    hidden, kernel, bias = (jnp.float32(rng.normal(size=shape)) for shape in ((5, 3), (3, 7), (7,)))
    targets, mask = jnp.array([0, 6, 2, 3, 3]), jnp.array([True, True, False, True, True])

    def gradient(loss):
        return jax.grad(lambda *x: loss(*x, targets, mask).total, (0, 1, 2))(hidden, kernel, bias)

    assert_close(gradient(textbook.cross_entropy), gradient(cross_entropy), slack=10)


def test_disabled_techniques_are_not_in_the_program(load):
    model = models.build(QUICK.model, QUICK.data.vocab_size)

    def own_gradients(setting):
        with substituted(setting):
            traced = jax.make_jaxpr(lambda params: model.apply({"params": params}, load.batches[0]))(load.params)
        return str(traced).count("custom_vjp_call")

    everything, no_scan = own_gradients(Techniques()), own_gradients(Techniques(scan="hoisted"))
    assert 0 == own_gradients(techniques.NAIVE) < no_scan < everything
    assert 0 < own_gradients(Techniques(loss="full")) < everything


def test_the_ladder_starts_with_the_naive_step_and_ends_with_ours():
    config = preset("small")
    steps = techniques.ladder(config)
    assert steps[0][1][1] == techniques.NAIVE
    assert steps[-1][1] == (config, Techniques())
    # Each technique can be removed from our step.
    assert all(without != (config, Techniques()) for _, _, without in steps[1:])
    assert len({name for name, *_ in steps}) == len(steps)


def test_both_decoders_have_equal_outputs(rng):
    model, code = Markov(7, 3), Code(jnp.float32(rng.normal(size=(9, 3))))
    params = {"follow": (7, 7), "embed": (7, 3), "project": (3, 7)}
    params = {name: jnp.float32(rng.normal(size=shape)) for name, shape in params.items()}
    outputs = greedy(model, params, code, 20)
    np.testing.assert_array_equal(outputs, jax.jit(lambda code: textbook.greedy(model, params, code, 20))(code))
    # Some documents end, but not all.
    assert 0 < (outputs == EOD).any(1).sum() < 9


def test_the_products_alone_are_those_of_a_layer():
    """Forward, of inputs and gradients of everything: three times as many operations as forward, by formula."""
    case = layers.random_case(3, 5, 7, 11)
    traced = jax.make_jaxpr(layers.multiply)(case.inputs, case.kernel, case.recurrent, case.cotangent)
    assert multiplications(traced.jaxpr) == 3 * 3 * 5 * flops.stack_flops(7, 11, 1)


def test_contenders_alternate_and_ratios_are_of_adjacent_turns():
    turns = []

    def runner(name):
        return Contender(name, lambda calls: turns.append(name))

    contenders = [runner(name) for name in "abc"]
    times = time_alternately(contenders, 3)
    assert "".join(turns) == "aabbcc" + "abc" + "bca" + "cab"
    assert [len(each) for each in times] == [3, 3, 3]
    rows = compare([contenders[0], contenders[0]._replace(words=2.0), contenders[1]], 3)
    assert rows[0]["ratio"] == 1


def test_a_program_is_compiled_each_time():
    array = jnp.ones((3, 3))
    programs = [compile_uncached(lambda x: x @ x, array) for _ in range(2)]
    assert all(program.seconds > 0 and program.memory >= 2 * array.nbytes for program in programs)
    assert jax.config.values["jax_enable_compilation_cache"]


def test_the_scaling_table_varies_each_size_around_the_preset():
    cells = scaling.cells(False)
    assert len(cells) == 10
    assert len({cell.name for cell in cells}) == 10
    wide = scaling.scaled(QUICK, "hidden_dim", 8)
    assert (wide.model.embed_dim, wide.model.sentence_dim) == (8, 8)


LADDER = ["ours", "so far", "without", "instead"]
ROW = {"ratio": 2.0, "interval": [1.5, 2.5], "seconds": 0.5, "compile_seconds": None, "memory": 3e6}


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (techniques.TABLE, LADDER),
        (scaling.TABLE, ["preset", "scaled"]),
        (layer.TABLE, ["ours", "theirs"]),
    ],
    ids=["techniques", "scaling", "layer"],
)
def test_table_rows_are_as_wide_as_their_headings(table, rows):
    numbers = {"rows": [{"name": name} | ROW for name in rows]}
    for platform in ("cpu", "gpu"):
        records = [
            {"cell": cell.name, "numbers": numbers, "device": {"platform": platform}} for cell in table.cells(False)
        ]
        lines = [line for line in table.render(records).splitlines() if line.startswith("|")]
        assert len(lines) > 3
        assert len({line.count("|") for line in lines}) == 1


def test_the_cost_of_omitting_a_technique_has_an_interval():
    numbers = {"rows": [{"name": name} | ROW for name in LADDER]}
    lines = techniques.render([{"cell": cell.name, "numbers": numbers} for cell in techniques.cells(False)])
    assert {line.split(" | ")[2] for line in lines.splitlines()[2:]} == {"2.00 (1.50-2.50)"}


def test_parts_are_drawn_and_add_up_to_the_step(tmp_path):
    shares = {name: 1 / len(breakdown.PARTS) for name, _ in breakdown.PARTS}
    record = {"cell": "preset `small`", "numbers": {"shares": shares}}
    breakdown.draw([record], tmp_path)
    assert (tmp_path / breakdown.PICTURE).stat().st_size > 10_000
    assert breakdown.render([record]).count("17 %") == len(shares)


def test_a_step_over_long_documents_is_measured_with_rematerialization(load, tmp_path):
    stored, recomputed = long_step.cells(True)
    assert [cell.config["model"]["remat"] for cell in (stored, recomputed)] == [False, True]
    numbers = long_step.measure(recomputed, tmp_path / "work" / "cell")
    assert numbers["losses"][1] < numbers["losses"][0], "the parameters are updated"
    assert numbers["memory"] > sum(leaf.nbytes for leaf in jax.tree.leaves(load.params))
    assert numbers["size"] == flops.real_size(load.batches[0])._asdict()
    lines = long_step.render([{"cell": recomputed.name, "numbers": numbers}]).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_long_documents_repeat_the_corpus():
    sentences = [np.full(length, length) for length in (1, 2, 3, 4, 5)]
    data = DataConfig(max_sentences=4, batch_size=3)
    found = long_step.join_documents([sentences[:2], sentences[2:]], data)
    assert [list(map(len, document)) for document in found] == [[1, 2, 3, 4], [5, 1, 2, 3], [4, 5, 1, 2]]


@pytest.mark.slow
@pytest.mark.parametrize("table", summary.BENCHMARKS[2:], ids=lambda table: table.table)
def test_the_other_tables_can_be_measured(table, tmp_path):
    assert run(table, True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    records = read(path)
    assert len(table.render(records).splitlines()) > 2
    assert all(record["numbers"].get("errors", {}).get("same tokens", 1) == 1 for record in records)
