# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does the decoder read the code?
#
# A hierarchical autoencoder encodes a text in two steps: words to sentence vectors, and sentence vectors to a single
# vector, the **code**. A decoder with the same two levels reconstructs the text from the code alone.
#
# ```
#   words ──► sentence vector ─┐                            ┌─► sentence vector ──► words
#   words ──► sentence vector ─┼──►  one code per document ─┼─► sentence vector ──► words
#   words ──► sentence vector ─┘                            └─► sentence vector ──► words
#
#   word LSTM    sentence LSTM            the code            sentence LSTM    word LSTM
# ```
#
# (Li, Luong & Jurafsky, 2015, [arXiv 1506.01057](https://arxiv.org/abs/1506.01057).) Its loss can decrease for a long
# time without any use of the code: under teacher forcing the decoder can act as a language model. This notebook trains
# a small model on real paragraphs for a minute and measures when the decoder begins to use the code.

# %%
import dataclasses
import json
import tempfile
from itertools import zip_longest
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import hae_jax
from hae_jax.batch import EOD, EOS
from hae_jax.data import Batches, Dataset, sequential_batches
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode

INK, OWN, OTHER, FAINT = "#22252b", "#1f6f8b", "#d1495b", "#9aa0a6"
POINTS = {"textcoords": "offset points", "fontweight": "bold"}
plt.rcParams.update(
    {
        "figure.dpi": 110, "font.size": 10, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlelocation": "left", "axes.titleweight": "bold",
    }
)  # fmt: skip

# %% [markdown]
# ## A batch is a table of rows
#
# The text is two centuries of State of the Union addresses; some whole addresses are held out, and every number below
# is measured on those. Words are divided into the most frequent pieces (byte-level BPE), so that none is unknown. Rows
# are short here, to train within a minute: a sentence of more than eight tokens is continued in the next row, and a
# paragraph of more than three rows is divided into several documents, its **windows**. Nothing is cut off.

# %%
workdir = Path(tempfile.mkdtemp(prefix="hierarchy-"))
config = hae_jax.Config(
    hae_jax.ModelConfig(embed_dim=128, hidden_dim=128, sentence_dim=256),
    hae_jax.DataConfig(
        corpus="sotu", tokenizer="bpe", vocab_size=1500, max_sentences=3, max_tokens=8, batch_size=24, buckets=1
    ),
    hae_jax.OptimConfig(learning_rate=5e-3, warmup=50),
    hae_jax.TrainConfig(steps=1000, eval_every=125, eval_documents=128, save_every=1000),
)
model, dataset = hae_jax.train(config, workdir), Dataset.load(workdir / "data")
print(f"{model.step} steps, {len(dataset.train):,} training documents, {len(dataset.heldout):,} held out")

# %% [markdown]
# A batch is **a table of rows** from all of its documents; a second table holds the numbers of the rows of each
# document. The word LSTM processes all rows in parallel, so no computation is wasted on documents with fewer rows than
# others.

# %%
batch = Batches(dataset.train, config.data, seed=config.train.seed).batch(0)
(table,), row_index = batch.buckets, batch.row_index
owner = np.full(len(table), -1)
for document, rows in enumerate(row_index):
    owner[rows[rows >= 0]] = document
shown = 18
_, colour = np.unique(owner[:shown], return_inverse=True)
cells = np.where(table[:shown] > 0, colour[:, None] % 9, np.nan)
fig, axis = plt.subplots(figsize=(8, 5))
axis.imshow(cells, cmap="Pastel1", vmin=0, vmax=8, aspect="auto")
for row, ids in enumerate(table[:shown]):
    for column, word in enumerate(ids[ids > 0].tolist()):
        mark = {EOS: "eos", EOD: "eod"}.get(word)
        text = mark or model.tokenizer.decode([word])
        axis.text(column, row, text, ha="center", va="center", fontsize=7.5, style="italic" if mark else "normal")
axis.set_xticks([])
axis.set_yticks(range(shown), [f"document {owner[row]}" if owner[row] >= 0 else "spare" for row in range(shown)])
axis.tick_params(length=0, labelsize=7.5)
for spine in axis.spines.values():
    spine.set_visible(False)
axis.set_title(f"The first {shown} rows of a batch: a colour is a document, white is padding")
plt.show()

