"""Strings to batches."""

from hae_jax.data.batches import Batches as Batches
from hae_jax.data.batches import encode_text as encode_text
from hae_jax.data.batches import in_order as in_order
from hae_jax.data.corpora import CorpusError as CorpusError
from hae_jax.data.corpora import Document as Document
from hae_jax.data.corpora import read as read
from hae_jax.data.documents import Corpus as Corpus
from hae_jax.data.store import Dataset as Dataset
from hae_jax.data.store import Progress as Progress
from hae_jax.data.store import StoreError as StoreError
from hae_jax.data.store import prepare as prepare
from hae_jax.data.text import Tokenizer as Tokenizer
from hae_jax.data.text import TokenizerError as TokenizerError
from hae_jax.data.text import split_sentences as split_sentences
