"""A trained autoencoder of texts as one object."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, PyTree
from numpy.typing import ArrayLike
from rich.console import Console

from hae_jax.batch import EOD
from hae_jax.config import Config
from hae_jax.data import Corpus, Dataset, Tokenizer, encode_text, sequential_batches
from hae_jax.data.cache import load_tokenizer
from hae_jax.inference import texts as streams
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.evaluate import Evaluation, evaluate
from hae_jax.models import Flat, Hierarchical, build
from hae_jax.training import fit
from hae_jax.training.checkpoint import Log, load_params
from hae_jax.training.progress import collect


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained autoencoder: a Flax module, its parameters, and the tokenizer and config that it was trained with.

    Texts are lists of strings, one document each. A document is cut to `config.data.max_sentences` sentences of at most
    `config.data.max_tokens` tokens. For more texts than memory holds see `hae_jax.inference.texts`.

    Attributes:
        config: the config of the run.
        tokenizer: maps text to token ids and back.
        module: the autoencoder.
        params: its parameters, of the checkpoint with the lowest evaluation loss, or else of the newest one.
        step: the training step of that checkpoint.
        workdir: folder of the run.

    Example:
        >>> model = hae_jax.load(workdir)
        >>> codes = model.encode(["The rain began. The bridge held.", "Trade recovered."])
        >>> codes.shape == (2, model.config.model.sentence_dim), len(model.decode(codes))
        (True, 2)
    """

    config: Config = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    module: Hierarchical | Flat = field(repr=False)
    params: PyTree = field(repr=False)
    step: int
    workdir: Path

    @classmethod
    def load(cls, workdir: Path | str, log: Log | None = None) -> "TrainedModel":
        """Loads the model of a workdir. The corpus is not needed.

        Args:
            workdir: folder of a run, as passed to `train`.
            log: called with a line if a damaged checkpoint is skipped; prints to standard error by default.

        Raises:
            ValueError: if the folder holds no run, its vocabulary is not that of the checkpoint, or no checkpoint is
                intact.

        Example:
            >>> hae_jax.load(workdir).step
            40
        """
        workdir = Path(workdir)
        path = workdir / "config.json"
        if (workdir / "facts.json").is_file():
            raise ValueError(
                f"workdir must hold a run on text, got one on series in {workdir}. Use hae score, or "
                "hae_jax.estimators.SeriesAutoencoder.load."
            )
        if not path.is_file():
            raise ValueError(
                f"workdir must hold a run, got no config.json in {workdir}. Train one: hae train --workdir {workdir}"
            )
        config = Config.load(path)
        if not (workdir / "data").is_dir():
            # As `hae doctor --repair` leaves it: a config to train.
            raise ValueError(
                f"workdir must hold a trained run, got a config alone in {workdir}. "
                f"Train it: hae train --workdir {workdir}"
            )
        tokenizer = load_tokenizer(workdir / "data")
        module = build(config.model, tokenizer.vocab_size)
        # Parameters have the same shapes for any batch: one document of one token suffices.
        batch, _ = next(sequential_batches([[np.array([EOD])]], config.data, 1))
        like = jax.eval_shape(lambda batch: module.init({"params": jax.random.key(0)}, batch), batch)["params"]
        params, info = load_params(workdir / "checkpoints", like, log)
        return cls(config, tokenizer, module, params, info.step, workdir)

    def encode(self, texts: Iterable[str], *, progress: bool = False) -> Float[np.ndarray, "text code"]:
        """Encodes texts.

        Args:
            texts: a list of strings.
            progress: shows a progress bar on standard error.

        Returns:
            The code of each text, float32.

        Raises:
            ValueError: if `texts` is one string, is empty, or holds a blank text or anything but strings.

        Example:
            >>> model.encode(["The rain began."]).shape
            (1, 15)
        """
        texts = streams.check_texts(texts)
        found = collect(streams.iter_encode(self, texts), "encoding", len(texts), progress)
        return np.stack([encoding.code for encoding in found])

    def decode(self, codes: ArrayLike, decoding: Decoding = GREEDY, *, progress: bool = False) -> list[str]:
        """Decodes codes.

        Args:
            codes: [text, code], as returned by `encode`, or near such codes.
            decoding: a decoding method, as `hae_jax.Sampling` or `hae_jax.BeamSearch`; greedy by default.
            progress: shows a progress bar on standard error.

        Returns:
            The text of each code.

        Raises:
            ValueError: if the codes have another shape or are not finite, or the model has attention, whose decoder
                needs more than the code.

        Example:
            >>> codes = model.encode(["The rain began."])
            >>> len(model.decode(codes, hae_jax.BeamSearch(beam=2)))
            1
        """
        array = np.asarray(codes)
        return collect(streams.iter_decode(self, array, decoding), "decoding", len(array), progress)

    def reconstruct(self, texts: Iterable[str], decoding: Decoding = GREEDY, *, progress: bool = False) -> list[str]:
        """Encodes texts and decodes their codes; with attention the decoder reads the sentence states as well.

        Args:
            texts: a list of strings.
            decoding: a decoding method, as `hae_jax.Sampling` or `hae_jax.BeamSearch`; greedy by default.
            progress: shows a progress bar on standard error.

        Returns:
            The reconstruction of each text, in the words and spelling of the tokenizer.

        Raises:
            ValueError: as `encode`.

        Example:
            >>> texts = ["The rain began.", "The bridge held."]
            >>> model.reconstruct(texts) == model.decode(model.encode(texts))
            True
        """
        texts = streams.check_texts(texts)
        found = collect(streams.iter_reconstruct(self, texts, decoding), "reconstructing", len(texts), progress)
        return [each.reconstruction for each in found]

    def interpolate(self, start: str, end: str, points: int = 7, decoding: Decoding = GREEDY) -> list[str]:
        """Decodes equidistant points on the line between the codes of two texts.

        Args:
            start: the text at the first point.
            end: the text at the last point.
            points: number of points, both ends included.
            decoding: a decoding method, as `hae_jax.Sampling` or `hae_jax.BeamSearch`; greedy by default.

        Returns:
            The text of each point.

        Raises:
            ValueError: if `points` is below 2, a text is blank, or the model has attention.

        Example:
            >>> len(model.interpolate("The rain began.", "The bridge held.", points=3))
            3
        """
        if points < 2:
            raise ValueError(f"points must be at least 2, got {points}. Use 2 for the ends alone.")
        first, last = self.encode([start, end])
        share = np.linspace(0, 1, points, dtype=np.float32)[:, None]
        return self.decode((1 - share) * first + share * last, decoding)

    def evaluate(self, texts: Iterable[str] | None = None, *, progress: bool = False) -> Evaluation:
        """Evaluates the model: teacher-forced loss, code gap, and scores of free-running reconstructions.

        Args:
            texts: a list of strings; the held-out documents of the run if None.
            progress: shows on standard error that it is evaluating.

        Returns:
            The scores; `loss` and `code_gap` in nats per token, `bleu` from 0 to 100.

        Raises:
            ValueError: as `encode`, or if the data of the run are damaged.

        Example:
            >>> scores = model.evaluate(["The rain began. The bridge held.", "Trade recovered."])
            >>> scores.documents, scores.loss > 0
            (2, True)
        """
        data = self.config.data
        if texts is None:
            documents: Corpus | Sequence = Dataset.load(self.workdir / "data").heldout
        else:
            documents, _ = encode_text(streams.check_texts(texts), self.tokenizer, data)
        with Console(stderr=True, quiet=not progress).status("evaluating"):
            batches = sequential_batches(documents, data, data.batch_size)
            return evaluate(self.module, self.params, batches, self.tokenizer)

    def embed_sentences(self, texts: Iterable[str], *, progress: bool = False) -> list[Float[np.ndarray, "sent vec"]]:
        """Encodes the sentences of texts, each by itself.

        Args:
            texts: a list of strings.
            progress: shows a progress bar on standard error.

        Returns:
            For each text the vector of each of its sentences, float32.

        Raises:
            ValueError: as `encode`, or if the model is flat.

        Example:
            >>> [vectors.shape for vectors in model.embed_sentences(["The rain began. The bridge held.", "Trade."])]
            [(2, 5), (1, 5)]
        """
        texts = streams.check_texts(texts)
        return collect(streams.iter_embed_sentences(self, texts), "embedding", len(texts), progress)

    def log_likelihood(self, texts: Iterable[str], *, progress: bool = False) -> Float[np.ndarray, "text"]:
        """Scores texts, teacher-forced, each decoded from its own code.

        Args:
            texts: a list of strings.
            progress: shows a progress bar on standard error.

        Returns:
            The mean log-likelihood of each text's tokens, end marks included, in nats per token: the higher, the more
            similar to the training data.

        Raises:
            ValueError: as `encode`.

        Example:
            >>> bool((model.log_likelihood(["The rain began.", "Trade recovered."]) < 0).all())
            True
        """
        texts = streams.check_texts(texts)
        return np.array(collect(streams.iter_log_likelihood(self, texts), "scoring", len(texts), progress))


