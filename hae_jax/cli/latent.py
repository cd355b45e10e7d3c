"""`hae neighbours`, `interpolate`, `sample` and `edit`: the space of codes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import FlagConversionOff, Positional, arg

from hae_jax.cli.io import corpus_of, progress_over, texts_of, write
from hae_jax.cli.options import Columns, Trained, Writing

if TYPE_CHECKING:
    from hae_jax.inference.texts import Part
    from hae_jax.latent import Index
    from hae_jax.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Neighbours(Trained):
    """Searches a corpus for the texts nearest to given ones; writes JSON lines."""

    texts: Annotated[Positional[tuple[str, ...]], arg(metavar="TEXT ...", help_behavior_hint="")] = ()
    """Texts, in quotes."""
    corpus: Path
    """Texts to search, in a format that `hae reconstruct` reads, or a folder, or sotu or reviews. Their codes are
    stored in the workdir for later calls."""
    input: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """More texts, from a file in such a format."""
    count: int = 10
    """Number of neighbours of each text."""
    part: Annotated[
        Literal["all", "order", "topic"] | None,
        arg(metavar="{all,order,topic}", help_behavior_hint="(default: topic, or all without one)"),
    ] = None
    """Part of the codes whose cosine is compared."""
    data: Columns = field(default_factory=Columns)

    def run(self) -> None:
        """Writes one line per neighbour, nearest first."""
        from hae_jax.latent import neighbours
        from hae_jax.trained import TrainedModel

        model = TrainedModel.load(self.workdir)
        column = self.data.field or model.config.data.field
        queries = [*self.texts, *(texts_of(self.input, column) if self.input else [])]
        with corpus_of(self.corpus) as corpus:
            found = neighbours(model, queries, _index(model, corpus, column, self.part), self.count)
            wanted = {neighbour.number for each in found for neighbour in each}
            texts = _texts(corpus, column, wanted)
        write(
            {"query": query, "rank": rank, "similarity": round(similarity, 6), "text": texts[number], "number": number}
            for query, each in zip(queries, found, strict=True)
            for rank, (number, similarity) in enumerate(each, 1)
        )


@dataclass(frozen=True, kw_only=True)
class Interpolate(Writing):
    """Decodes points on the line between the codes of two texts; writes JSON lines."""

    texts: Positional[tuple[str, str]]
    """The texts at the first and the last point, in quotes."""
    points: int = 7
    """Number of points, both ends included."""
    morph: Annotated[FlagConversionOff[bool], arg(metavar="", help_behavior_hint="")] = False
    """Adds a second path, on which one sentence after the other moves from the first text to the last."""
    corpus: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Adds a third path: the text of a corpus, as in `hae neighbours`, whose topic is nearest to each point."""
    data: Columns = field(default_factory=Columns)

    def run(self) -> None:
        """Writes one line per point."""
        from hae_jax.latent import between, interpolate, morph
        from hae_jax.trained import TrainedModel

        decoding, model = self.decoding, TrainedModel.load(self.workdir)
        paths = {"reconstruction": interpolate} | ({"morph": morph} if self.morph else {})
        found = {name: path(model, *self.texts, self.points, decoding) for name, path in paths.items()}
        if self.corpus:
            column = self.data.field or model.config.data.field
            with corpus_of(self.corpus) as corpus:
                near = between(model, *self.texts, _index(model, corpus, column, None), self.points)
                texts = _texts(corpus, column, {neighbour.number for neighbour in near})
            found["nearest"] = [texts[neighbour.number] for neighbour in near]
        write(
            {"share": at / (self.points - 1)} | {name: texts[at] for name, texts in found.items()}
            for at in range(self.points)
        )


@dataclass(frozen=True, kw_only=True)
class Sample(Trained):
    """Draws texts from a prior fitted to sentence vectors; writes JSON lines."""

    count: int = 10
    """Number of texts."""
    spread: float = 0.25
    """Distance from sentences of the training documents: 0 draws these, 1 vectors of a single Gaussian."""
    seed: int = 0
    """Seed of the draws."""

    def run(self) -> None:
        """Writes one line per text."""
        from hae_jax.data import Dataset
        from hae_jax.latent import Prior, sample
        from hae_jax.trained import TrainedModel

        model = TrainedModel.load(self.workdir)
        prior = Prior.of_corpus(model, Dataset.load(self.workdir / "data").train)
        write({"text": text} for text in sample(model, prior, self.count, self.spread, self.seed))


@dataclass(frozen=True, kw_only=True)
class Edit(Writing):
    """Rearranges the sentences inside the codes of texts; writes a JSON line."""

    texts: Annotated[Positional[tuple[str, ...]], arg(metavar="TEXT ...", help_behavior_hint="(required)")]
    """Texts, in quotes. Their sentences are numbered from 0, one text after the other."""
    order: Annotated[str | None, arg(metavar="NUMBERS", help_behavior_hint="(default: all, as given)")] = None
    """Sentences of the result, for example 2,0,1: a number left out drops a sentence, that of another text inserts
    it."""

    def run(self) -> None:
        """Writes the sentences inside the codes, and the result."""
        import numpy as np

        from hae_jax.inference.texts import Windows, iter_decode, iter_encode
        from hae_jax.latent import rearrange
        from hae_jax.trained import TrainedModel

        numbers = [each.strip() for each in (self.order or "").split(",")]
        if self.order and not all(map(str.isdecimal, numbers)):
            raise ValueError(
                f"order must be numbers between commas, got {self.order!r}. Write --order 1,0, for example."
            )
        decoding, model = self.decoding, TrainedModel.load(self.workdir)
        given = np.stack([encoding.code for encoding in iter_encode(model, self.texts, windows=True)])
        codes, sentences = rearrange(model, given, list(map(int, numbers)) if self.order else None)
        (text,) = iter_decode(model, Windows(codes, np.zeros(len(codes), int)), decoding)
        write([{"sentences": dict(enumerate(sentences)), "reconstruction": text}])


def _index(model: "TrainedModel", corpus: str, column: str, part: "Part | None") -> "Index":
    """Opens the index of a corpus in the workdir, and builds it first if there is none."""
    from hae_jax.data import read
    from hae_jax.latent import Index
    from hae_jax.latent.index import cache_name
    from hae_jax.latent.neighbours import default_part

    part = part or default_part(model.config.model)
    folder = model.workdir / "index" / cache_name(model, corpus, column, part)
    if folder.is_dir():
        return Index.load(folder, part)
    total = sum(1 for _ in read(corpus, column))

    def texts() -> Iterator[str]:
        for document in read(corpus, column):
            yield document.text
            count("")

    with progress_over("encoding", total, printed=False) as count:
        return Index.build(model, texts(), folder, part)


def _texts(corpus: str, column: str, numbers: set[int]) -> dict[int, str]:
    """Returns the texts of a corpus with the given numbers."""
    from hae_jax.data import read

    return {number: document.text for number, document in enumerate(read(corpus, column)) if number in numbers}
