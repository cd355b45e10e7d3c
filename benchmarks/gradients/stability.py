"""How stable are gradients across initialisations, does theory know it, and does it decide about training?

    python -m benchmarks run gradient_stability

Four tables. A, at initialisation: every scheme with and without layer normalisation, the predicted slope beside the
measured one. B, training: which of them learn what has to be remembered. C: clips and learning rates. D: dropout and
biases. B comes last, as it is the longest by far, its own cells in the order of their importance. `--quick` measures a
few small cells of each.

Device: two CPU cores take 10 minutes for A, 40 for C, 30 for D, and an hour for the first 30 cells of B, of which there
are 260: all of them want a GPU. What has been measured is kept; a run that is stopped goes on.
Expected: A is as the tied theory says, within 0.04 nat a step; of the six claims under it two are refuted. In B what
has a slope of -0.2 or less seldom succeeds, and what has one near 0 mostly does. In C no clip makes the flax default
learn. In D the good recipe needs its biases.
"""

from benchmarks.gradients import clipping, dropout, initialization, trainability

BENCHMARKS = (initialization.TABLE, clipping.TABLE, dropout.TABLE, trainability.TABLE)
