"""Causes of reports for which the doctor has no rule, with the signature and the repair in each framework."""

from typing import NamedTuple

GITHUB = "https://github.com/"


class Proposed(NamedTuple):
    """A cause.

    Attributes:
        symptom: what users observe.
        evidence: what tells it from its competitors.
        jax: the repair in JAX and Flax.
        keras: the repair in Keras.
        torch: the repair in PyTorch.
        source: address of a report.
    """

    symptom: str
    evidence: str
    jax: str
    keras: str
    torch: str
    source: str


PROPOSED = {
    "ids-out-of-range": Proposed(
        "no error, but rare words are never learned; in other frameworks an index error",
        "ids of the batches that are at least the number of rows of the table from which they are gathered",
        "nn.Embed(num_embeddings=largest id + 1, ...); JAX reads the last row, or NaN, instead of raising an error",
        "Embedding(input_dim=largest id + 1, ...)",
        "nn.Embedding(largest id + 1, ...); on a GPU the error is asynchronous",
        GITHUB + "jax-ml/jax/issues/3774",
    ),
    "log-missing": Proposed(
        "the loss is negative and ends near -1, although it should be a likelihood",
        "the loss lies between -1 and 0 and is minus the mean of a softmax at the labels, without a logarithm",
        "optax.softmax_cross_entropy_with_integer_labels(logits, labels), or -jax.nn.log_softmax at the labels",
        'loss="sparse_categorical_crossentropy", not a mean of outputs',
        "nn.CrossEntropyLoss() of logits, or F.log_softmax before nn.NLLLoss()",
        GITHUB + "pytorch/pytorch/issues/2623",
    ),
    "parameters-missing": Proposed(
        "the loss stops falling early; some layers are never updated",
        "products of the batch with constants of the traced program as large as weights, that are no parameters",
        "give all of them to the gradient: eqx.filter(model, eqx.is_array), or variables['params'] of the whole module",
        "assign layers to attributes of the model, not to a list that Keras does not track",
        "nn.ModuleList instead of a list; optimizer over model.parameters() of the whole model",
        GITHUB + "ikostrikov/pytorch-meta-optimizer/issues/11",
    ),
    "last-state-wrong": Proposed(
        "a bidirectional model is no better than one that reads forward",
        "what is read of the backward recurrence has seen one step: it does not change with the other inputs",
        "nn.Bidirectional's carry, or y_backward[:, 0]",
        'Bidirectional(LSTM(units), merge_mode="concat") without return_sequences',
        "torch.cat([h_n[-2], h_n[-1]], -1) instead of output[:, -1]",
        GITHUB + "yunjey/pytorch-tutorial/issues/149",
    ),
    "mask-hides-data": Proposed(
        "one word or value, often the most frequent one, has no influence",
        "positions that the mask hides lie before others that it shows, in many rows",
        "ids of words from 1 on, so that 0 is padding only; mask by lengths",
        "Embedding(mask_zero=True) with words from 1 on; Masking(mask_value=...) of a value that no datum has",
        "words from 1 on with padding_idx=0; pack_padded_sequence with lengths",
        GITHUB + "piskvorky/gensim/issues/1900",
    ),
    "evaluation-stale": Proposed(
        "the training loss falls, but the evaluation never changes",
        "the loss for evaluation is the same for any parameters",
        "give the parameters to the function: eval_step(state.params, batch), not those of the outer scope",
        "evaluate the model that was fitted, not a copy made before",
        "evaluate the module that the optimizer holds, not a copy.deepcopy made before",
        GITHUB + "google/flax/pull/3982",
    ),
}
"""Causes by slug."""
