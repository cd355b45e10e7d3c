"""How stable are gradients across initialisations, does theory know it, and does it decide about training?

    python -m benchmarks run gradient_stability

Four tables, in the order in which they are measured. A, at initialisation: every scheme with and without layer
normalisation, the predicted slope beside the measured one. B, training: which of them learn what has to be remembered.
C: clips and learning rates. D: dropout and biases. `--quick` measures a few small cells of each.

Device: two CPU cores take 10 minutes for A, an hour for the first 33 cells of B (all 257 want a GPU), half an hour for
C, and half an hour for D. What has been measured is kept; a run that is stopped goes on.
Expected: A passes its six checks; in B what has a slope of -0.4 or less seldom succeeds; in C no clip makes the flax
default learn; in D the good recipe needs its biases.
"""

from benchmarks import clips, dropouts, initialisation, success

BENCHMARKS = (initialisation.TABLE, success.TABLE, clips.TABLE, dropouts.TABLE)
