"""Repairs in the words of Keras: the line to change, by cause."""

CHANGES: dict[str, str] = {
    "softmax-twice": (
        "SparseCategoricalCrossentropy(from_logits=True) is for a last layer Dense(vocabulary) without activation; "
        'after Dense(vocabulary, activation="softmax") write from_logits=False'
    ),
    "state-swapped": (
        "_, h, c = LSTM(units, return_state=True)(x), and then LSTM(units)(y, initial_state=[h, c]): "
        "in Keras h precedes c"
    ),
    "layer-norm-misuse": "LayerNormalization(axis=-1), over the features",
    "axes-swapped": (
        "inputs of shape [batch, time, features]: x.transpose(1, 0, 2) before fit, or keras.layers.Permute((2, 1)) if "
        "time and features are swapped"
    ),
    "target-leak": "model.fit([x, y[:, :-1]], y[:, 1:]): the decoder reads the words before the one that it predicts",
    "code-unwired": (
        "LSTM(units, return_sequences=True)(y, initial_state=[h, c]) with the states of the encoder, or "
        "RepeatVector(steps)(code) as the decoder's input"
    ),
    "frozen-parameters": "layer.trainable = True for the layers named, and model.compile(...) again after it",
    "masked-nan": (
        "in a loss of your own: keras.ops.where(mask, f(keras.ops.where(mask, x, 1.0)), 0.0), divided by "
        "keras.ops.maximum(keras.ops.sum(mask), 1.0)"
    ),
    "low-precision": (
        'keras.mixed_precision.set_dtype_policy("mixed_bfloat16") instead of "float16" or "bfloat16", or '
        'LSTM(units, dtype="float32")'
    ),
    "dropout-wrong": (
        "Dropout(rate)(x) without training=True, so that evaluation has no dropout; dropout and recurrent_dropout of "
        "at most 0.5"
    ),
    "inputs-unscaled": (
        "normalizer = keras.layers.Normalization(axis=-1); normalizer.adapt(x), as the first layer; scale the targets "
        "alike"
    ),
    "padding-in-loss": (
        "Embedding(vocabulary, size, mask_zero=True), whose mask reaches the loss; or fit(..., sample_weight=(y != 0))"
    ),
    "padding-in-encoder": (
        "Embedding(vocabulary, size, mask_zero=True) before the first LSTM, or Masking(mask_value=0.0) for real numbers"
    ),
    "blank-sentences": (
        "LSTM(units)(sentences, mask=keras.ops.any(words != 0, axis=-1)): a sentence is real if any of its words is"
    ),
    "loss-reduction": (
        'model.compile(optimizer, loss="mse"), or keras.losses.MeanSquaredError(reduction="sum_over_batch_size"): the '
        "mean, not the sum"
    ),
    "vocabulary-collapse": "TextVectorization(max_tokens=...) with more tokens, or a tokenizer of subwords",
    "data-not-shuffled": "model.fit(..., shuffle=True); a dataset or generator has to be shuffled where it is made",
    "targets-scrambled": "order = rng.permutation(len(x)); model.fit(x[order], y[order]): one order for both",
    "unbounded-activation": ('LSTM(units), whose activation is "tanh", instead of LSTM(units, activation="relu")'),
    "exploding-recurrence": ('LSTM(units, recurrent_initializer="orthogonal"), and Adam(..., global_clipnorm=1.0)'),
    "gates-saturated": (
        'LSTM(units, kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal"), and inputs of unit '
        "variance"
    ),
    "forget-gate-closed": (
        "LSTM(units, use_bias=True, unit_forget_bias=True), which is the default of Keras: the bias of the forget gate "
        "starts at 1"
    ),
    "over-regularised": (
        "AdamW(weight_decay=1e-4) or less; kernel_regularizer and recurrent_regularizer of at most L2(1e-5); "
        "Adam(epsilon=1e-7)"
    ),
    "clip-too-tight": "Adam(global_clipnorm=...) of about twice the median gradient norm",
    "learning-rate-too-high": "Adam(learning_rate=...) at a tenth of the rate, or a schedule with warmup_steps",
    "learning-rate-too-low": "Adam(learning_rate=...) at ten times the rate",
    "codes-collapsed": "LayerNormalization() after LSTM(units, unit_forget_bias=True), whose last output is the code",
    "constant-output": (
        "RepeatVector(steps)(code), so that the decoder reads the code at every step, or a Concatenate of it with the "
        "decoder's inputs"
    ),
    "code-ignored": (
        "Dropout on the words that the decoder reads, Concatenate()([y, RepeatVector(steps)(code)]), or a smaller "
        "decoder; a lower factor of the KL term in add_loss"
    ),
    "sequence-too-long": (
        "fit on x[:, :steps] with few steps first, then more; or TimeDistributed(LSTM(units)) over parts of the "
        "sequence"
    ),
    "bottleneck-too-small": (
        "more units in the LSTM whose last output is the code; a last layer Dense(features) without activation if the "
        "targets lie outside of the activation's range"
    ),
    "exposure-gap": (
        "pass [h, c] of each step to the next one in the sampling model; Dropout on the decoder's inputs in training"
    ),
    "targets-broadcast": (
        "in a loss of your own: keras.ops.squeeze(y_pred, -1) - y_true, of equal shapes, as Keras' own losses do"
    ),
    "labels-out-of-range": (
        'Dense(classes, activation="softmax") with as many outputs as classes, numbered from 0; '
        "Embedding(vocabulary + 1, ...) if ids start at 1"
    ),
    "softmax-of-one": 'Dense(1, activation="sigmoid") with "binary_crossentropy"; a softmax needs Dense(classes)',
    "softmax-axis": "keras.layers.Softmax(axis=-1), over the positions attended to; axis=1 for [batch, time, 1]",
    "weights-zero": 'Dense(units, kernel_initializer="glorot_uniform"), the default, instead of "zeros" or "ones"',
    "state-random": "LSTM(units)(x) without initial_state starts from zeros, instead of initial_state=[random, random]",
    "log-of-zero": (
        "keras.ops.log(x + keras.config.epsilon()), or keras.ops.logsumexp and a loss with from_logits=True"
    ),
    "probability-unbounded": (
        'a last layer with activation="sigmoid" or "softmax", or from_logits=True in the loss for one without'
    ),
    "exponential-overflow": "keras.ops.exp(keras.ops.clip(log_variance, -10.0, 10.0)), or keras.ops.softplus",
    "loss-negated": "a loss of your own falls with better predictions: -log_likelihood, or the error itself",
    "data-not-finite": "x = np.nan_to_num(x) before fit, with a mask or sample_weight of 0 at missing values",
    "no-gradient": (
        "no keras.ops.stop_gradient, argmax, round, cast to integers or comparison between the weights and the loss"
    ),
    "layer-unused": "x = LSTM(units)(x), whose output the next layer takes: call each layer on the last result",
    "gradients-accumulated": "SGD(rate, momentum=0.9), with a momentum below 1",
    "optimizer-state-lost": (
        "one optimizer for the whole training, made outside of the loop; weights and optimizer_variables = "
        "optimizer.stateless_apply(optimizer_variables, gradients, weights)"
    ),
    "gradient-ascent": "SGD(learning_rate=...) with a positive rate, and gradients of the loss, not of its negative",
    "schedule-ended": "CosineDecay(rate, decay_steps=epochs * len(x) // batch_size): steps, not epochs",
    "kl-dominates": (
        "keras.ops.sum(error, axis=(1, 2)) for the reconstruction, as the KL term is summed, or a smaller factor of "
        "the KL term in add_loss, raised from 0 by a callback"
    ),
    "loss-fails": "model.train_on_batch(x[:32], y[:32]) has to work first",
    "no-parameters": "a model with trainable weights: layer.trainable = True",
    "no-batches": "examine(model, x, y) with arrays, or examine(model, dataset) with batches (x, y)",
    "optimizer-fails": "model.compile(keras.optimizers.Adam(1e-3), loss) after the last change of layer.trainable",
    "patient-fails": "examine(model, x, y) with a compiled keras.Model",
}
"""Causes without an entry are worded as for JAX."""
