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
# A hierarchical autoencoder reads a paragraph as people outline one: words make sentences, sentences make the whole.
# Then it has to say the paragraph again from a single vector, the **code**.
#
# ```
#   words ──► sentence vector ─┐                            ┌─► sentence vector ──► words
#   words ──► sentence vector ─┼──►  one code per document ─┼─► sentence vector ──► words
#   words ──► sentence vector ─┘                            └─► sentence vector ──► words
#
#   word LSTM    sentence LSTM            the code            sentence LSTM    word LSTM
# ```
#
# (Li, Luong & Jurafsky, 2015, [arXiv 1506.01057](https://arxiv.org/abs/1506.01057).) Its loss may fall and fall while
# it learns nothing of the kind: a decoder that knows which word tends to follow which needs no code for that. This
# notebook trains a small one on real paragraphs for a minute, and watches the moment when the decoder begins to read.

# %%
import dataclasses
import json
import tempfile
from itertools import zip_longest
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from hae_jax.batch import EOD, EOS, UNK
from hae_jax.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from hae_jax.data import Batches, Dataset, sequential_batches
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode
from hae_jax.trained import TrainedModel
from hae_jax.training import fit

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
# ## A paragraph becomes a few rows of a table
#
# The text is two centuries of State of the Union addresses; some whole addresses are held out, and every number below
# is about those. To be done in a minute, a document here is cut to three sentences of six words.

# %%
workdir = Path(tempfile.mkdtemp(prefix="hierarchy-"))
config = Config(
    ModelConfig(embed_dim=128, hidden_dim=128, sentence_dim=256),
    DataConfig(corpus="sotu", vocab_size=1500, max_sentences=3, max_tokens=6, batch_size=24, buckets=1),
    OptimConfig(learning_rate=5e-3, warmup=50),
    TrainConfig(steps=1000, eval_every=125, eval_documents=128, save_every=1000),
)
outcome = fit(config, workdir, Console(quiet=True))
run, dataset = TrainedModel.load(workdir), Dataset.load(workdir / "data")
print(f"{outcome.step} steps, {len(dataset.train):,} documents to learn from, {len(dataset.heldout):,} held out")

# %% [markdown]
# While that ran: this is what the model was fed. A batch is **a table of sentences**, one a row, whatever document
# they belong to; a second table says which rows make up which document. The word LSTM reads all rows at once, so no
# work goes into documents that are shorter than others.

# %%
batch = Batches(dataset.train, config.data, seed=config.train.seed).batch(0)
(table,), slots = batch.buckets, batch.row_index
owner = np.full(len(table), -1)
for document, rows in enumerate(slots):
    owner[rows[rows >= 0]] = document
shown = 18
_, colour = np.unique(owner[:shown], return_inverse=True)
cells = np.where(table[:shown] > 0, colour[:, None] % 9, np.nan)
fig, axis = plt.subplots(figsize=(8, 5))
axis.imshow(cells, cmap="Pastel1", vmin=0, vmax=8, aspect="auto")
for row, ids in enumerate(table[:shown]):
    for column, word in enumerate(ids[ids > 0].tolist()):
        mark = {EOS: "eos", EOD: "eod"}.get(word)
        text = mark or run.tokenizer.decode([word])
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
# How can we tell whether the decoder reads the code? Hand it **the code of another document**, and see whether it
# minds.
#
# $$\text{code gap} \;=\; \text{loss with another document's code} \;-\; \text{loss with its own}$$
#
# The loss is in nats a word, with the true words before each one given. As long as the gap is zero the decoder is a
# language model, and nothing but that: the two curves lie on each other however well they fall. Then they part.

# %%
lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
looks = [line for line in lines if line["kind"] != "train"]
steps = [look["step"] for look in looks]
own = np.array([look["loss"] for look in looks])
other = own + [look["code_gap"] for look in looks]

fig, axis = plt.subplots(figsize=(8, 4))
axis.fill_between(steps, own, other, color=OTHER, alpha=0.12, lw=0)
axis.plot(steps, other, color=OTHER, lw=2, marker="o", ms=4)
axis.plot(steps, own, color=OWN, lw=2, marker="o", ms=4)
at = len(steps) // 2
axis.annotate("another document's code", (steps[at], other[at]), (0, 10), ha="right", color=OTHER, **POINTS)
axis.annotate("its own code", (steps[at], own[at]), (0, -18), ha="right", color=OWN, **POINTS)
axis.annotate(f"gap {looks[-1]['code_gap']:.1f}", (steps[-1], (own[-1] + other[-1]) / 2), (-8, 0), ha="right", **POINTS)
axis.set(xlabel="step", ylabel="held-out loss, nats a word", xlim=(0, None), ylim=(0, 1.08 * other.max()))
axis.set_title("First it learns the language; then it learns to read")
plt.show()

# %% [markdown]
# A gap is evidence of use, not a measure of what is stored: a wrong code actively misleads, so the gap overstates
# what a right one tells. And what made the curves part so soon? Two auxiliary losses. Half of the sentences are
# decoded straight from their own vectors (`sentence_loss`), so that the lower level has something to say before the
# upper one is ready to pass it on; and the vectors that the decoder finds are drawn to those of the encoder
# (`vector_loss`), so that the word decoder meets one kind only. Set both to 0 in the config above, and watch the
# curves lie together for longer.
#
# ## Through the code and back
#
# Held-out documents, and what the decoder makes of their codes, running free: it is told no word but those it said
# itself. (They are spread over the held-out addresses, and chosen for having no word outside the small vocabulary.)


# %%
def say(document):
    return [run.tokenizer.decode(sentence) for sentence in document]


