"""Renders all causes as a page: `python -m hae_jax.doctor.rules.markdown` writes docs/causes.md; tables stay."""

import re
from pathlib import Path

from hae_jax.doctor.rules import ERROR, FRAMEWORK_CHANGES, RULES
from hae_jax.doctor.rules.errors import SETUP_RULES

HEAD = """# Why does it not train?

All causes that the doctor recognizes: the symptom, the repair and why it helps, the evidence, and how each cause is
distinguished from those with similar symptoms. Causes are listed in the order in which they are reported: first exact
faults, most of which are certain before the first step, then unfortunate choices. A loss curve rarely identifies a
cause. Interventions do: permuting codes, changing a word, appending padding, another learning rate. For any model in
JAX:

```python
from hae_jax.doctor import examine

print(examine({"loss": loss, "params": params, "batches": batches, "optimizer": optimizer}))
```

`loss(params, batch, key)` may be written with any library, since the doctor reads its jaxpr. It finds logits and
targets, recurrences and their gates, and the code, which is the smallest set of variables alive at once between the
first recurrence and the last. Then it evaluates the jaxpr again with codes permuted, words changed or padding appended.
Loops must be those of JAX: a recurrence that Python unrolled cannot be examined, and such a model is never reported as
healthy. [hae_jax/doctor/README.md](../hae_jax/doctor/README.md) has an example that runs. For the models of this
package: `hae doctor --preset small`, `hae doctor --workdir runs/first`.

Accuracy on small models that the rules were not tuned on, and false alarms on healthy ones:

<!-- table:doctor -->
*Not measured yet.*
<!-- end -->

<!-- table:doctor_causes -->
*Not measured yet.*
<!-- end -->

A report without findings states that no cause was found, which is no proof that there is none; it lists the probes
that could not run.

The figures below show the loss of a faulty run and of its healthy twin, which differs by the fault only, relative to
the first value. They rarely identify the cause: a decoder that reads its targets learns too fast, a decoder without a
code starts like the healthy one, a penalty falls faster than the loss that it is added to, and Adam compensates for
nearly every clip. A cross marks the last step before loss or gradient became NaN or infinite.

<!-- table:courses -->
*Not measured yet.*
<!-- end -->

A repair is tested by training the faulty and the repaired run for as many steps. `hae_jax.doctor.repair(setup)` tries
what can be changed from outside: learning rate, clipping, decay, scale of weights, order and scale of the data. If the
optimizer is replaced, its learning rate is tuned by short trials; otherwise the learning rate stays the same, so that
an improvement is due to the change. For the models of this package `hae doctor --repair` tries another config, and
writes it into a new folder. `hae train --doctor` monitors a run by the same rules, and reports a cause at the next
line of the log. Success of repairs from outside:

<!-- table:repairs -->
*Not measured yet.*
<!-- end -->

"""
SECTIONS = ("Faults of the program, the data and the loss", "Unfortunate choices")
FIGURES = Path(__file__).parents[3] / "docs" / "causes"
"""Folder of the figures, which the benchmark `courses` draws of those causes that its small models can have."""
UNDRAWN = tuple(rule.cause for rule in RULES if not (FIGURES / f"{rule.cause}.svg").exists())
"""Causes without a figure."""
WITHOUT_RULE = """## Findings without a rule

These findings report why nothing more could be examined.
"""


def page() -> str:
    """Renders the rules as Markdown."""
    parts = [HEAD]
    sections = ([rule for rule in RULES if rule.rank < ERROR], [rule for rule in RULES if rule.rank >= ERROR])
    for heading, rules in zip(SECTIONS, sections, strict=True):
        parts.append(f"## {heading}\n")
        for rule in sorted(rules, key=lambda each: each.rank):
            evidence = ", ".join(f"`{name}`" for name in rule.evidence_keys)
            figure = f"![Loss of the faulty run and of its healthy twin](causes/{rule.cause}.svg)\n"
            parts += [
                f"### {rule.cause}\n",
                *([] if rule.cause in UNDRAWN else [figure]),
                *item(f"Symptom: {rule.symptom}."),
                *item(f"Repair: {rule.change}."),
                *in_frameworks(rule.cause),
                *item(f"Why: {rule.why}."),
                *(line for cause, why in rule.instead_of.items() for line in item(f"Not `{cause}`: {why}.")),
                *item(f"Evidence: {evidence}."),
                *([f"* Example: <{rule.source}>"] if rule.source else []),
                "",
            ]
    parts.append(WITHOUT_RULE)
    for each in SETUP_RULES:
        parts += [
            f"### {each.cause}\n",
            *item(f"Symptom: {each.symptom}."),
            *item(f"Repair: {each.change}."),
            *item(f"Why: {each.why}."),
            "",
        ]
    return "\n".join(parts).rstrip() + "\n"


def in_frameworks(cause: str) -> list[str]:
    """Returns the repair of a cause in the words of Keras and PyTorch, as far as they differ."""
    return [
        line
        for name, title in (("keras", "Keras"), ("torch", "PyTorch"))
        if cause in FRAMEWORK_CHANGES[name]
        for line in item(f"In {title}: {FRAMEWORK_CHANGES[name][cause]}.")
    ]


def keep_tables(text: str, written: str) -> str:
    """Returns a page with the tables of another one, which benchmarks have written into it."""
    tables = dict(re.findall(r"<!-- table:(\w+) -->(.*?)<!-- end -->", written, re.DOTALL))
    parts = re.split(r"<!-- table:(\w+) -->.*?<!-- end -->", text, flags=re.DOTALL)
    kept = [f"<!-- table:{name} -->{tables.get(name, '')}<!-- end -->" for name in parts[1::2]]
    return "".join(part + table for part, table in zip(parts[::2], [*kept, ""], strict=True))


def item(text: str, width: int = 126) -> list[str]:
    """Breaks an item of a list into lines.

    Example:
        >>> item("one two three", 9)
        ['* one two', '  three']
    """
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width - 2 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [f"{'*' if at == 0 else ' '} {line}" for at, line in enumerate(lines)]


if __name__ == "__main__":
    path = FIGURES.with_suffix(".md")
    path.write_text(keep_tables(page(), path.read_text(encoding="utf-8")), encoding="utf-8")