# %% [markdown]
# ## The code gap
#
# To measure whether the decoder uses the code, decode each document from **the code of another document**:
#
# $$\text{code gap} \;=\; \text{loss with another document's code} \;-\; \text{loss with its own}$$
#
# The loss is the teacher-forced negative log-likelihood in nats per token. While the gap is zero, the decoder is a mere
# language model and the two curves coincide. Then they separate.

# %%
lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
evaluations = [line for line in lines if line["kind"] != "train"]
steps = [line["step"] for line in evaluations]
own = np.array([line["loss"] for line in evaluations])
other = own + [line["code_gap"] for line in evaluations]

fig, axis = plt.subplots(figsize=(8, 4))
axis.fill_between(steps, own, other, color=OTHER, alpha=0.12, lw=0)
axis.plot(steps, other, color=OTHER, lw=2, marker="o", ms=4)
axis.plot(steps, own, color=OWN, lw=2, marker="o", ms=4)
at = len(steps) // 2
axis.annotate("another document's code", (steps[at], other[at]), (0, 10), ha="right", color=OTHER, **POINTS)
axis.annotate("its own code", (steps[at], own[at]), (0, -18), ha="right", color=OWN, **POINTS)
axis.annotate(
    f"gap {evaluations[-1]['code_gap']:.1f}", (steps[-1], (own[-1] + other[-1]) / 2), (-8, 0), ha="right", **POINTS
)
axis.set(xlabel="step", ylabel="held-out loss, nats per token", xlim=(0, None), ylim=(0, 1.08 * other.max()))
axis.set_title("The decoder uses the code more and more")
plt.show()

# %% [markdown]
# The gap is evidence that the code is used, not a measure of its information: a wrong code misleads, so the gap
# overestimates it. The curves separate this early because of two auxiliary losses: half of the rows are decoded
# directly from their own encoder vectors (`sentence_loss`), which trains the word level before the sentence level is
# ready; and the decoder's sentence vectors are drawn to those of the encoder (`vector_loss`), so that the word decoder
# receives vectors of one kind. Set both to 0 in the config above, and the curves coincide for longer.
#
# ## Reconstructions
#
# Held-out documents, spread over the held-out addresses, and their free-running reconstructions, in which each token is
# conditioned on the decoded tokens before it.


# %%
def rows_of(document):
    return [model.tokenizer.decode(row) for row in document]


