"""The architecture as frozen dataclasses: the LSTM cell, and the autoencoder built from it."""

from dataclasses import dataclass
from typing import Literal

from hae_jax.config.validate import require, require_choice, require_finite, require_positive, require_rate

Initializer = Literal[
    "orthogonal", "glorot", "flax", "keras", "torch", "uniform", "normal", "chrono", "uniform_gate", "critical",
    "mirror",
]  # fmt: skip
SCHEME_FIELDS: dict[str, tuple[Initializer, ...]] = {
    "forget_bias": ("torch", "chrono", "uniform_gate", "critical", "mirror"),
    "recurrent_gain": ("mirror",),
}
"""Fields of the weight scheme, and the schemes that have values of their own for them."""


@dataclass(frozen=True)
class CellConfig:
    """Options of every LSTM layer: initialization, normalization, dropout, precision. Rates are probabilities."""

    initializer: Initializer = "orthogonal"
    """Weight scheme of all LSTM layers; see `hae_jax.layers.initializers` and `hae_jax.layers.mirror_init`."""
    use_bias: bool = True
    """Whether the LSTM gates and the softmax have biases."""
    forget_bias: float = 1.0
    """Initial bias of the forget gate; torch, chrono, uniform_gate, critical and mirror set their own."""
    timescale: int = 64
    """Longest dependency, in steps, that the chrono initialization prepares for (its T_max)."""
    recurrent_gain: float = 1.0
    """Factor applied to the initial recurrent kernel of the weight scheme."""
    layer_norm: Literal["none", "cell", "output"] = "none"
    """Layer normalization inside the LSTM cell (Ba et al., 2016), or of the output of each LSTM layer."""
    layer_norm_gain: float = 1.0
    """Initial gain of that normalization."""
    input_dropout: float = 0.0
    """Dropout on the input of each LSTM layer, one mask for all steps."""
    recurrent_dropout: float = 0.0
    """Rate of recurrent dropout."""
    recurrent_dropout_kind: Literal["variational", "semeniuta"] = "variational"
    """One mask for all steps on h (Gal; Keras), or a new one at each step on the candidate (Semeniuta)."""
    zoneout_cell: float = 0.0
    """Probability that a cell state keeps its previous value."""
    zoneout_hidden: float = 0.0
    """Probability that a hidden unit keeps its previous value."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters and cell states stay float32."""
    remat: bool = False
    """Recomputes gates and cell states in the backward pass instead of storing them: less memory, more work."""

    def _check_cell(self, section: str) -> None:
        """Validates the fields of the cell; `section` prefixes the names in messages."""
        require_choice(self, section)
        require_finite(self, section, "forget_bias", "recurrent_gain", "layer_norm_gain")
        require(
            self.timescale >= 3, f"{section}.timescale", "be at least 3", self.timescale,
            "Use the length of a sentence or more.",
        )  # fmt: skip
        if self.initializer in ("chrono", "uniform_gate", "critical", "mirror"):
            require(
                self.use_bias, f"{section}.use_bias", f"be set with {section}.initializer {self.initializer!r}",
                self.use_bias, "These schemes initialize the biases; choose another scheme, or allow biases.",
            )  # fmt: skip
        self._check_initial_weights(section)
        require_rate(self, section, "input_dropout", "recurrent_dropout", "zoneout_cell", "zoneout_hidden")

    def _check_initial_weights(self, section: str) -> None:
        """Refuses fields of the weight scheme that the scheme would ignore."""
        for name, schemes in SCHEME_FIELDS.items():
            require(
                self.initializer not in schemes or getattr(self, name) == 1, f"{section}.{name}",
                f"be left at 1.0 with {section}.initializer {self.initializer!r}", getattr(self, name),
                "This scheme sets it itself; choose another scheme, or leave it out.",
            )  # fmt: skip

    def __post_init__(self) -> None:
        self._check_cell("cell")


