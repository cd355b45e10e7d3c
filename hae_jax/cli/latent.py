"""`hae interpolate`: texts between two texts."""

from dataclasses import dataclass

from tyro.conf import Positional

from hae_jax.cli.io import write
from hae_jax.cli.options import Writing


@dataclass(frozen=True, kw_only=True)
class Interpolate(Writing):
    """Decodes points on the line between the codes of two texts; writes JSON lines."""

    texts: Positional[tuple[str, str]]
    """The texts at the first and the last point, in quotes."""
    points: int = 7
    """Number of points, both ends included."""

    def run(self) -> None:
        """Writes one line per point."""
        from hae_jax.trained import TrainedModel

        decoding, model = self.decoding, TrainedModel.load(self.workdir)
        texts = model.interpolate(*self.texts, self.points, decoding)
        write({"share": at / (self.points - 1), "reconstruction": text} for at, text in enumerate(texts))