held = [dataset.heldout.document(i) for i in range(len(dataset.heldout))]
sample = held[len(held) // 10 :: len(held) // 5][:5]
batch, _ = next(sequential_batches(sample, config.data, len(sample)))


def show(model, title):
    code = encode(model.module, model.params, batch)
    outputs = split(greedy(model.module, model.params, code, max_tokens=3 * 9))
    print(f"{'SOURCE':<48}{title}\n")
    for document, reconstruction in zip(sample, outputs, strict=True):
        for source, output in zip_longest(rows_of(document), rows_of(reconstruction), fillvalue=""):
            print(f"{source:<48}{output}")
        print()


show(model, "RECONSTRUCTION")

# %% [markdown]
# After a minute of training the reconstructions have the right number of rows, and some of their first words. The rest
# needs more steps and larger codes. A wrong token is an input of the following steps, so free-running text deviates
# more than the teacher-forced loss suggests (exposure bias).

# %% [markdown]
# ## Principal components of the codes
#
# The first two principal components, one point for each of 4,000 training documents. The number of rows is not an input
# of the model, but the decoder has to predict it: the last row of a document ends with a different end mark.

# %%
library = [dataset.train.document(i) for i in np.linspace(0, len(dataset.train) - 1, 4000).astype(int)]


def codes_of(model, documents):
    batches = sequential_batches(documents, config.data, 200)
    return np.concatenate([encode(model.module, model.params, batch).document[:real] for batch, real in batches])


codes = codes_of(model, library)
middle = codes.mean(0)
count = np.array([len(document) for document in library])
_, spread, axes = np.linalg.svd(codes - middle, full_matrices=False)
flat = (codes - middle) @ axes[:2].T

fig, axis = plt.subplots(figsize=(8, 4.2))
for number, colour in ((2, OTHER), (3, OWN)):
    axis.scatter(*flat[count == number].T, color=colour, s=7, alpha=0.5, lw=0, label=f"{number} rows")
axis.set(xticks=[], yticks=[], xlabel="first principal component", ylabel="second")
axis.legend(frameon=False, markerscale=3, loc="best")
share = spread**2 / (spread**2).sum()
axis.set_title(f"{len(codes):,} codes; the components explain {share[0]:.0%} and {share[1]:.0%} of the variance")
plt.show()

# %% [markdown]
# ## Mirror initialization
#
# So far, training had to discover how to store words in a state and how to retrieve them in order. With **mirror
# initialization** every encoder LSTM starts as a shift register that stores its inputs, and every decoder LSTM as its
# inverse, which subtracts what it has decoded (`docs/mirror.md`). Here the code can store three sentence vectors,
# outputs are normalized, and the sentence level is trained at a tenth of the learning rate. Beside this *order part*
# the code has a *topic part* of 64 numbers, of which more below. Everything else is as before, for a third of the
# steps.

# %%
mirrored = dataclasses.replace(
    config,
    model=hae_jax.ModelConfig(
        embed_dim=128, hidden_dim=128, sentence_dim=384, topic_dim=64, initializer="mirror", layer_norm="output",
        conditioning="initial_state", vector_loss=0.02,
    ),
    optim=hae_jax.OptimConfig(learning_rate=5e-4, warmup=50, sentence_lr_scale=0.1, clip_norm=200),
    train=hae_jax.TrainConfig(steps=333, eval_every=37, eval_documents=128, save_every=333),
)  # fmt: skip
other_workdir = Path(tempfile.mkdtemp(prefix="mirrored-"))
mirrored_model = hae_jax.train(mirrored, other_workdir)
lines = [json.loads(line) for line in (other_workdir / "metrics.jsonl").read_text().splitlines()]
mirror = [line for line in lines if line["kind"] != "train"]

fig, axis = plt.subplots(figsize=(8, 4))
best = evaluations[-1]["bleu_limit"]
axis.axhline(best, color=FAINT, lw=1, ls=":")
axis.annotate("perfect reconstruction", (steps[-1], best), (0, 5), ha="right", color=FAINT, **POINTS)
for name, colour, points, offset, side in (
    ("orthogonal", OTHER, evaluations, (0, 10), "right"),
    ("mirror", OWN, mirror, (8, -4), "left"),
):
    at, bleu = [point["step"] for point in points], [point["bleu"] for point in points]
    axis.plot(at, bleu, color=colour, lw=2, marker="o", ms=4)
    axis.annotate(name, (at[-1], bleu[-1]), offset, ha=side, color=colour, **POINTS)
axis.set(xlabel="step", ylabel="BLEU-4, free-running", xlim=(0, None), ylim=(0, 1.15 * best))
axis.set_title("Reconstruction by initialization")
plt.show()

# %%
show(mirrored_model, "RECONSTRUCTION, mirror initialization")

# %% [markdown]
# ## The two parts of a code
#
# The register stores each word by its position, so that the order parts of two texts are near each other if the same
# words are at the same places. The topic part is a sum of word vectors, without positions, and was trained to predict
# which words occur. For held-out documents: the nearest of the 4,000 training documents, by cosine similarity of each
# part after subtracting its mean. (In so few words and steps the topic part learns little; `docs/usefulness.md` has
# that of the preset.)

# %%
parts = {"order": slice(0, 384), "topic": slice(384, 448)}
codes, queries = codes_of(mirrored_model, library), codes_of(mirrored_model, sample)


def unit(vectors, middle):
    return (vectors - middle) / np.linalg.norm(vectors - middle, axis=1, keepdims=True)


for document, query in zip(sample, queries, strict=True):
    print(f"            {' / '.join(rows_of(document))}")
    for name, part in parts.items():
        middle = codes[:, part].mean(0)
        near = unit(codes[:, part], middle) @ unit(query[None, part], middle)[0]
        for best in np.argsort(-near)[:2]:
            print(f"{name} {near[best]:.2f}  {' / '.join(rows_of(library[best]))}")
    print()

# %% [markdown]
# ## Summary
#
# * The loss does not distinguish an autoencoder from a language model; the **code gap** and free-running
#   reconstructions do.
# * With mirror initialization the model is an approximate autoencoder from the first step.
# * A code has two parts: the text is decoded from one, and the other is for search by topic.
# * `hae train --workdir W` trains such a model on longer documents, and prints both scores at every evaluation; the
#   README has the results. `hae reconstruct` divides texts of any length into windows and joins what is decoded.
