"""All causes as a page to read: `python -m hae_jax.doctor.rules.markdown > docs/causes.md`, then the benchmarks' report."""

from hae_jax.doctor.rules import ERROR, RULES
from hae_jax.doctor.rules.errors import SETUP_RULES

HEAD = """# Why does it not train?

What the doctor knows, cause by cause: what you see, how it is told from its neighbours, what heals it and why. Causes
stand in the order in which they are reported: first what is wrong exactly, most of which can be told for certain before
the first step, then choices that are unfortunate. A curve of the loss rarely tells causes apart; interventions do:
permuting codes, changing a word, padding further, another rate. For any model in JAX:

```python
from hae_jax.doctor import examine

print(examine({"loss": loss, "params": params, "batches": batches, "optimizer": optimizer}))
```

`loss(params, batch, key)` may be written with whatever library: the doctor reads what JAX traced of it. It finds
logits and targets, recurrences and their gates, and the code, which is the narrowest place between the first
recurrence and the last; then it runs the program again with codes permuted, words changed, padding added. Loops
have to be JAX's own: those that Python unrolled cannot be told, and then nobody is called healthy. For the models of
this package: `hae doctor --preset small`, `hae doctor --workdir runs/first`.

How often it is right, on small models that its rules have not seen, and how often it disturbs the healthy:

<!-- table:doctor -->
*Not measured yet.*
<!-- end -->

<!-- table:doctor_causes -->
*Not measured yet.*
<!-- end -->

A report without findings says that nothing was found, not that all is well; it lists what could not be looked at.

Losses say little. Causes are drawn below beside a twin that is healthy and otherwise the same, the loss as a share of
the first one: a decoder that sees its targets learns faster than it should, one without a code begins as the healthy
one does, a penalty falls faster than what it is added to, and Adam makes up for nearly every clip. Where the two lines
are one, the loss does not tell; where one ends in a cross, it was NaN or infinite next, or its gradient was.

<!-- table:courses -->
*Not measured yet.*
<!-- end -->

A fault is healed when the sick run and a repaired twin, side by side, say so. `hae_jax.doctor.repair(patient)` tries
what can be changed from outside: rate, clip, decay, size of weights, order and scale of the data. A changed optimizer
gets the rate that suits it, found by short trials; elsewhere the rate stays, so that what heals is the change. For our
own models `hae doctor --repair` tries another config, and writes it into a new folder. `hae train --doctor` looks on
while a run goes on, and speaks up at the next line of its log when something goes wrong. How often repairs from
outside heal:

<!-- table:repairs -->
*Not measured yet.*
<!-- end -->

"""
SECTIONS = ("Faults of the program, the data and the loss", "Unfortunate choices")
UNDRAWN = ("sequence-too-long",)
"""Causes without a picture: the benchmark `courses` draws those that its small models can have."""
OUTSIDE = """## Findings without a rule

Four findings say why nothing more could be found.
"""


def page() -> str:
    """Renders the rules."""
    parts = [HEAD]
    sections = ([rule for rule in RULES if rule.rank < ERROR], [rule for rule in RULES if rule.rank >= ERROR])
    for heading, chosen in zip(SECTIONS, sections, strict=True):
        parts.append(f"## {heading}\n")
        for rule in sorted(chosen, key=lambda each: each.rank):
            shown = ", ".join(f"`{name}`" for name in rule.shows)
            parts += [
                f"### {rule.cause}\n",
                *([] if rule.cause in UNDRAWN else [f"![Loss, sick and healthy](causes/{rule.cause}.svg)\n"]),
                *wrapped(f"You see: {rule.sees}."),
                *wrapped(f"Repair: {rule.change}."),
                *wrapped(f"Why: {rule.why}."),
                *(line for cause, why in rule.instead_of.items() for line in wrapped(f"Not `{cause}`: {why}.")),
                *wrapped(f"Evidence: {shown}."),
                *([f"* Met at <{rule.seen_at}>"] if rule.seen_at else []),
                "",
            ]
    parts.append(OUTSIDE)
    for stop in SETUP_RULES:
        parts += [
            f"### {stop.cause}\n",
            *wrapped(f"You see: {stop.sees}."),
            *wrapped(f"Repair: {stop.change}."),
            *wrapped(f"Why: {stop.why}."),
            "",
        ]
    return "\n".join(parts).rstrip() + "\n"


def wrapped(text: str, width: int = 126) -> list[str]:
    """Breaks an item of a list into lines.

    Example:
        >>> wrapped("one two three", 9)
        ['* one two', '  three']
    """
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width - 2 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [f"{'*' if at == 0 else ' '} {line}" for at, line in enumerate(lines)]


if __name__ == "__main__":
    print(page(), end="")
