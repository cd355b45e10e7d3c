"""Initial weights of a whole autoencoder as one value, chosen by `CellConfig.initializer`.

The modules of `hae_jax.models` take their initializers from here. Another scheme for whole models needs one more case
in `model_init`.
"""

from collections.abc import Callable
from typing import NamedTuple

from flax.linen import initializers
from flax.linen.initializers import Initializer

from hae_jax.config import CellConfig
from hae_jax.layers import mirror_init
from hae_jax.layers.initializers import Scheme, scheme
from hae_jax.layers.mirror_init import Register
from hae_jax.layers.spherical_code import spherical_code


class ModelInit(NamedTuple):
    """Initializers of the parts of an autoencoder.

    Attributes:
        encoder_layers: schemes of an encoder's LSTM layers, bottom first, given its register and the number of layers.
        decoder_layers: schemes of a decoder's LSTM layers, bottom first, given its register, the number of layers, and
            whether its input is the vector of the previous step.
        bridge: of the kernel from a vector to a decoder's initial states, given its register and the number of layers.
        readout: of the kernel from the sentence decoder's output to a sentence vector.
        embedding: of the token embeddings, given the standard deviation of their components and their size.
        output_projection: of the kernel from the word decoder's output to a token embedding, given its register.
        series_readout: of the kernels from a series decoder's output to values and to vectors.
        vector_std: standard deviation of the components of a sentence vector or a code.
    """

    encoder_layers: Callable[[Register, int], tuple[Scheme, ...]]
    decoder_layers: Callable[[Register, int, bool], tuple[Scheme, ...]]
    bridge: Callable[[Register, int], Initializer]
    readout: Initializer
    embedding: Callable[[float, int], Initializer]
    output_projection: Callable[[Register], Initializer]
    series_readout: Initializer
    vector_std: float


def model_init(config: CellConfig) -> ModelInit:
    """Returns the initial weights that a config describes: a shift register for "mirror", or random weights.

    Example:
        >>> model_init(CellConfig(initializer="mirror", layer_norm="output")).vector_std
        1.0
    """
    return _shift_register(config) if config.initializer == "mirror" else _random(config)


def _random(config: CellConfig) -> ModelInit:
    layer = scheme(config.initializer, config.forget_bias, config.timescale, config.recurrent_gain)
    lecun = initializers.lecun_normal()
    return ModelInit(
        encoder_layers=lambda register, layers: (layer,) * layers,
        decoder_layers=lambda register, layers, subtracts: (layer,) * layers,
        bridge=lambda register, layers: lecun,
        readout=lecun,
        embedding=lambda std, size: initializers.normal(std),
        output_projection=lambda register: lecun,
        series_readout=lecun,
        vector_std=1.0,
    )


def _shift_register(config: CellConfig) -> ModelInit:
    normalized, above = config.layer_norm == "output", mirror_init.passthrough_scheme()
    ratio = mirror_init.STATE_RATIO
    return ModelInit(
        encoder_layers=lambda register, layers: (mirror_init.encoder_scheme(register), *[above] * (layers - 1)),
        decoder_layers=lambda register, layers, subtracts: (
            mirror_init.decoder_scheme(register, subtracts), *[above] * (layers - 1)
        ),
        bridge=lambda register, layers: mirror_init.initial_state_kernel(
            register, layers, register.state_std if normalized else 1.0
        ),
        readout=mirror_init.first_block_readout(1.0 if normalized else ratio),
        embedding=lambda std, size: spherical_code(std * size**0.5),
        output_projection=lambda register: mirror_init.first_block_readout(register.logit_scale),
        series_readout=mirror_init.first_block_readout(1 / (mirror_init.SERIES_SIGNAL * mirror_init.GATE_GAIN)),
        vector_std=1.0 if normalized else ratio * mirror_init.SIGNAL,
    )  # fmt: skip