load = TrainedModel.load


def train(config: Config, workdir: Path | str, *, progress: bool = False) -> TrainedModel:
    """Trains a model, or resumes its training, and returns it; `hae_jax.training.fit` has more options.

    Args:
        config: what to train, for example a preset.
        workdir: folder of the run; created if necessary. The same call on the same folder resumes an interrupted run,
            or loads a complete one.
        progress: shows progress and evaluations on standard error.

    Returns:
        The model of the checkpoint with the lowest evaluation loss.

    Raises:
        ValueError: if a field of the config or the corpus is invalid, or the workdir holds a run of another config.
        NonFinite: if training diverges.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; a checkpoint is saved first.

    Example:
        >>> from dataclasses import replace
        >>> config = hae_jax.preset("tiny")
        >>> data, steps = replace(config.data, corpus="letters.txt"), replace(config.train, steps=2)
        >>> model = hae_jax.train(replace(config, data=data, train=steps), "runs/letters")
        >>> model.step, model.encode(["The rain began."]).shape
        (2, (1, 96))
    """
    if not isinstance(config, Config):
        raise ValueError(f"config must be a Config, got {config!r}. Use hae_jax.preset('tiny'), for example.")
    result = fit(config, Path(workdir), Console(stderr=True, quiet=not progress))
    if result.signal is not None:
        raise KeyboardInterrupt(f"stopped by signal {result.signal} at step {result.step}")
    return TrainedModel.load(workdir)
