"""How stable are gradients across initializations, can theory predict it, and does it determine trainability?

    python -m benchmarks run gradient_stability

Four tables. A, at initialization: every scheme with and without layer normalization, predicted and measured slopes. B,
training: which of them learn tasks that require memory. C: clipping and learning rates. D: dropout and biases. B is run
last, as it is the longest by far, with its cells in order of importance. `--quick` measures a few small cells of each.

Device: two CPU cores take 10 minutes for A, 40 for C, 30 for D, and an hour for the first 30 cells of B, of which there
are 260: all of them take a GPU. Measured cells are kept; an interrupted run is resumed.
Expected: A agrees with the tied theory within 0.04 nats per step; of the six claims below the table two are refuted. In
B schemes with a slope of -0.2 or less seldom succeed, and those with one near 0 mostly do. In C no clip makes the flax
default learn. In D the best recipe needs its biases.
"""

from benchmarks.gradients import clipping, dropout, initialization, trainability

BENCHMARKS = (initialization.TABLE, clipping.TABLE, dropout.TABLE, trainability.TABLE)
