"""Causes of reports for which the doctor had no rule, with the signature and the repair in each framework."""

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
    "gradients-accumulated": Proposed(
        "the loss falls at first and then rises, the more the longer the training",
        "after n equal gradients the optimizer's update of plain descent is n times the first; under Adam the update "
        "of a gradient of 0 after one step has not decayed after hundreds of steps",
        "optax.sgd or optax.adam of the gradient of this step alone, not of a running sum; optax.trace(decay < 1)",
        "in a loop of one's own, a new GradientTape for each batch, and no sum of its gradients",
        "optimizer.zero_grad() before loss.backward() in every step",
        GITHUB + "huggingface/transformers/issues/340",
    ),
    "ids-out-of-range": Proposed(
        "no error, but rare words are never learned; in other frameworks an index error",
        "ids of the batches that are at least the number of rows of the table from which they are gathered",
        "nn.Embed(num_embeddings=largest id + 1, ...); JAX reads the last row, or NaN, instead of raising an error",
        "Embedding(input_dim=largest id + 1, ...)",
        "nn.Embedding(largest id + 1, ...); on a GPU the error is asynchronous",
        GITHUB + "jax-ml/jax/issues/3774",
    ),
    "softmax-axis": Proposed(
        "the weights of the attention are 1 if there is one example, and depend on the other examples otherwise",
        "a softmax in the traced program whose axis is that of the examples; examples influence each other only there, "
        "while axes-swapped has a recurrence along them",
        "jax.nn.softmax(scores, axis=-1), over the positions that are attended to",
        "Softmax(axis=-1), over the positions that are attended to",
        "scores.softmax(dim=-1)",
        GITHUB + "PetrochukM/PyTorch-NLP/issues/2",
    ),
    "softmax-of-one": Proposed(
        "all outputs, or all weights of the attention, are exactly 1, and the accuracy never changes",
        "a softmax in the traced program along an axis of size 1; parameters that only it reads have gradient 0",
        "nn.Dense(number of classes) before the softmax, or a sigmoid for one output; for attention the axis of time",
        'Dense(classes, activation="softmax"), or Dense(1, activation="sigmoid")',
        "nn.Linear(hidden, classes), or torch.sigmoid; scores.softmax(dim=1) for scores of shape [batch, time, 1]",
        GITHUB + "keras-team/keras/issues/1261",
    ),
    "log-missing": Proposed(
        "the loss is negative and ends near -1, although it should be a likelihood",
        "the loss lies between -1 and 0 and is minus the mean of a softmax at the labels, without a logarithm",
        "optax.softmax_cross_entropy_with_integer_labels(logits, labels), or -jax.nn.log_softmax at the labels",
        'loss="sparse_categorical_crossentropy", not a mean of outputs',
        "nn.CrossEntropyLoss() of logits, or F.log_softmax before nn.NLLLoss()",
        GITHUB + "pytorch/pytorch/issues/2623",
    ),
    "labels-out-of-range": Proposed(
        "the binary cross-entropy falls far below 0, and the accuracy is 1 or 0",
        "a sigmoid's cross-entropy whose labels are not between 0 and 1; the loss has no lower bound",
        "one output for each class and optax.softmax_cross_entropy_with_integer_labels; targets scaled to 0..1",
        'Dense(classes, activation="softmax") and loss="sparse_categorical_crossentropy"; targets scaled to 0..1',
        "nn.Linear(hidden, classes) and nn.CrossEntropyLoss(); targets of nn.BCELoss scaled to 0..1",
        GITHUB + "keras-team/keras/issues/2172",
    ),
    "probability-unbounded": Proposed(
        "NaN, or a loss of about 8 for half of the examples, from the first step",
        "a logarithm, at initialization, of outputs that no sigmoid or softmax has bounded, some of them negative",
        "optax.sigmoid_binary_cross_entropy(logits, labels)",
        "BinaryCrossentropy(from_logits=True), or a sigmoid in the last layer",
        "nn.BCEWithLogitsLoss()",
        GITHUB + "keras-team/keras/issues/14490",
    ),
    "log-of-zero": Proposed(
        "the loss is inf or NaN in a batch with an unusual value",
        "the argument of a logarithm is a sum of exponentials that underflows to 0, with finite inputs; "
        "unlike learning-rate-too-high it remains at a rate of 0",
        "jax.nn.logsumexp of log-densities and log-weights",
        "keras.ops.logsumexp of log-densities and log-weights",
        "torch.logsumexp, or torch.distributions.MixtureSameFamily",
        GITHUB + "keras-team/keras/issues/1061",
    ),
    "exponential-overflow": Proposed(
        "the loss is huge or NaN, for some data only",
        "the first value that is not finite, or that is huge, is an exponential of a learned number without a bound",
        "jnp.clip(log_variance, -10, 10) before jnp.exp, or jax.nn.softplus instead of it",
        "keras.ops.clip(log_variance, -10, 10) before exp",
        "log_variance.clamp(-10, 10) before exp()",
        GITHUB + "vanderschaarlab/synthcity/issues/331",
    ),
    "data-not-finite": Proposed(
        "the loss is NaN from some batch on",
        "the batches themselves hold values that are not finite; those batches, and no others, have a NaN loss",
        "fill or leave out missing values: jnp.where(jnp.isnan(y), 0, y), and a mask in the loss",
        "np.nan_to_num for the inputs, and sample_weight=0 at missing targets",
        "torch.nan_to_num, and a mask in the loss",
        GITHUB + "Nixtla/neuralforecast/issues/186",
    ),
    "targets-broadcast": Proposed(
        "all examples get the same prediction, that of the mean",
        "the difference in the loss has more elements than predictions, or than targets: [n, 1] less [n] or [1, 1]",
        "prediction[:, 0], or targets[:, None]; chex.assert_equal_shape before the difference",
        "y.reshape(-1, 1)",
        "prediction.squeeze(-1), or target.view_as(prediction)",
        GITHUB + "andrewgcodes/xlstm/issues/4",
    ),
    "gradient-ascent": Proposed(
        "the loss rises from the first step, faster and faster",
        "the update has a positive product with the gradient at every rate; the loss falls if it is negated",
        "optax.sgd(rate), or optax.scale(-rate) at the end of a chain; optax.apply_updates adds",
        "minimise -score instead of score; a positive learning rate",
        "optimizer.step() of the loss, not of its negative; maximize=False",
        GITHUB + "FluxML/model-zoo/pull/61",
    ),
    "optimizer-state-lost": Proposed(
        "the loss ends on a noisy floor, or diverges, whatever the settings of Adam are",
        "the optimizer's state, or its count of steps, is the same after two updates of different gradients",
        "updates, opt_state = optimizer.update(grads, opt_state, params), with the new opt_state in the next step",
        "one optimizer object for the whole training; compile once",
        "create the optimizer before the loop, not in it",
        GITHUB + "raskr/rust-autograd/issues/16",
    ),
    "parameters-missing": Proposed(
        "the loss stops falling early; some layers are never updated",
        "products of the batch with constants of the traced program as large as weights, that are no parameters",
        "give all of them to the gradient: eqx.filter(model, eqx.is_array), or variables['params'] of the whole module",
        "assign layers to attributes of the model, not to a list that Keras does not track",
        "nn.ModuleList instead of a list; optimizer over model.parameters() of the whole model",
        GITHUB + "ikostrikov/pytorch-meta-optimizer/issues/11",
    ),
    "weights-zero": Proposed(
        "the output does not depend on the input, and only biases are learned",
        "all kernels of a layer are 0 at first, so that gradients of kernels are 0 though none is cut off",
        "nn.initializers.orthogonal and lecun_normal for kernels; zeros for biases only",
        'kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal"',
        "nn.init.orthogonal_ and nn.init.xavier_uniform_ for weights; zeros for biases only",
        GITHUB + "tianzhi0549/CTPN/issues/62",
    ),
    "state-random": Proposed(
        "the same input has another output at every evaluation, with dropout switched off",
        "evaluation varies with the key, no dropout mask is drawn, and the initial state of a recurrence is random",
        "cell.initialize_carry, or zeros, as initial_carry",
        "no initial_state, or zeros",
        "lstm(x) without a state, or torch.zeros instead of torch.randn",
        GITHUB + "schmidt-ju/crat-pred/issues/8",
    ),
    "last-state-wrong": Proposed(
        "a bidirectional model is no better than one that reads forward",
        "what is read of the backward recurrence has seen one step: it does not change with the other inputs",
        "nn.Bidirectional's carry, or y_backward[:, 0]",
        'Bidirectional(LSTM(units), merge_mode="concat") without return_sequences',
        "torch.cat([h_n[-2], h_n[-1]], -1) instead of output[:, -1]",
        GITHUB + "yunjey/pytorch-tutorial/issues/149",
    ),
    "layer-unused": Proposed(
        "more layers change nothing",
        "a recurrence whose outputs nothing uses, while the code reaches the decoder from another one; in "
        "code-unwired no code reaches it",
        "use the carry of the last layer",
        "return_state or the output of the last LSTM, not of the first one",
        "h_n[-1] instead of h_n[0]",
        GITHUB + "tejaslodaya/timeseries-clustering-vae/issues/3",
    ),
    "mask-hides-data": Proposed(
        "one word or value, often the most frequent one, has no influence",
        "positions that the mask hides lie before others that it shows, in many rows",
        "ids of words from 1 on, so that 0 is padding only; mask by lengths",
        "Embedding(mask_zero=True) with words from 1 on; Masking(mask_value=...) of a value that no datum has",
        "words from 1 on with padding_idx=0; pack_padded_sequence with lengths",
        GITHUB + "piskvorky/gensim/issues/1900",
    ),
    "kl-dominates": Proposed(
        "the KL term is almost 0 and reconstructions are all the same",
        "the gradient of the KL term with respect to the mean is many times that of the reconstruction; "
        "learned if the weight of the KL term is a hundredth",
        "sum the reconstruction over the numbers of an example, then take the mean over examples, as of the KL term",
        "keras.ops.sum(error, axis=(1, 2)) before the mean; a weight of the KL term that rises from 0",
        'nn.MSELoss(reduction="sum") / batch size; a weight of the KL term that rises from 0',
        GITHUB + "AppliedDataSciencePartners/WorldModels/issues/12",
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
