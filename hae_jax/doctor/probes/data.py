"""What batches say before any model has seen them."""

from typing import Any

import numpy as np

from hae_jax.doctor.inputs.fields import real
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped

FEATURES = 8
"""Random projections of the words of an example."""


def contents(chart: ProbeContext) -> dict[str, Any]:
    """Measures words and values: shares of the commonest id and of padding, scale of numbers."""
    fields, batches = chart.fields, chart.case.batches[:16]
    if fields.main is None:
        raise ProbeSkipped("no field of a batch holds sequences")
    found: dict[str, Any] = {}
    masks = [real(fields, batch) for batch in batches]
    if fields.words:
        at = fields.words[0]
        ids = np.concatenate(
            [batch[at][m] if m is not None else batch[at].ravel() for batch, m in zip(batches, masks, strict=True)]
        )
        vocab = chart.case.patient.vocab
        if vocab and ids.size and not 0 <= ids.min() <= ids.max() < vocab:
            chart.case.notes.append(
                f"ids go from {ids.min()} to {ids.max()}, and there are {vocab}; JAX reads others without a word"
            )
        counts = np.sort(np.bincount(ids[ids >= 0].astype(int)))[::-1]
        counts = counts[counts > 0]
        if len(counts) == 0:
            raise ProbeSkipped("no position is real")
        shares = counts / counts.sum()
        found |= {
            "unigram_entropy": float(-(shares * np.log(shares)).sum()),
            "commonest_share": float(shares[0]),
            "second_share": float(shares[1]) if len(shares) > 1 else 0.0,
            "distinct_words": len(counts),
        }
        if chart.case.patient.unknown is not None:
            found["unknown_share"] = float((ids == chart.case.patient.unknown).mean())
    if fields.values:
        at = fields.values[0]
        rows = [
            b[at][m] if m is not None and m.shape == b[at].shape[: m.ndim] else b[at].ravel()
            for b, m in zip(batches, masks, strict=True)
        ]
        every = np.concatenate(
            [row.reshape(-1, row.shape[-1]) if row.ndim > 1 else row[:, None] for row in rows]
        ).astype(float)
        found |= {
            "input_sd": float(np.median(every.std(0))),
            "input_sd_largest": float(every.std(0).max()),
            "input_mean": float(np.abs(every.mean(0)).max()),
            "input_constant": float((every.std(0) == 0).mean()),
        }
    whole = [m for m in masks if m is not None]
    if whole:
        found["padded_share"] = float(1 - np.mean([m.mean() for m in whole]))
        rows = [m.reshape(-1, m.shape[-1]).any(-1) for m in whole]
        found["blank_share"] = float(1 - np.mean([r.mean() for r in rows]))
    return found


def order(chart: ProbeContext) -> dict[str, Any]:
    """Measures whether examples of one batch resemble each other more than those of others do."""
    batches, fields = chart.case.batches, chart.fields
    if len(batches) < 4 or fields.size < 2 or chart.case.patient.batch_axis != 0:
        raise ProbeSkipped("fewer than four batches of two examples")
    groups: dict[str, list[np.ndarray]] = {}
    weights: dict[int, np.ndarray] = {}
    for batch in batches:
        for at, leaf in enumerate(batch):
            if leaf.shape[:1] != (fields.size,) or at in fields.masks or at in fields.lengths:
                continue
            if at in fields.words:
                table = weights.setdefault(
                    at, np.random.default_rng(at).normal(size=(int(max(b[at].max() for b in batches)) + 1, FEATURES))
                )
                m = leaf != fields.pad if fields.pad is not None else np.ones(leaf.shape, bool)
                axes = tuple(range(1, leaf.ndim))
                mean = (table[np.maximum(leaf, 0)] * m[..., None]).sum(axes) / np.maximum(1, m.sum(axes))[:, None]
                groups.setdefault(f"{at} words", []).append(mean)
                groups.setdefault(f"{at} first word", []).append(
                    table[np.maximum(leaf.reshape(len(leaf), -1)[:, 0], 0)]
                )
            elif np.issubdtype(leaf.dtype, np.floating) or leaf.ndim == 1:
                flat = leaf.reshape(fields.size, -1).astype(float)
                for name, column in (("mean", flat.mean(1)), ("spread", flat.std(1)), ("first", flat[:, 0])):
                    groups.setdefault(f"{at} {name}", []).append(column[:, None])
    if not groups:
        raise ProbeSkipped("no field along examples")
    alike = {name: likeness(np.stack(group)) for name, group in groups.items()}
    return {"batch_likeness": max(alike.values()), "batches_seen": len(batches)}