@dataclass(frozen=True)
class ModelConfig(CellConfig):
    """The autoencoder: sizes in units, couplings, auxiliary losses, and the options of its LSTM cells.

    Raises:
        ValueError: if a value is out of range, or two options exclude each other.

    Example:
        >>> ModelConfig(kind="flat", hidden_dim=64, forget_bias=2.0).embed_dim
        256
    """

    kind: Literal["hierarchical", "flat"] = "hierarchical"
    """`flat` is the "standard" model of the paper: one LSTM over the whole text."""
    attention: bool = False
    """Attention of the sentence decoder over the encoder's sentence states; the code then has no fixed size."""
    embed_dim: int = 256
    """Size of a token embedding."""
    hidden_dim: int = 256
    """Units of each word-level LSTM layer."""
    sentence_dim: int = 512
    """Units of each sentence-level LSTM layer, the size of the code when `bridge` is "top_hidden"."""
    layers: int = 1
    """LSTM layers of each of the four stacks."""
    bridge: Literal["top_hidden", "all_states"] = "top_hidden"
    """Passed from one level to the next: h of the top layer, or h and c of all layers as in the 2015 program."""
    feedback: Literal["none", "sentence", "word"] = "none"
    """Input of the sentence decoder: none, the previous sentence's vector, the word decoder's last state (paper)."""
    conditioning: Literal["initial_state", "every_step"] = "every_step"
    """Whether the sentence vector sets the word decoder's initial state only (paper), or is an input at every step."""
    reverse: bool = True
    """The encoder reads words and sentences in reverse order, so that the last input is the first to be decoded."""
    word_gain: float | None = None
    """Amplitude of a word in a mirrored sentence vector, relative to the word before it, which is decoded earlier: the
    more words share a vector, the nearer to 1; exactly 1 only if each has units of its own. None for the usual one:
    0.92, or 0.98 for a flat model."""
    sentence_gain: float = 1.0
    """The same of a sentence in a mirrored code, relative to the sentence before it. Below 1 sentences can share units
    of the code; requires `feedback` "sentence"."""
    topic_dim: int = 0
    """Size of the topic part of the code, beside the `sentence_dim` units of the order part; 0 for none."""
    word_dropout: float = 0.0
    """Probability that an input word of the decoder is masked in training, so that it has to use the code."""
    sentence_loss: float = 1.0
    """Weight of an auxiliary loss: sentences decoded directly from the encoder's vectors; 0 turns it off."""
    sentence_share: float = 0.5
    """Share of a training batch's sentences, drawn at random, for that loss; the others are decoded from the code."""
    vector_loss: float = 0.3
    """Weight of an auxiliary loss: squared distance between the decoder's and the encoder's vector of each sentence; 0
    turns it off."""
    tie_embeddings: bool = True
    """Whether the softmax shares the token embeddings."""

    def __post_init__(self) -> None:
        self._check_cell("model")
        require_positive(self, "model", "embed_dim", "hidden_dim", "sentence_dim")
        require_positive(self, "model", "layers", most=100)
        require_finite(self, "model", "sentence_loss", "vector_loss", "word_gain", "sentence_gain")
        for name in ("word_gain", "sentence_gain"):
            got = getattr(self, name)
            good = got is None or 0 < got <= 1
            require(good, f"model.{name}", "lie in (0, 1]", got, "1 keeps all amplitudes equal.")
        require(self.topic_dim >= 0, "model.topic_dim", "be at least 0", self.topic_dim, "0 is a code without topic.")
        if self.initializer == "mirror":
            self._check_mirror()
        require_rate(self, "model", "word_dropout")
        for name in ("sentence_loss", "vector_loss"):
            require(getattr(self, name) >= 0, f"model.{name}", "be at least 0", getattr(self, name), "0 turns it off.")
        require(
            0 < self.sentence_share < 1, "model.sentence_share", "lie in (0, 1)", self.sentence_share,
            "Use model.sentence_loss 0 to turn that loss off.",
        )  # fmt: skip
        if self.bridge == "all_states" and self.kind == "hierarchical":
            require(
                self.sentence_dim == self.hidden_dim, "model.sentence_dim",
                f'equal model.hidden_dim ({self.hidden_dim}) when model.bridge is "all_states"', self.sentence_dim,
                'Give both levels the same size, or use model.bridge "top_hidden".',
            )  # fmt: skip
        if self.topic_dim:
            require(
                self.kind == "hierarchical", "model.kind", 'be "hierarchical" with model.topic_dim', self.kind,
                "Use model.topic_dim 0.",
            )  # fmt: skip
        if self.attention:
            require(
                self.kind == "hierarchical", "model.kind", 'be "hierarchical" with model.attention', self.kind,
                "A flat model has no sentence states to attend to.",
            )  # fmt: skip

    def _check_mirror(self) -> None:
        """A shift register returns its inputs in reverse order, and is linear only for small states."""
        for name, good, repair in (
            ("bridge", self.bridge == "top_hidden", 'Use model.bridge "top_hidden".'),
            ("reverse", self.reverse, "The first token to be decoded must be the last to be read."),
            ("layer_norm", self.layer_norm != "cell", 'Use model.layer_norm "output" or "none".'),
        ):
            got = getattr(self, name)
            require(good, f"model.{name}", 'be another with model.initializer "mirror"', got, repair)
        require(
            self.sentence_gain == 1 or self.feedback == "sentence", "model.sentence_gain",
            'be 1 without model.feedback "sentence"', self.sentence_gain, "Otherwise nothing is subtracted.",
        )  # fmt: skip
