"""Parses a command line into a command.

tyro makes options and help screens from the dataclasses. A command line is checked before tyro parses it, so that every
error is one line of the form `<option> must <condition>, got <value>. <repair>.`, with the closest valid name.
"""

import contextlib
import dataclasses
import difflib
import io
import sys
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import tyro

from hae_jax.cli.commands import COMMANDS, Command
from hae_jax.cli.options import Configured, Trained
from hae_jax.cli.series import SeriesTrain
from hae_jax.config import Config
from hae_jax.config.migration import VALUES, new_name
from hae_jax.config.presets import PRESETS, preset
from hae_jax.config.run import Clip
from hae_jax.config.series import SERIES

TOPIC = """Hierarchical LSTM autoencoders: documents are encoded into one vector each, and decoded again.

  hae train --workdir runs/first                            trains on the State of the Union addresses
  hae train --workdir runs/mine --data.corpus letters.txt   trains on your text
  hae train --workdir runs/pump --preset series --data.corpus pump.csv
                                                            trains on time series
  hae evaluate --workdir runs/first                         prints scores on held-out documents
  hae reconstruct --workdir runs/first --input letters.txt  prints reconstructions

`hae COMMAND --help` lists the options of a command."""

DEFAULTS = "Defaults are those of the preset, or of the run in the workdir. -H explains every option."
HELP = ("-h", "--help", "-H", "--help-verbose")
NUMBERS: dict[object, str] = {int: "a whole number", float: "a number"}


def parse(argv: Sequence[str]) -> Command:
    """Parses a command line; prints help and exits if that is requested.

    Raises:
        ValueError: if the command, an option or a value is invalid.
        SystemExit: if help was requested.
    """
    if not argv or argv[0] in HELP:
        chosen = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())
        tyro.cli(Union[chosen], prog="hae", description=TOPIC, args=["--help"])  # type: ignore[call-overload]  # noqa: UP007
    name, *rest = argv
    if name not in COMMANDS:
        raise ValueError(f"command must be one of {', '.join(COMMANDS)}, got {name!r}. {suggestion(name, COMMANDS)}")
    wanted, presets = preset_name(rest), [*PRESETS, *SERIES]
    if name == "train" and wanted and wanted not in presets:
        raise ValueError(f"--preset must be one of {', '.join(presets)}, got {wanted!r}. {suggestion(wanted, presets)}")
    kind = SeriesTrain if name == "train" and wanted in SERIES else COMMANDS[name]
    if any(word in HELP for word in rest):
        build(name, kind, [word for word in rest if word in HELP][:1], {})
    given, texts = split_arguments(name, rest, options(kind))
    needed = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    for missing in (option for option in needed if option not in given and option != "texts"):
        raise ValueError(f"--{missing} must be given to hae {name}, got nothing. Add --{missing} PATH.")
    taken = get_type_hints(kind).get("texts")
    if taken == tuple[str, str] and len(texts) != 2:
        raise ValueError(f"hae {name} must be given two texts, got {len(texts)}: {texts}. Put each text in quotes.")
    if "texts" in needed and not texts:
        raise ValueError(f"hae {name} must be given a text, got none. Put each text in quotes.")
    if taken is None and texts:
        raise ValueError(f"hae {name} must be given options only, got {texts[0]!r}. Write them as --name value.")
    return build(name, kind, [*(f"--{option}={value}" for option, value in given.items()), "--", *texts], given)


def preset_name(words: Sequence[str]) -> str:
    """Returns the value of `--preset` on a command line, or "".

    Example:
        >>> preset_name(["--workdir", "runs/pump", "--preset", "series"]), preset_name(["--preset=paper"])
        ('series', 'paper')
    """
    line = [part for word in words for part in (word.split("=", 1) if word.startswith("--preset=") else [word])]
    return line[line.index("--preset") + 1] if "--preset" in line[:-1] else ""


def options(kind: type, prefix: str = "") -> dict[str, Any]:
    """Returns the options of a dataclass and of those nested in it: dotted names and types.

    Example:
        >>> [name for name in options(Config) if name.startswith("train.")][:2]
        ['train.seed', 'train.steps']
    """
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found |= options(cast(type, hint), f"{prefix}{name}.")
        elif name != "texts":
            found[prefix + name] = hint
    return found


