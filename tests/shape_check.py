"""How signatures are checked under pytest."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Takes an int where a float is asked for, as Python does."""
