"""Every field of a config has an effect, or is refused where it has none: each one is changed under many others."""

import contextlib
import dataclasses
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.command import error_of
from support.documents import VOCAB, batch
from support.trained_run import PARAGRAPHS

from hae_jax.cli import main
from hae_jax.config import CellConfig, Config, DataConfig, ModelConfig, OptimConfig
from hae_jax.config.idle import IDLE, NAMED_CORPORA, idle_fields
from hae_jax.config.run import TrainConfig
from hae_jax.data import corpora
from hae_jax.data.batches import Batches
from hae_jax.data.cache import prepare
from hae_jax.models import build, objective
from hae_jax.training import optim

__all__ = ["error_of"]
CHANGES = {
    "model.initializer": ("glorot", "flax"), "model.use_bias": (False, True), "model.forget_bias": (2.0,),
    "model.timescale": (9,), "model.recurrent_gain": (2.0,), "model.layer_norm": ("cell", "output"),
    "model.layer_norm_gain": (0.3,), "model.input_dropout": (0.3,), "model.recurrent_dropout": (0.3,),
    "model.recurrent_dropout_kind": ("semeniuta",), "model.zoneout_cell": (0.3,), "model.zoneout_hidden": (0.3,),
    "model.dtype": ("bfloat16",), "model.kind": ("flat", "hierarchical"), "model.attention": (True, False),
    "model.embed_dim": (6,), "model.hidden_dim": (10,), "model.sentence_dim": (18,), "model.layers": (3,),
    "model.bridge": ("all_states", "top_hidden"), "model.feedback": ("word", "sentence", "none"),
    "model.conditioning": ("every_step", "initial_state"), "model.reverse": (False, True), "model.word_gain": (0.7,),
    "model.sentence_gain": (0.6,), "model.topic_dim": (3,), "model.word_dropout": (0.3,),
    "model.sentence_loss": (0.7,), "model.sentence_share": (0.3,), "model.vector_loss": (0.2,),
    "model.tie_embeddings": (False, True),
    "data.corpus": ("other.txt",), "data.field": ("title",), "data.tokenizer": ("bpe", "word"),
    "data.vocab_size": (30,), "data.max_sentences": (2,), "data.max_tokens": (5,), "data.min_sentences": (2,),
    "data.holdout": (0.4,), "data.batch_size": (5,), "data.buckets": (1,),
    "optim.learning_rate": (0.5,), "optim.warmup": (7,), "optim.final": (0.9,), "optim.clip": ("value", "none"),
    "optim.clip_norm": (0.7,), "optim.b1": (0.5,), "optim.b2": (0.5,), "optim.eps": (1e-3,),
    "optim.weight_decay": (0.1,), "optim.sentence_lr_scale": (0.6,), "optim.topic_lr_scale": (0.6,),
    "optim.accumulate": (3,),
    "train.seed": (5,), "train.steps": (70,),
}  # fmt: skip
"""Other values by field; the first one that differs is tried."""
EXCEPTIONS = {
    "model.remat": "less memory for more work, the same numbers",
    "train.minutes": "ends a run", "train.log_every": "lines of the log", "train.tensorboard": "further files",
    "train.eval_every": "evaluations", "train.eval_documents": "evaluations", "train.save_every": "checkpoints",
    "train.keep": "checkpoints", "train.max_skipped": "ends a run",
}  # fmt: skip
"""Fields that change no number of a step, and what they are for."""
SIZES = {"embed_dim": 4, "hidden_dim": 8, "sentence_dim": 16}
MIRROR = {"initializer": "mirror", "layer_norm": "output", "conditioning": "initial_state"}
MODELS = {
    "default": ModelConfig(**SIZES),
    "mirror": ModelConfig(**SIZES, **MIRROR),
    "mirror, narrow code": ModelConfig(**SIZES, **MIRROR, feedback="sentence", sentence_gain=0.5),
    "chrono, cell norm, all states": ModelConfig(
        embed_dim=4,
        hidden_dim=8,
        sentence_dim=8,
        bridge="all_states",
        layers=2,
        initializer="chrono",
        layer_norm="cell",
    ),
    "torch, attention, dropout, one loss": ModelConfig(
        **SIZES, initializer="torch", attention=True, recurrent_dropout=0.2, sentence_loss=0
    ),
    "no biases, word fed back": ModelConfig(**SIZES, use_bias=False, feedback="word", initializer="uniform"),
    "flat": ModelConfig(**SIZES, kind="flat"),
    "flat, mirror": ModelConfig(**SIZES, **MIRROR, kind="flat"),
}
OPTIMIZERS = {
    "default": OptimConfig(warmup=3),
    "no clip": OptimConfig(warmup=3, clip="none"),
    "autoclip, decay, accumulated": OptimConfig(warmup=3, clip="autoclip", weight_decay=0.2, accumulate=2),
    "agc": OptimConfig(warmup=3, clip="agc"),
    "zclip": OptimConfig(warmup=3, clip="zclip"),
    "value": OptimConfig(warmup=3, clip="value"),
    "per tensor": OptimConfig(warmup=3, clip="per_tensor"),
}


