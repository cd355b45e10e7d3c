"""Names of config fields before version 0.4, and the conversion of configs that earlier versions saved."""

from collections.abc import Mapping
from typing import Any

from hae_jax.config.model import SCHEME_FIELDS
from hae_jax.config.validate import require

RENAMED: dict[str, dict[str, str]] = {
    "model": {
        "embed": "embed_dim",
        "hidden": "hidden_dim",
        "sentence_hidden": "sentence_dim",
        "state": "bridge",
        "feed": "conditioning",
        "tied": "tie_embeddings",
    },
    "data": {"max_words": "max_tokens"},
    "optim": {"sentence_rate": "sentence_lr_scale"},
}
"""For each section of a config, the old names of its fields and the present ones."""

TEXT_FIELDS = (
    "kind", "attention", "embed_dim", "hidden_dim", "sentence_dim", "layers", "bridge", "feedback", "conditioning",
    "reverse", "word_dropout", "sentence_loss", "sentence_share", "vector_loss", "tie_embeddings",
)  # fmt: skip
"""Fields of the model of texts, which configs of series stored before version 0.4 without any effect."""

VALUES: dict[str, dict[str, str]] = {
    "model.bridge": {"last": "top_hidden", "all": "all_states"},
    "model.conditioning": {"start": "initial_state", "every": "every_step"},
}
"""For fields whose values were renamed as well, the old values and the present ones."""


def migrate(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a section under their present names.

    Args:
        section: `model`, `data` or `optim`; other sections are returned as they are.
        values: fields under old or present names.

    Raises:
        ValueError: if a field is given under both names, or a model of an earlier version cannot be expressed.

    Example:
        >>> migrate("model", {"hidden": 5, "feed": "start"})
        {'hidden_dim': 5, 'conditioning': 'initial_state'}
    """
    names, migrated = RENAMED.get(section, {}), {}
    for name, value in values.items():
        new = names.get(name, name)
        require(
            new == name or new not in values, f"config field {section}.{new}", "be given once",
            f"{name} and {new}", f"Remove {name}, its old name.",
        )  # fmt: skip
        migrated[new] = VALUES.get(f"{section}.{new}", {}).get(value, value) if name != new else value
    if section == "model":
        _check_reading_order(migrated)
        _remove_idle(migrated)
    return migrated


def _remove_idle(values: dict[str, Any]) -> None:
    """Removes fields of the weight scheme that had no effect; configs of version 0.5 and earlier may have them."""
    for name, schemes in SCHEME_FIELDS.items():
        if values.get("initializer") in schemes or (name == "forget_bias" and values.get("use_bias") is False):
            values.pop(name, None)


def _check_reading_order(values: Mapping[str, Any]) -> None:
    """Refuses models that read sentences in reverse order and words forwards, as `reverse` meant with `feedback`
    "sentence" up to version 0.4; configs of later versions have a field `topic_dim`."""
    mixed = values.get("feedback") == "sentence" and values.get("kind") != "flat" and values.get("reverse", True)
    require(
        not mixed or "topic_dim" in values, "model.feedback", "not be 'sentence' in a config of version 0.4 or earlier",
        "a model that reads words forwards", "Use hae_jax 0.4 for it, or train it again.",
    )  # fmt: skip


def migrate_cell(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a series config's cell, without those that only models of texts have.

    Example:
        >>> migrate_cell({"initializer": "mirror", "hidden": 256, "word_dropout": 0.0})
        {'initializer': 'mirror'}
    """
    values = {name: value for name, value in values.items() if name != "feedback"}
    return {name: value for name, value in migrate("model", values).items() if name not in TEXT_FIELDS}


def new_name(option: str) -> str | None:
    """Returns the present name of an option under an old one; None if it was not renamed.

    Example:
        >>> new_name("data.max_words"), new_name("data.corpus")
        ('data.max_tokens', None)
    """
    section, _, field = option.partition(".")
    found = RENAMED.get(section, {}).get(field)
    return found and f"{section}.{found}"
