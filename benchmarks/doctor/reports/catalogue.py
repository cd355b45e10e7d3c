"""All reports, and which of them are kept for the last test."""

from dataclasses import replace

from benchmarks.doctor.reports import autoencoders, classifiers, forecasters, languages, translators, variational
from benchmarks.doctor.reports.case import Case

HELD_OUT = {
    "FluxML/model-zoo#61",
    "cran2367/lstm_autoencoder_classifier#2",
    "ctallec/world-models#13",
    "facebookresearch/fairseq#3479",
    "google/flax#3982",
    "ikostrikov/pytorch-meta-optimizer#11",
    "jax-ml/jax#3774",
    "keras-team/keras#2172",
    "songlab-cal/tape#32",
    "suriyadeepan/easy_seq2seq#6",
}
"""Reports for the last test: `random.Random(20261127).sample` of all names in alphabetical order, drawn before any was
examined. They are examined once, after the rules are written."""
CASES: tuple[Case, ...] = tuple(
    replace(case, held_out=case.name in HELD_OUT)
    for case in (
        *languages.CASES,
        *translators.CASES,
        *autoencoders.CASES,
        *variational.CASES,
        *forecasters.CASES,
        *classifiers.CASES,
    )
)
"""Every report, once."""