def fields(*sections):
    return [name for name in CHANGES if name.split(".")[0] in sections]


def variants(config, *sections):
    """Yields each field of the sections, with a config that differs in it; invalid ones are left out."""
    for name in fields(*sections):
        section, field = name.split(".")
        part = getattr(config, section)
        value = next((value for value in CHANGES[name] if value != getattr(part, field)), None)
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            yield name, replace(config, **{section: replace(part, **{field: value})})


def traced(function, *arguments):
    """Returns a function's operations and constants."""
    closed = jax.make_jaxpr(function)(*arguments)
    constants = [np.asarray(each).tobytes() for each in closed.consts]
    return re.sub(r"0x[0-9a-f]+", "", str(closed)), constants


def model_of(config):
    """Returns the training loss of a model at its initial weights, as a traced program of the random key."""
    model, documents = build(config.model, VOCAB), batch()

    def loss(key):
        params = model.init(key, documents)["params"]
        losses = model.apply({"params": params}, documents, train=True, rngs={"dropout": key})
        return objective(losses, config.model)

    return traced(loss, jax.random.key(0))


def step_of(config):
    """Returns an update of the optimizer, as a traced program."""
    optimizer = optim.build(config.optim, config.train.steps)
    params = {"encoder": {"word": jnp.ones((2, 2)), "sentence": jnp.ones((2, 2))}}
    if config.model.topic_dim:
        params["topic"] = {"embedding": jnp.ones((2, 2))}
    return traced(optimizer.update, params, optimizer.init(params), params)


def batches_of(config, folder):
    """Returns the vocabulary and the first batches."""
    data = prepare(config.data, folder / str(len(list(folder.iterdir()))))
    batcher = Batches(data.train, config.data, config.train.seed)
    words = [np.asarray(each).tolist() for step in range(9) for each in jax.tree.leaves(batcher.batch(step))]
    return data.tokenizer.vocab_size, len(data.train), words


def assert_every_change_has_an_effect_or_is_idle(config, computed, *sections):
    """Checks both directions: what has no effect is listed as idle, and what is listed has none."""
    plain, wrong = computed(config), []
    for name, other in variants(config, *sections):
        effect, idle = computed(other) != plain, name in idle_fields(other)
        if effect == idle:
            wrong.append(f"{name}: {'has an effect, but is refused' if effect else 'has no effect, but is accepted'}")
    assert not wrong


