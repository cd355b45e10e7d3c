"""A trained autoencoder of texts as one object."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

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
from hae_jax.inference.texts import Part, Windows
from hae_jax.latent.interpolation import interpolate
from hae_jax.models import Flat, Hierarchical, build
from hae_jax.training.checkpoint import Log, load_params
from hae_jax.training.progress import collect
from hae_jax.training.workdir import trained_config


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained autoencoder: a Flax module, its parameters, and the tokenizer and config that it was trained with.

    Texts are lists of strings. A code holds `config.data.max_sentences` rows of at most `config.data.max_tokens`
    tokens. A longer sentence is continued in further rows; a longer text has several codes, its windows. For more texts
    than memory holds see `hae_jax.inference.texts`.

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
        config = trained_config(workdir)
        tokenizer = load_tokenizer(workdir / "data")
        module = build(config.model, tokenizer.vocab_size)
        # Parameters have the same shapes for any batch: one document of one token suffices.
        batch, _ = next(sequential_batches([[np.array([EOD])]], config.data, 1))
        like = jax.eval_shape(lambda batch: module.init({"params": jax.random.key(0)}, batch), batch)["params"]
        params, info = load_params(workdir / "checkpoints", like, log)
        return cls(config, tokenizer, module, params, info.step, workdir)

    @overload
    def encode(
        self, texts: Iterable[str], part: Part = "all", windows: Literal[False] = False, *, progress: bool = False
    ) -> Float[np.ndarray, "text code"]: ...

    @overload
    def encode(
        self, texts: Iterable[str], part: Part = "all", *, windows: Literal[True], progress: bool = False
    ) -> Windows: ...

    def encode(
        self, texts: Iterable[str], part: Part = "all", windows: bool = False, *, progress: bool = False
    ) -> Float[np.ndarray, "text code"] | Windows:
        """Encodes texts. Warns if some exceed one code, of which the first window is then encoded.

        Args:
            texts: a list of strings.
            part: the part of the codes to return: `order`, `topic`, or `all` of it, which alone can be decoded.
            windows: encodes whole texts, each in as many codes as it needs.
            progress: shows a progress bar on standard error.

        Returns:
            The code of each text, float32; with `windows`, those of all windows and the index of the text of each.

        Raises:
            ValueError: if `texts` is one string, is empty, or holds a blank text or anything but strings; or if the
                model has no such part.

        Example:
            >>> model.encode(["The rain began."]).shape
            (1, 15)
            >>> codes, text = model.encode(["The rain began.", "The bridge held. " * 4], windows=True)
            >>> codes.shape, text.tolist()
            ((3, 15), [0, 1, 1])
        """
        texts = streams.check_texts(texts)
        encodings = streams.iter_encode(self, texts, part, windows)
        found = collect(encodings, "encoding", None if windows else len(texts), progress)
        codes = np.stack([encoding.code for encoding in found])
        if windows:
            return Windows(codes, np.array([encoding.text for encoding in found]))
        if longer := sum(encoding.windows > 1 for encoding in found):
            message = streams.excess(longer, len(texts), self.config.data)
            warnings.warn(f"{message} See encode(windows=True).", stacklevel=2)
        return codes

    def decode(self, codes: ArrayLike | Windows, decoding: Decoding = GREEDY, *, progress: bool = False) -> list[str]:
        """Decodes codes.

        Args:
            codes: [text, code], as returned by `encode`, or near such codes; or windows, which are joined to texts.
            decoding: a decoding method, as `hae_jax.Sampling` or `hae_jax.BeamSearch`; greedy by default.
            progress: shows a progress bar on standard error.

        Returns:
            The text of each code, or of all windows of a text.

        Raises:
            ValueError: if the codes have another shape or are not finite, or the model has attention, whose decoder
                needs more than the code.

        Example:
            >>> codes = model.encode(["The rain began."])
            >>> len(model.decode(codes, hae_jax.BeamSearch(beam=2)))
            1
        """
        given = codes if isinstance(codes, Windows) else np.asarray(codes)
        total = len(np.unique(given.text)) if isinstance(given, Windows) else len(given)
        return collect(streams.iter_decode(self, given, decoding), "decoding", total, progress)

    def reconstruct(self, texts: Iterable[str], decoding: Decoding = GREEDY, *, progress: bool = False) -> list[str]:
        """Encodes whole texts and decodes their codes; with attention the decoder reads the sentence states as well.

        Args:
            texts: a list of strings.
            decoding: a decoding method, as `hae_jax.Sampling` or `hae_jax.BeamSearch`; greedy by default.
            progress: shows a progress bar on standard error.

        Returns:
            The reconstruction of each text, in the words and spelling of the tokenizer; each run of white space of the
            source, blank lines included, is one space.

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
        return interpolate(self, start, end, points, decoding)

    def evaluate(self, texts: Iterable[str] | None = None, *, progress: bool = False) -> Evaluation:
        """Evaluates the model: teacher-forced loss, code gap, and scores of free-running reconstructions.

        Args:
            texts: a list of strings, each of which is as many documents as it has windows; the held-out documents of
                the run if None.
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

    def embed_sentences(self, texts: Iterable[str], *, progress: bool = False) -> list[Float[np.ndarray, "row vec"]]:
        """Encodes the sentences of texts, each by itself; a long one is several rows (`config.data.max_tokens`).

        Args:
            texts: a list of strings.
            progress: shows a progress bar on standard error.

        Returns:
            For each text the vector of each of its rows, float32.

        Raises:
            ValueError: as `encode`, or if the model is flat.

        Example:
            >>> [vectors.shape for vectors in model.embed_sentences(["The rain began. The bridge held.", "Trade."])]
            [(2, 5), (1, 5)]
        """
        texts = streams.check_texts(texts)
        return collect(streams.iter_embed_sentences(self, texts), "embedding", len(texts), progress)

    def log_likelihood(self, texts: Iterable[str], *, progress: bool = False) -> Float[np.ndarray, "text"]:
        """Scores whole texts, teacher-forced, each window decoded from its own code.

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
