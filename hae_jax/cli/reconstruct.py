"""`hae reconstruct`: what comes back of texts, of however many."""

import sys
import time
from dataclasses import dataclass

from hae_jax.cli.files import corpus_of, write
from hae_jax.cli.options import Reading, Writing


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writing, Reading):
    """Puts text through its code and back; writes JSON lines of source and reconstruction."""

    def run(self) -> None:
        """Writes a line a text as soon as there is one, and shows on standard error how far it is."""
        from rich.console import Console

        from hae_jax.data import read
        from hae_jax.inference.decoding import Decoding
        from hae_jax.inference.texts import reconstruct
        from hae_jax.training import Run
        from hae_jax.training.screen import bar

        decoding, run = Decoding(**self.decoding), Run.load(self.workdir)
        field, console = self.data.field or run.config.data.field, Console(stderr=True)
        # On a terminal that shows the results themselves a bar would be in their way.
        shown = console.is_terminal and not sys.stdout.isatty()
        with corpus_of(self.input) as corpus, bar(console, shown) as progress:
            # Read twice: so what cannot be read is found before any work, and nothing has to be kept.
            task = progress.add_task("reconstructing", total=sum(1 for _ in read(corpus, field)), numbers="")
            texts = (document.text for document in read(corpus, field))
            results = reconstruct(run.model, run.params, run.tokenizer, run.config.data, texts, decoding)
            words, start = 0, time.monotonic()
            for done, result in enumerate(results, 1):
                write([result._asdict()])
                words += result.words
                speed = f"{words / (time.monotonic() - start):,.0f} words/s"
                progress.update(task, completed=done, numbers=speed)
        print(f"hae: {done:,} documents, {words:,} words, {speed}", file=sys.stderr)
