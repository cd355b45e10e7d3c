"""Scores of whole documents, against plain loops and the metrics of their texts."""

import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.markov_text import Markov

from hae_jax.batch import EOD, EOS, PAD, UNK, Batch
from hae_jax.config import ModelConfig
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.inference import metrics
from hae_jax.inference.evaluate import evaluate
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode_batches, score_tokens, teacher_forced_scores
from hae_jax.models import build
from hae_jax.models.outputs import Code

WORDS = "ant bee cat dog eel fox gnu"
VOCAB, CODE, SENTS, NARROW, WIDE = 11, 3, 5, 3, 7
TOKENIZER = Tokenizer.train([WORDS], "word", VOCAB)


def documents(count=13, seed=0):
    random = np.random.default_rng(seed)
    return [
        [random.integers(4, VOCAB, random.integers(1, WIDE)).tolist() for _ in range(random.integers(1, SENTS + 1))]
        for _ in range(count)
    ]


def batches(texts, size, spare=0):
    """Batches of one shape, each with `size` documents and `spare` more of nothing."""
    for at in range(0, len(texts), size):
        tables = ([[PAD] * NARROW], [[PAD] * WIDE])
        places = []
        for document in texts[at : at + size]:
            for k, sentence in enumerate(document):
                ids = [*sentence, EOD if k == len(document) - 1 else EOS]
                table = tables[len(ids) > NARROW]
                table.append(ids + [PAD] * (len(table[0]) - len(ids)))
            places.append([len(document)])
        room = 1 + SENTS * size
        narrow, wide = (np.array(table + [table[0]] * (room - len(table)), np.int32) for table in tables)
        slots = np.full((size + spare, SENTS), -1, np.int32)
        used = [1, 1]
        for doc, document in enumerate(texts[at : at + size]):
            for k, sentence in enumerate(document):
                long = int(len(sentence) + 1 > NARROW)
                slots[doc, k] = used[long] + long * room
                used[long] += 1
        yield Batch((narrow, wide), slots), len(places)


def markov(seed=0, vocab=VOCAB):
    model = Markov(vocab, CODE)
    batch = next(batches(documents(1), 1))[0]
    params = jax.jit(model.init)(jax.random.key(seed), batch)["params"]
    return model, {**params, "follow": params["follow"].at[:, EOD].add(1.0)}


def constant(chain, vocab=VOCAB):
    """A model that decodes every code to the same text."""
    model, params = markov(vocab=vocab)
    follow = np.full((vocab, vocab), -50.0, np.float32)
    follow[[PAD, *chain[:-1]], chain] = 50.0
    return model, {**params, "follow": jnp.array(follow), "project": jnp.zeros((CODE, vocab))}


def teacher_forced(model, params, given):
    return teacher_forced_scores(score_tokens(model, params, encode_batches(model, params, given)))


def text_of(document):
    return " ".join(TOKENIZER.decode(sentence) for sentence in document if sentence)


def flat(document):
    """Ids of a document, end marks included, and the position of the sentence of each."""
    pairs = [(word, k) for k, sentence in enumerate(document) for word in [*sentence, EOS]]
    ids, sents = zip(*pairs, strict=True)
    return [*ids[:-1], EOD], list(sents)


def nll(params, document, code):
    """-ln p of each token, by a plain loop in float64."""
    follow, project = (np.asarray(params[name], np.float64) for name in ("follow", "project"))
    logits = follow + code @ project
    table = np.log(np.exp(logits).sum(-1, keepdims=True)) - logits
    ids, _ = flat(document)
    return [table[a, b] for a, b in zip([PAD, *ids], ids, strict=False)]


def code_of(params, document):
    return np.asarray(params["embed"], np.float64)[flat(document)[0]].mean(0)


def test_teacher_forced_scores_equal_a_plain_loop():
    texts = documents()
    model, params = markov()
    codes = [code_of(params, document) for document in texts]
    matched = np.concatenate([nll(params, *pair) for pair in zip(texts, codes, strict=True)])
    mismatched = np.concatenate([nll(params, *pair) for pair in zip(texts, [codes[-1], *codes[:-1]], strict=True)])
    result = teacher_forced(model, params, batches(texts, 5))
    assert (result.documents, result.tokens) == (len(texts), len(matched))
    assert result.loss == pytest.approx(np.mean(matched), rel=1e-5)
    assert result.perplexity == pytest.approx(math.exp(np.mean(matched)), rel=1e-4)
    assert result.code_gap == pytest.approx(np.mean(mismatched) - np.mean(matched), rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"attention": True, "feedback": "word"}, {"kind": "flat"}], ids=str)