held = [dataset.heldout.document(i) for i in range(len(dataset.heldout))]
known = [document for document in held if all(UNK not in sentence for sentence in document)]
sample = known[len(known) // 10 :: len(known) // 5][:5]
batch, _ = next(sequential_batches(sample, config.data, len(sample)))


def show(run, title):
    code = encode(run.model, run.params, batch)
    said = split(greedy(run.model, run.params, code, max_tokens=3 * 7))
    print(f"{'SOURCE':<48}{title}\n")
    for document, reconstruction in zip(sample, said, strict=True):
        for source, output in zip_longest(say(document), say(reconstruction), fillvalue=""):
            print(f"{source:<48}{output}")
        print()


show(run, "SAID AGAIN")

# %% [markdown]
# A minute of training buys the shape of what was said: how many sentences, how each begins, who speaks, in which
# tense. Names and subjects come later, with more steps and larger codes. And every word that is said wrong is read by
# the decoder as if it were right, so free-running text strays faster than the loss suggests.

# %% [markdown]
# ## Neighbours
#
# What does the model think is alike? For the same held-out documents, the nearest of 4,000 training documents by the
# cosine of their codes, of which the mean has been taken off.

# %%
library = [dataset.train.document(i) for i in np.linspace(0, len(dataset.train) - 1, 4000).astype(int)]


def codes_of(documents):
    batches = sequential_batches(documents, config.data, 200)
    return np.concatenate([encode(run.model, run.params, batch).document[:real] for batch, real in batches])


codes = codes_of(library)
middle = codes.mean(0)


def unit(vectors):
    return (vectors - middle) / np.linalg.norm(vectors - middle, axis=1, keepdims=True)


for document, near in zip(sample, unit(codes_of(sample)) @ unit(codes).T, strict=True):
    print(f"      {' / '.join(say(document))}")
    for best in np.argsort(-near)[:2]:
        print(f"{near[best]:.2f}  {' / '.join(say(library[best]))}")
    print()

# %% [markdown]
# ## What a code says first
#
# The directions in which codes differ most, one point a training document. Nobody told the encoder how many sentences
# there are, but the decoder has to know when to stop: a document ends with an end mark of its own, and missing it is
# expensive.

# %%
count = np.array([len(document) for document in library])
_, spread, axes = np.linalg.svd(codes - middle, full_matrices=False)
flat = (codes - middle) @ axes[:2].T

fig, axis = plt.subplots(figsize=(8, 4.2))
for number, colour in ((2, OTHER), (3, OWN)):
    axis.scatter(*flat[count == number].T, color=colour, s=7, alpha=0.5, lw=0, label=f"{number} sentences")
axis.set(xticks=[], yticks=[], xlabel="first direction", ylabel="second direction")
axis.legend(frameon=False, markerscale=3, loc="best")
share = spread**2 / (spread**2).sum()
axis.set_title(
    f"{len(codes):,} codes; the first direction holds {share[0]:.0%} of the variance, the second {share[1]:.0%}"
)
plt.show()

# %% [markdown]
# ## Starting as an autoencoder
#
# All that had to be discovered: how to keep words in a state, and how to take them out again in order. It need not be.
# With **mirrored weights** the encoder starts as a pile that takes one vector after the other, and the decoder, its
# mirror image, takes them off again (`docs/mirror.md`). The code has room for the three sentence vectors here, outputs
# are normalised, and the sentence level, which starts exact, is trained at a tenth of the rate. Everything else stays,
# but for a third of the steps.

# %%
mirrored = dataclasses.replace(
    config,
    model=ModelConfig(
        embed_dim=128, hidden_dim=128, sentence_dim=384, initializer="mirror", layer_norm="output",
        conditioning="initial_state",
        vector_loss=0.02,
    ),
    optim=OptimConfig(learning_rate=1e-3, warmup=50, sentence_lr_scale=0.1),
    train=TrainConfig(steps=333, eval_every=37, eval_documents=128, save_every=333),
)  # fmt: skip
other_workdir = Path(tempfile.mkdtemp(prefix="mirrored-"))
fit(mirrored, other_workdir, Console(quiet=True))
lines = [json.loads(line) for line in (other_workdir / "metrics.jsonl").read_text().splitlines()]
mirror = [line for line in lines if line["kind"] != "train"]

fig, axis = plt.subplots(figsize=(8, 4))
best = looks[-1]["bleu_limit"]
axis.axhline(best, color=FAINT, lw=1, ls=":")
axis.annotate("nothing but unknown words lost", (steps[-1], best), (0, 5), ha="right", color=FAINT, **POINTS)
for name, colour, points, offset, side in (
    ("usual weights", OTHER, looks, (0, 10), "right"),
    ("mirrored weights", OWN, mirror, (8, -4), "left"),
):
    at, bleu = [look["step"] for look in points], [look["bleu"] for look in points]
    axis.plot(at, bleu, color=colour, lw=2, marker="o", ms=4)
    axis.annotate(name, (at[-1], bleu[-1]), offset, ha=side, color=colour, **POINTS)
axis.set(xlabel="step", ylabel="BLEU-4, running free", xlim=(0, None), ylim=(0, 1.15 * best))
axis.set_title("What need not be discovered")
plt.show()

# %%
show(TrainedModel.load(other_workdir), "SAID AGAIN, mirrored weights")

# %% [markdown]
# ## What to take along
#
# * The loss alone does not tell an autoencoder from a language model. Look at the **code gap** first, then at
#   free-running reconstructions.
# * Start as an autoencoder, and training has only to sharpen.
# * `hae train --workdir W` does, for documents more than twice as large, and prints both scores at every evaluation:
#   the README says what comes of that.
