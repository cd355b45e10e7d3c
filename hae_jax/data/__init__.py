"""Strings to batches."""

from hae_jax.data.batches import Batches as Batches
from hae_jax.data.batches import sequential_batches as sequential_batches
from hae_jax.data.cache import Dataset as Dataset
from hae_jax.data.cache import Progress as Progress
from hae_jax.data.cache import prepare as prepare
from hae_jax.data.corpora import CorpusError as CorpusError
from hae_jax.data.corpora import Document as Document
from hae_jax.data.corpora import read as read
from hae_jax.data.documents import Corpus as Corpus
from hae_jax.data.manifest import CacheError as CacheError
from hae_jax.data.rows import encode_text as encode_text
from hae_jax.data.text import split_sentences as split_sentences
from hae_jax.data.tokenizer import Tokenizer as Tokenizer
from hae_jax.data.tokenizer import TokenizerError as TokenizerError
