"""Invariances: padding, buckets, the order of documents and of rows, compilation."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import DOCUMENTS, batch
from support.model_grid import VARIANTS, answers, by_sentence, compiled, differentiated, drawn, total
from support.tolerance import assert_close

TIGHT = {"widths": (7,), "spare_rows": 0, "spare_docs": 0, "spare_sents": 0}
"""One bucket without an unused row, document or sentence."""
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def essence(results, documents=len(DOCUMENTS)):
    """Outputs without those of padding."""
    losses, code, scores = results
    return losses, code.document[:documents], by_sentence(scores)


@every_variant
def test_buckets_and_padding_change_nothing(config):
    """Two buckets with unused rows, documents and sentences, against one bucket without."""
    spacious = compiled(config)(batch())
    tight = compiled(config)(batch(**TIGHT))
    assert_close(essence(spacious), essence(tight), slack=10)


@pytest.mark.parametrize("name", ["none", "sentence, attention"])
def test_gradients_are_the_same_however_sentences_are_split_into_buckets(name):
    """All values, within 1e-5 of the largest of their array: one bucket, two, and four of which one is empty."""
    gradients = differentiated(VARIANTS[name])
    loss, tight = gradients(batch(**TIGHT))
    largest = jax.tree.map(lambda leaf: jnp.abs(leaf).max(), tight)
    assert all(value > 0 for value in jax.tree.leaves(largest))
    for widths in ((3, 7), (1, 2, 3, 6)):
        other_loss, other = gradients(batch(widths=widths))
        assert_close(other_loss, loss)
        # Half the tolerance is relative, and of each number itself.
        assert_close(*(jax.tree.map(jnp.divide, each, largest) for each in (other, tight)), slack=0.5)


@every_variant
def test_permuted_documents_give_permuted_answers(config):
    order = [2, 0, 1]
    losses, codes, nats = essence(compiled(config)(batch()))
    other_losses, other_codes, other_nats = essence(compiled(config)(batch([DOCUMENTS[d] for d in order])))
    assert_close(other_losses, losses, slack=10)
    assert_close(other_codes, codes[jnp.array(order)])
    assert_close(other_nats, {(new, s): nats[old, s] for new, old in enumerate(order) for d, s in nats if d == old})


@every_variant
def test_rows_may_be_in_any_order(config):
    usual, turned = (compiled(config)(batch(order=order)) for order in (None, lambda place: (-place[1], place[0])))
    assert_close(essence(turned), essence(usual), slack=10)


@every_variant
def test_documents_do_not_see_each_other(config):
    """Another second document leaves the first and third as they were."""
    other = (DOCUMENTS[0], [[8, 3]], DOCUMENTS[2])
    (_, codes, nats), (_, changed, changed_nats) = (essence(compiled(config)(batch(d))) for d in (DOCUMENTS, other))
    assert_close(changed[jnp.array([0, 2])], codes[jnp.array([0, 2])])
    assert not np.allclose(changed[1], codes[1])
    for place, value in nats.items():
        if place[0] != 1:
            assert_close(changed_nats[place], value)


@every_variant
def test_predictions_do_not_depend_on_later_words(config):
    """With the code held fast, a changed last word leaves the nats of all words before it as they were."""
    model, params = drawn(config)
    _, code, _ = compiled(config)(batch())
    score = jax.jit(lambda b: model.apply({"params": params}, code, b, method="score"))
    before = by_sentence(score(batch()))
    *begin, end = DOCUMENTS[0]
    after = by_sentence(score(batch(([*begin, [*end[:-2], 10, end[-1]]], *DOCUMENTS[1:]))))
    changed = (0, len(begin))
    for place, value in before.items():
        upto = len(value) - 2 if place == changed else len(value)
        assert_close(after[place][:upto], value[:upto])
    assert abs(after[changed][-2] - before[changed][-2]) > 1e-3
    assert abs(after[changed][-1] - before[changed][-1]) > 1e-3


@every_variant
def test_jit_equals_eager(config):
    assert_close(compiled(config)(batch()), answers(*drawn(config), batch()), slack=10)


def test_unused_documents_have_no_gradient():
    """A batch of padding alone has a loss and gradients of zero."""
    model, params = drawn(VARIANTS["none"])
    empty = jax.tree.map(jnp.zeros_like, batch())._replace(row_index=jnp.full_like(batch().row_index, -1))
    value, gradient = jax.jit(jax.value_and_grad(lambda p: total(model.apply({"params": p}, empty))))(params)
    assert value == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_a_perturbation_has_the_gradient_of_the_code():
    """The encoder's last sentence state is the code, so dL/dh there is dL/dcode; at padding it is zero."""
    model, params = drawn(VARIANTS["none"])
    given = batch()
    _, shapes = jax.eval_shape(lambda: model.apply({"params": params}, given, mutable=["perturbations"]))
    shapes = shapes["perturbations"]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def probed(perturbations):
        return model.apply({"params": params, "perturbations": perturbations}, given).reconstruction.total

    def through(document):
        code = model.apply({"params": params}, given, method="encode")._replace(document=document)
        scores = model.apply({"params": params}, code, given, method="score")
        return jnp.where(scores.mask, scores.nll, 0).sum()

    probe = np.asarray(jax.jit(jax.grad(probed))(zeros)["encoder"]["sentence"]["hidden_0_0"])
    direct = jax.jit(jax.grad(through))(compiled(VARIANTS["none"])(given)[1].document)
    for row, document in enumerate(DOCUMENTS):
        # Read backwards, padding comes first.
        assert_close(probe[row, -1], direct[row], slack=10)
        assert not probe[row, : -len(document)].any()
        assert probe[row, -len(document) :].all()


@pytest.mark.parametrize("collection", ["perturbations", "gates"])
def test_perturbations_and_gates_change_no_loss(collection):
    model, params = drawn(VARIANTS["none"])
    plain = compiled(VARIANTS["none"])(batch())[0]
    probe = jax.jit(lambda p: model.apply({"params": p}, batch(), mutable=[collection]))
    losses, collected = probe(params)
    assert_close(losses, plain)
    assert {"encoder", "sentence_decoder", "word_decoder"} == set(collected[collection])


def test_dropout_draws_from_its_key_alone():
    config = replace(VARIANTS["none"], input_dropout=0.3, recurrent_dropout=0.3, word_dropout=0.3)
    model, params = drawn(config)
    loss = jax.jit(lambda key: total(model.apply({"params": params}, batch(), train=True, rngs={"dropout": key})))
    first, again, other = (float(loss(jax.random.key(seed))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", "sentence, attention", "word, paper"])
def test_bfloat16_stays_near_float32(name):
    narrow = replace(VARIANTS[name], dtype="bfloat16")
    (near, near_gradient), (exact, gradient) = (differentiated(each)(batch()) for each in (narrow, VARIANTS[name]))
    assert near.dtype == jnp.float32
    np.testing.assert_allclose(near, exact, rtol=0.02)
    flat = [jnp.concatenate([x.ravel() for x in jax.tree.leaves(g)]) for g in (near_gradient, gradient)]
    assert flat[0].dtype == jnp.float32
    assert jnp.linalg.norm(flat[0] - flat[1]) < 0.1 * jnp.linalg.norm(flat[1])