def test_the_loss_is_what_training_minimises(options):
    config = ModelConfig(embed_dim=5, hidden_dim=3, sentence_dim=7, **options)
    model, (batch, count) = build(config, VOCAB), next(batches(documents(), 13))
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), batch)["params"], np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.7, x.shape).astype(np.float32), shapes)
    losses = jax.jit(model.apply)({"params": params}, batch)
    result = evaluate(model, params, [(batch, count)], TOKENIZER)
    assert result.loss == pytest.approx(float(losses.reconstruction.mean), rel=1e-5)
    assert result.tokens == losses.reconstruction.count
    assert result.code_gap != 0


def test_free_running_scores_equal_the_metrics_of_the_texts():
    texts = documents()
    model, params = markov()
    codes = jnp.array([code_of(params, document) for document in texts], jnp.float32)
    written = split(greedy(model, params, Code(codes), SENTS * WIDE))
    sources, outputs = [text_of(d) for d in texts], [text_of(d) for d in written]
    result = evaluate(model, params, batches(texts, 5), TOKENIZER)
    assert result.bleu == metrics.bleu(sources, outputs)
    assert {name: getattr(result, name) for name in metrics.ROUGE} == metrics.rouge(sources, outputs)
    assert result.examples == tuple(zip(sources[:3], outputs[:3], strict=True))


@pytest.mark.parametrize("size", [1, 2, 7, 13, 17])
def test_batch_size_and_padding_documents_change_nothing(size):
    model, params = markov()
    whole = evaluate(model, params, batches(documents(), 13), TOKENIZER).to_dict()
    parts = evaluate(model, params, batches(documents(), size, spare=3), TOKENIZER).to_dict()
    for (path, left), right in zip(jax.tree.leaves_with_path(whole), jax.tree.leaves(parts), strict=True):
        assert left == pytest.approx(right, rel=1e-6), path


def test_batches_without_documents_change_nothing():
    model, params = markov()
    some = list(batches(documents(), 13))
    none = [(some[0][0]._replace(row_index=np.full_like(some[0][0].row_index, -1)), 0)]
    results = [evaluate(model, params, given, TOKENIZER) for given in (some, none + some + none)]
    assert results[0].to_dict() == results[1].to_dict()


def test_the_code_gap_is_exactly_zero_for_a_model_that_ignores_the_code():
    model, params = markov()
    params = {**params, "project": jnp.zeros_like(params["project"])}
    assert teacher_forced(model, params, batches(documents(), 5)).code_gap == 0.0


def test_the_code_gap_of_a_single_document_is_zero():
    assert teacher_forced(*markov(), batches(documents(1), 3)).code_gap == 0.0


def test_a_perfect_reconstruction_has_perfect_scores():
    model, params = constant([4, 5, 6, 7, EOS, 8, 9, 10, EOD])
    result = evaluate(model, params, batches([[[4, 5, 6, 7], [8, 9, 10]]] * 3, 2), TOKENIZER)
    assert (result.loss, result.perplexity, result.token_accuracy) == (0.0, 1.0, 1.0)
    assert (result.bleu, result.exact_match, result.coherence) == (100.0, 1.0, 0.0)
    assert (result.bleu_limit, result.exact_limit) == (100.0, 1.0)
    assert (result.rouge1, result.rouge2, result.rougeL) == (1.0, 1.0, 1.0)
    assert set(result.examples) == {("ant bee cat dog eel fox gnu",) * 2}


def test_a_word_divided_between_rows_is_one_word():
    tokenizer = Tokenizer.train(["-"], "bpe", 260)
    space, b, l, a, c, k, s, m, i, t, h = tokenizer.encode("blacksmith")  # noqa: E741  # all different, one per byte
    model, params = constant([space, b, l, a, EOS, c, k, s, m, i, t, h, EOD], 260)
    result = evaluate(model, params, batches([[[space, b, l], [a, c, k, s, m, i], [t, h]]], 1), tokenizer)
    assert result.examples == (("blacksmith", "blacksmith"),)
    assert (result.exact_match, result.rouge1) == (1.0, 1.0)
    assert {part.exact_match for part in result.by_length.values()} == {1.0}
    assert {part.exact_match for part in result.by_position.values()} == {0.0}, "rows are compared one by one"