def test_every_field_is_changed_or_has_a_reason_not_to_be():
    names = {f"{section.name}.{f.name}" for section in dataclasses.fields(Config)
             for f in dataclasses.fields(getattr(Config(), section.name))}  # fmt: skip
    assert names == set(CHANGES) | set(EXCEPTIONS)
    assert {name for each in IDLE for name in each.names} <= set(CHANGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_fields_of_the_model(name):
    config = Config(MODELS[name])
    assert_every_change_has_an_effect_or_is_idle(config, model_of, "model")


@pytest.mark.parametrize("topic", [0, 4])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fields_of_the_optimizer(name, topic):
    config = Config(ModelConfig(topic_dim=topic), optim=OPTIMIZERS[name], train=TrainConfig(steps=60))
    assert_every_change_has_an_effect_or_is_idle(config, step_of, "optim")
    assert step_of(config) != step_of(replace(config, train=TrainConfig(steps=70)))


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_fields_of_the_data(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    paragraphs = [*PARAGRAPHS, "Nobody came.", "The rain began."]
    rows = [f'"{text}","Title. Nothing else, {at}."' for at, text in enumerate(paragraphs)]
    written = "\n\n".join(paragraphs) if kind == "txt" else "\n".join(["text,title", *rows])
    (tmp_path / f"letters.{kind}").write_text(written, encoding="utf-8")
    (tmp_path / "other.txt").write_text("\n\n".join(PARAGRAPHS[7:]), encoding="utf-8")
    data = DataConfig(
        corpus=f"letters.{kind}", vocab_size=300, max_tokens=9, min_sentences=1, batch_size=4, holdout=0.1
    )
    config = Config(data=data)
    assert_every_change_has_an_effect_or_is_idle(config, lambda each: batches_of(each, tmp_path / "out"), "data")
    assert batches_of(config, tmp_path / "out") == batches_of(config, tmp_path / "out")
    other = replace(config, train=replace(config.train, seed=5))
    assert batches_of(config, tmp_path / "out") != batches_of(other, tmp_path / "out")


def test_corpora_by_name_have_no_fields():
    assert set(NAMED_CORPORA) == set(corpora.NAMED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "tiny", "--model.forget_bias", "-4"], "model.forget_bias must be left at 1.0 with "),
        (["--preset", "small", "--model.timescale", "9"], "--model.timescale must not be given with model.initializer"),
        (["--preset", "small", "--model.recurrent_gain", "2"], "model.recurrent_gain must be left at 1.0 with "),
        (["--preset", "paper", "--model.forget_bias", "2"], "with model.use_bias False, got 2."),
        (["--optim.clip", "none", "--optim.clip_norm", "3"], "with optim.clip 'none', got 3."),
        (["--model.kind", "flat", "--model.topic_dim", "0", "--model.vector_loss", "1"], "with model.kind 'flat'"),
        (["--data.field", "body"], "--data.field must not be given with data.corpus 'sotu', got body."),
    ],
)
@pytest.mark.parametrize("command", ["config", "doctor"])
def test_an_option_without_effect_is_refused(error_of, command, options, message):
    assert message in error_of(command, *options)


def test_a_preset_may_hold_values_that_another_option_makes_idle():
    """Only what was given is refused: the sentence gain and the vector loss are those of the preset."""
    for options in (["small-256", "--model.initializer", "flax"], ["paper", "--model.kind", "flat"]):
        assert main(["config", "--preset", *options]) == 0


def test_weights_that_have_their_own_biases_refuse_others_in_python_too():
    for initializer in ("mirror", "torch", "chrono"):
        with pytest.raises(ValueError, match=r"forget_bias must be left at 1\.0 .*, got -4\.0\. This scheme"):
            ModelConfig(initializer=initializer, forget_bias=-4.0)
    with pytest.raises(ValueError, match=r"cell\.recurrent_gain must be left at 1\.0"):
        CellConfig(initializer="mirror", recurrent_gain=3.0)


def test_a_stored_config_with_a_field_that_had_no_effect_is_read_without_it():
    stored = Config(ModelConfig(**SIZES, **MIRROR)).to_json().replace('"forget_bias": 1.0', '"forget_bias": 2.0')
    assert Config.from_json(stored) == Config(ModelConfig(**SIZES, **MIRROR))
