"""`hae reconstruct`: what comes back of texts, of however many."""

import sys
import time
from dataclasses import dataclass

from hae_jax.cli.io import progress_over, stream_of, write
from hae_jax.cli.options import Reading, Writing


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writing, Reading):
    """Puts text through its code and back; writes JSON lines of source and reconstruction."""

    def run(self) -> None:
        """Writes a line a text as soon as there is one, and shows on standard error how far it is."""
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import reconstruct
        from hae_jax.trained import TrainedModel

        decoding, run = Decoding(**self.decoding), TrainedModel.load(self.workdir)
        field = self.data.field or run.config.data.field
        with stream_of(self.input, field) as (total, texts):
            results = reconstruct(run.model, run.params, run.tokenizer, run.config.data, texts, decoding)
            words, start = 0, time.monotonic()
            with progress_over("reconstructing", total) as count:
                for result in results:
                    write([result._asdict()])
                    words += result.words
                    speed = f"{words / (time.monotonic() - start):,.0f} words/s"
                    count(speed)
        print(f"hae: {total:,} documents, {words:,} words, {speed}", file=sys.stderr)