def likeness(groups: np.ndarray) -> float:
    """Returns the intraclass correlation, (B - W) / (B + (n - 1) W), its mean over features of `[group, row, feature]`.

    Example:
        >>> likeness(np.repeat([[[1.0]], [[2.0]], [[3.0]]], 4, axis=1))
        1.0
    """
    count, size, _ = groups.shape
    means = groups.mean(1)
    between = size * ((means - means.mean(0)) ** 2).sum(0) / (count - 1)
    within = ((groups - means[:, None]) ** 2).sum((0, 1)) / (count * (size - 1))
    total = between + (size - 1) * within
    good = total > 1e-12
    return float(((between - within)[good] / total[good]).mean()) if good.any() else 0.0


def pairing(chart: ProbeContext) -> dict[str, Any]:
    """Measures, where inputs and targets are two fields, whether an example's target belongs to its own input."""
    fields, batches = chart.fields, chart.case.batches[:8]
    for group in (fields.words, fields.values):
        pairs = [
            (a, b) for i, a in enumerate(group) for b in group[i + 1 :] if batches[0][a].ndim == batches[0][b].ndim
        ]
        if pairs:
            own, other = zip(
                *(
                    match(batch[a], batch[b], group is fields.words, fields.pad)
                    for batch in batches
                    for a, b in pairs[:1]
                ),
                strict=True,
            )
            return {
                "pairing_own": float(np.mean(own)),
                "pairing_other": float(np.mean(other)),
                **straightness(chart, pairs[0]),
            }
    raise ProbeSkipped("inputs and targets are one field")


def match(inputs: np.ndarray, targets: np.ndarray, words: bool, pad: int | None) -> tuple[float, float]:
    """Returns how well rows match their own partner, and the best other one: overlap of words, or correlation."""
    a, b = (x.reshape(len(x), -1) for x in (inputs, targets))
    if len(a) != len(b) or len(a) < 2:
        return 1.0, 0.0
    if words:
        top = int(max(a.max(), b.max())) + 1
        bags = [np.stack([np.bincount(row[row >= 0], minlength=top) for row in x.astype(int)]) for x in (a, b)]
        if pad is not None:
            for bag in bags:
                bag[:, pad] = 0
        table = np.minimum(bags[0][:, None], bags[1][None]).sum(-1) / np.maximum(
            1, np.minimum(bags[0].sum(1)[:, None], bags[1].sum(1)[None])
        )
    else:
        if a.shape != b.shape:
            return 1.0, 0.0
        table = np.abs(np.corrcoef(a, b)[: len(a), len(a) :])
    table = np.nan_to_num(table)
    own = np.diag(table)
    return float(own.mean()), float((table - np.eye(len(table)) * 9).max(1).mean())


def straightness(chart: ProbeContext, pair: tuple[int, int]) -> dict[str, Any]:
    """Measures whether targets hold their input's words in one order for all rows: as they are, shifted or reversed."""
    a, b = (np.concatenate([batch[at] for batch in chart.case.batches[:8]]) for at in pair)
    if a.shape != b.shape or a.ndim != 2 or not np.issubdtype(a.dtype, np.integer):
        return {}
    m = a != chart.fields.pad if chart.fields.pad is not None else np.ones(a.shape, bool)
    best = 0.0
    for view in (b, b[:, ::-1], *(np.roll(b, s, axis=1) for s in (-2, -1, 1, 2))):
        best = max(best, float(((a == view) & m).sum() / m.sum()))
    for row_reversed in (np.stack([np.concatenate([r[k][::-1], r[~k]]) for r, k in zip(a, m, strict=True)]),):
        best = max(best, float(((row_reversed == b) & m).sum() / m.sum()))
    return {"pairing_order": best}
