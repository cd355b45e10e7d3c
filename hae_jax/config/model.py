"""The architecture as a frozen dataclass, a section of the config."""

from dataclasses import dataclass
from typing import Literal

from hae_jax.config.validate import require, require_choice, require_finite, require_positive, require_rate

Initializer = Literal[
    "orthogonal", "glorot", "flax", "keras", "torch", "uniform", "normal", "chrono", "uniform_gate", "critical",
    "mirror",
]  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """The autoencoder. Sizes are numbers of units; rates are probabilities."""

    kind: Literal["hierarchical", "flat"] = "hierarchical"
    """`flat` is the paper's "standard" model: one LSTM over the whole text."""
    attention: bool = False
    """Lets the sentence decoder attend over the encoder's sentence states; the code is then no longer of fixed size."""
    embed: int = 256
    """Size of a word vector."""
    hidden: int = 256
    """Units of each word-level LSTM layer."""
    sentence_hidden: int = 512
    """Units of each sentence-level LSTM layer, the size of the code when `state` is "last"."""
    layers: int = 1
    """LSTM layers of each of the four stacks."""
    state: Literal["last", "all"] = "last"
    """What one level hands to the next: the top layer's h, or h and c of all layers as in the 2015 program."""
    feedback: Literal["none", "sentence", "word"] = "none"
    """The sentence decoder reads: nothing, the previous sentence's vector, the word decoder's last state (paper)."""
    feed: Literal["start", "every"] = "every"
    """Whether the word decoder sees its sentence vector as initial state only (paper), or beside every word as well."""
    reverse: bool = True
    """The encoder reads words and sentences backwards and so has read last what will be said first; but with `feedback`
    "sentence" words are read forwards, as they are said."""
    initializer: Initializer = "orthogonal"
    """Weight scheme of all LSTM layers; see `hae_jax.layers.initializers` and `hae_jax.layers.mirror_init`."""
    use_bias: bool = True
    """Whether the LSTM's gates and the softmax have biases."""
    forget_bias: float = 1.0
    """Initial bias of the forget gate; torch, chrono, uniform_gate, critical and mirror set their own."""
    timescale: int = 64
    """Longest dependency, in steps, that chrono initialisation prepares for (its T_max)."""
    recurrent_gain: float = 1.0
    """Multiplies the fresh recurrent kernel of the weight scheme."""
    layer_norm: Literal["none", "cell", "output"] = "none"
    """Layer normalisation inside the LSTM cell (Ba et al., 2016), or of what each LSTM layer gives away."""
    layer_norm_gain: float = 1.0
    """Initial gain of that normalisation."""
    input_dropout: float = 0.0
    """Dropout on each LSTM layer's input, one mask for all steps."""
    recurrent_dropout: float = 0.0
    """Rate of recurrent dropout."""
    recurrent_dropout_kind: Literal["variational", "semeniuta"] = "variational"
    """One mask for all steps on h (Gal; Keras), or a fresh one each step on the candidate (Semeniuta)."""
    zoneout_cell: float = 0.0
    """Probability that a cell keeps its old value."""
    zoneout_hidden: float = 0.0
    """Probability that a hidden unit keeps its old value."""
    word_dropout: float = 0.0
    """Probability that the decoder's input word is hidden from it while training, so that it must use the code."""
    sentence_loss: float = 1.0
    """Weight of an auxiliary loss: sentences decoded straight from their own vectors; 0 turns it off."""
    sentence_share: float = 0.5
    """Share of a training batch's sentences, drawn at random, for that loss; only the others go through the code."""
    vector_loss: float = 0.3
    """Weight of an auxiliary loss: the squared distance of each sentence vector that the decoder finds from
    the one that the encoder found; 0 turns it off."""
    tied: bool = True
    """Whether the softmax shares the word vectors."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters and cell states stay float32."""
    remat: bool = False
    """Whether the backward pass finds gates and cell states again instead of keeping them: less memory, more work."""

    def __post_init__(self) -> None:
        require_choice(self, "model")
        require_positive(self, "model", "embed", "hidden", "sentence_hidden")
        require_positive(self, "model", "layers", most=100)
        require_finite(
            self, "model", "forget_bias", "recurrent_gain", "layer_norm_gain", "sentence_loss", "vector_loss"
        )
        require(
            self.timescale >= 3, "model.timescale", "be at least 3", self.timescale, "Use a sentence's length or more."
        )
        if self.initializer == "mirror":
            self._check_mirror()
        if self.initializer in ("chrono", "uniform_gate", "critical", "mirror"):
            require(
                self.use_bias, "model.use_bias", f"be set with model.initializer {self.initializer!r}", self.use_bias,
                "These schemes live in the biases; choose another, or allow biases.",
            )  # fmt: skip
        require_rate(
            self, "model", "input_dropout", "recurrent_dropout", "zoneout_cell", "zoneout_hidden", "word_dropout"
        )
        for name in ("sentence_loss", "vector_loss"):
            require(getattr(self, name) >= 0, f"model.{name}", "be at least 0", getattr(self, name), "0 turns it off.")
        require(
            0 < self.sentence_share < 1, "model.sentence_share", "lie in (0, 1)", self.sentence_share,
            "Use model.sentence_loss 0 to turn that loss off.",
        )  # fmt: skip
        if self.state == "all" and self.kind == "hierarchical":
            require(
                self.sentence_hidden == self.hidden, "model.sentence_hidden",
                f'equal model.hidden ({self.hidden}) when model.state is "all"', self.sentence_hidden,
                'Give both levels the same size, or use model.state "last".',
            )  # fmt: skip
        if self.attention:
            require(
                self.kind == "hierarchical", "model.kind", 'be "hierarchical" with model.attention', self.kind,
                "A flat model has no sentence states to attend to.",
            )  # fmt: skip

    def _check_mirror(self) -> None:
        """What was piled up is taken off in the opposite order, by the laws of small numbers."""
        for name, good, repair in (
            ("state", self.state == "last", 'Use model.state "last".'),
            ("reverse", self.reverse, "What is to be said first has to be read last."),
            ("feedback", self.feedback != "sentence", 'Sentences are then read forwards; use model.feedback "none".'),
            ("layer_norm", self.layer_norm != "cell", 'Use model.layer_norm "output" or "none".'),
        ):
            got = getattr(self, name)
            require(good, f"model.{name}", 'be another with model.initializer "mirror"', got, repair)