def test_an_unknown_word_repeated_is_no_match():
    model, params = constant([UNK, 5, 6, 7, EOD])
    result = evaluate(model, params, batches([[[UNK, 5, 6, 7]]] * 3, 2), TOKENIZER)
    assert result.token_accuracy == 1.0
    assert (result.bleu, result.exact_match) == (metrics.bleu(["? b c d"] * 3, ["<unk> b c d"] * 3), 0.0)
    assert (result.bleu_limit, result.exact_limit) == (result.bleu, 0.0)
    assert set(result.examples) == {("<unk> bee cat dog",) * 2}


def test_the_limits_are_the_texts_and_not_the_models():
    texts = [[[UNK, 5, 6, 7]], [[4, 5, 6, 7, 8]]]
    model, params = constant([9, 10, EOD])
    result = evaluate(model, params, batches(texts, 2), TOKENIZER)
    whole = metrics.bleu(["? bee cat dog", "ant bee cat dog eel"], ["<unk> bee cat dog", "ant bee cat dog eel"])
    assert 0 == result.bleu < result.bleu_limit == whole < 100
    assert (result.exact_match, result.exact_limit) == (0.0, 0.5)


def test_sentences_in_the_wrong_order_are_incoherent():
    model, params = constant([4, 5, EOS, 6, 7, EOD])
    for text, coherence, matches in [([[4, 5], [6, 7]], 0.0, 1.0), ([[6, 7], [4, 5]], 2.0, 0.0)]:
        result = evaluate(model, params, batches([text] * 3, 2), TOKENIZER)
        assert result.coherence == coherence
        assert {part.exact_match for part in result.by_position.values()} == {matches}


def test_parts_by_length_add_up_to_the_whole():
    model, params = markov()
    texts = documents(31)
    result = evaluate(model, params, batches(texts, 5), TOKENIZER)
    for name, part in result.by_length.items():
        low, high = map(int, re.fullmatch(r"(\d+)-(\d+)", name).groups())
        inside = [document for document in texts if low <= len(flat(document)[0]) <= high]
        alone = evaluate(model, params, batches(inside, 5), TOKENIZER)
        assert (part.documents, part.tokens, part.bleu) == (len(inside), alone.tokens, alone.bleu)
        assert (part.loss, part.token_accuracy) == pytest.approx((alone.loss, alone.token_accuracy))
    assert list(result.by_length) == ["1-8", "9-16", "17-32"]
    assert sum(part.documents for part in result.by_length.values()) == len(texts)


def test_parts_by_position_add_up_to_the_whole():
    model, params = markov()
    texts = documents(31)
    result = evaluate(model, params, batches(texts, 5), TOKENIZER)
    assert list(result.by_position) == ["1", "2", "3", "4", "5"]
    assert [part.documents for part in result.by_position.values()] == [
        sum(len(document) > k for document in texts) for k in range(SENTS)
    ]
    assert sum(part.tokens for part in result.by_position.values()) == result.tokens
    total = sum(part.tokens * part.loss for part in result.by_position.values())
    assert total / result.tokens == pytest.approx(result.loss)
    codes = [code_of(params, document) for document in texts]
    third = [
        loss
        for document, code in zip(texts, codes, strict=True)
        for loss, sent in zip(nll(params, document, code), flat(document)[1], strict=True)
        if sent == 2
    ]
    assert result.by_position["3"].loss == pytest.approx(np.mean(third), rel=1e-5)


def test_a_sentence_that_was_not_written_counts_as_empty():
    model, params = markov()
    follow = params["follow"].at[:, EOD].set(99.0)
    result = evaluate(model, {**params, "follow": follow}, batches(documents(), 5), TOKENIZER)
    assert {part.exact_match for part in result.by_position.values()} == {0.0}
    assert result.bleu == 0.0
    assert math.isnan(result.coherence)


def test_an_evaluation_has_the_teacher_forced_scores():
    model, params = markov()
    scores = teacher_forced(model, params, batches(documents(), 5))._asdict()
    result = evaluate(model, params, batches(documents(), 5), TOKENIZER)
    assert {name: getattr(result, name) for name in scores} == scores


def test_results_go_through_json():
    result = evaluate(*markov(), batches(documents(), 5), TOKENIZER)
    broken = dataclasses.replace(result, loss=math.nan, perplexity=math.inf)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == result.to_dict()
    assert (broken.to_dict()["loss"], broken.to_dict()["perplexity"]) == (None, None)


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="batches must hold at least one document, got none"):
        evaluate(*markov(), [], TOKENIZER)