def split_arguments(command: str, words: Sequence[str], known: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Splits the arguments of a command into options with values, and texts."""
    given: dict[str, str] = {}
    texts: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            texts, rest = texts + rest, []
        elif not word.startswith("--"):
            texts.append(word)
        else:
            name, has_value, value = word[2:].partition("=")
            name = name.replace("-", "_")
            renamed = new_name(name)
            if renamed in known:
                values = VALUES.get(str(renamed), {})
                what = f" with {', '.join(f'{new} for {old}' for old, new in values.items())}" if values else ""
                raise ValueError(f"--{name} must be written --{renamed}, got its old name. Use --{renamed}{what}.")
            if name not in known:
                raise ValueError(f"option must be one of hae {command}, got --{name}. {suggestion(name, known, '--')}")
            if not has_value:
                if known[name] is bool:
                    value = rest.pop(0) if rest and rest[0].lower() in ("true", "false") else "true"
                elif rest and not rest[0].startswith("--"):
                    value = rest.pop(0)
                else:
                    raise ValueError(f"--{name} must have a value, got none. Write --{name} VALUE.")
            given[name] = check_value(name, value, known[name])
    return given, texts


def check_value(name: str, value: str, hint: Any) -> str:
    """Returns the value of an option as tyro spells it.

    Raises:
        ValueError: if it is not of the option's type.
    """
    if not value:
        raise ValueError(f"--{name} must have a value, got an empty one. Write --{name} VALUE.")
    if get_origin(hint) in (types.UnionType, Union):
        if value == "None":
            return value
        hint = get_args(hint)[0]
    choices: tuple[str, ...] = ("True", "False") if hint is bool else ()
    if hint is bool:
        value = value.capitalize()
    elif get_origin(hint) is Literal:
        choices = get_args(hint)
    if choices and value not in choices:
        new = VALUES.get(name, {}).get(value, value)
        raise ValueError(f"--{name} must be one of {', '.join(choices)}, got {value!r}. {suggestion(new, choices)}")
    if hint in NUMBERS:
        try:
            hint(value)
        except ValueError:
            raise ValueError(f"--{name} must be {NUMBERS[hint]}, got {value!r}. Write digits.") from None
    return value


def build(name: str, kind: type[Command], args: Sequence[str], given: dict[str, str]) -> Command:
    """Makes the command with tyro, or prints its help and exits."""
    screen = io.StringIO()
    try:
        with contextlib.redirect_stderr(screen):
            command: Command = tyro.cli(
                kind,
                prog=f"hae {name}",
                description=f"{kind.__doc__}\n\n{DEFAULTS}" if issubclass(kind, Configured) else None,
                args=args,
                default=defaults(kind, given),
                use_underscores=True,
                compact_help=issubclass(kind, Configured),
                config=(tyro.conf.FlagConversionOff,) if issubclass(kind, Configured) else (),
            )
        if isinstance(command, Configured):
            command.check_given(given)
        return command
    except SystemExit as stop:
        error: BaseException | None = stop
        while stop.code and (error := error and error.__context__):
            # An error of the config, without tyro's frame.
            if isinstance(error, ValueError):
                raise error from None
        sys.stderr.write(screen.getvalue())
        raise


def defaults(kind: type[Command], given: dict[str, str]) -> Any:
    """Returns the defaults of a command's options: the config of the run in the workdir, or else the preset."""
    if not issubclass(kind, Configured):
        return tyro.MISSING_NONPROP
    workdir = Path(given.get("workdir", ""))
    stored = workdir / "config.json"
    on_text = stored.is_file() and not (workdir / "facts.json").is_file()
    resumed = "workdir" in given and "preset" not in given and on_text
    config = Config.load(stored) if resumed else preset(given.get("preset", "small"))
    clip = given.get("optim.clip", config.optim.clip)
    if clip != config.optim.clip:
        # A threshold belongs to its clip: another clip has its usual one.
        optim = dataclasses.replace(config.optim, clip=cast(Clip, clip), clip_norm=None)
        config = dataclasses.replace(config, optim=optim)
    values: dict[str, Any] = vars(config) | ({"workdir": workdir} if issubclass(kind, Trained) else {})
    return kind(**values)


def suggestion(name: str, known: Iterable[str], dashes: str = "") -> str:
    """Suggests the closest valid name.

    Example:
        >>> suggestion("hidden", ["model.hidden_dim", "model.hide"], "--"), suggestion("xyz", ["model.hidden_dim"])
        ('Did you mean --model.hidden_dim?', 'See --help.')
    """
    known = list(known)
    found = [each for each in known if f".{name}" in each] or difflib.get_close_matches(name, known, 1)
    return f"Did you mean {dashes}{found[0]}?" if found else "See --help."
