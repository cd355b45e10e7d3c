"""The contents of batches: frequencies of ids, padding, scale of numbers, order of examples, pairing with targets."""

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.fields import Fields, real_positions
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped

FEATURES = 8
"""Random features of an id, by which examples are compared."""
SAMPLED, PAIRED = 16, 8
"""Batches whose contents are measured, and whose inputs and targets are compared."""


def contents(context: ProbeContext) -> Evidence:
    """Measures frequencies of ids, the scale of real numbers, and the shares of padding and of blank rows."""
    fields, batches = context.fields, context.setup.batches[:SAMPLED]
    if fields.main is None:
        raise ProbeSkipped("no field of a batch holds sequences")
    masks = [real_positions(fields, batch) for batch in batches]
    found: Evidence = {}
    if fields.words:
        ids = real_ids(context)
        shares = np.sort(np.bincount(ids[ids >= 0].astype(int)))[::-1]
        shares = shares[shares > 0]
        if len(shares) == 0:
            raise ProbeSkipped("no position is real")
        shares = shares / shares.sum()
        found |= {
            "unigram_entropy": float(-(shares * np.log(shares)).sum()),
            "commonest_share": float(shares[0]),
            "second_share": float(shares[1]) if len(shares) > 1 else 0.0,
            "distinct_words": len(shares),
        }
        if context.setup.original.unknown is not None:
            found["unknown_share"] = float((ids == context.setup.original.unknown).mean())
    if fields.values:
        at = fields.values[0]
        rows = [
            batch[at][mask] if mask is not None and mask.shape == batch[at].shape[: mask.ndim] else batch[at].ravel()
            for batch, mask in zip(batches, masks, strict=True)
        ]
        rows = [row.reshape(-1, row.shape[-1]) if row.ndim > 1 else row[:, None] for row in rows]
        numbers = np.concatenate(rows).astype(float)
        deviation = numbers.std(0)
        found |= {
            "input_sd": float(np.median(deviation)),
            "input_sd_largest": float(deviation.max()),
            "input_mean": float(np.abs(numbers.mean(0)).max()),
            "input_constant": float((deviation == 0).mean()),
        }
    known = [mask for mask in masks if mask is not None]
    if known:
        found["padded_share"] = float(1 - np.mean([mask.mean() for mask in known]))
        rows_real = [mask.reshape(-1, mask.shape[-1]).any(-1) for mask in known]
        found["blank_share"] = float(1 - np.mean([rows.mean() for rows in rows_real]))
    return found


def real_ids(context: ProbeContext) -> np.ndarray:
    """Returns the ids at all real positions of the first field of ids, [position]."""
    at, found = context.fields.words[0], []
    for batch in context.setup.batches[:SAMPLED]:
        mask = real_positions(context.fields, batch)
        found.append(batch[at].ravel() if mask is None else batch[at][mask])
    return np.concatenate(found)


def vocabulary_note(context: ProbeContext) -> list[str]:
    """Returns a note if ids lie outside of the vocabulary; JAX clips such indices silently."""
    vocab = context.setup.original.vocab
    if not vocab or not context.fields.words:
        return []
    ids = real_ids(context)
    if not ids.size or 0 <= ids.min() <= ids.max() < vocab:
        return []
    return [f"ids range from {ids.min()} to {ids.max()}, but the vocabulary has {vocab}; JAX clips them silently"]


def order(context: ProbeContext) -> Evidence:
    """Measures whether examples of one batch resemble each other more than those of other batches."""
    batches, fields = context.setup.batches, context.fields
    if len(batches) < 4 or fields.batch_size < 2 or context.setup.original.batch_axis != 0:
        raise ProbeSkipped("fewer than four batches of two examples")
    features: dict[str, list[np.ndarray]] = {}
    for at, leaf in enumerate(batches[0]):
        if leaf.shape[:1] != (fields.batch_size,) or at in fields.masks or at in fields.lengths:
            continue
        column = [batch[at] for batch in batches]
        if at in fields.words:
            features |= id_features(at, column, fields.pad)
        elif np.issubdtype(leaf.dtype, np.floating) or leaf.ndim == 1:
            flat = [x.reshape(fields.batch_size, -1).astype(float) for x in column]
            features[f"{at} mean"] = [x.mean(1)[:, None] for x in flat]
            features[f"{at} spread"] = [x.std(1)[:, None] for x in flat]
            features[f"{at} first"] = [x[:, :1] for x in flat]
    if not features:
        raise ProbeSkipped("no field has examples along its first axis")
    correlations = [intraclass_correlation(np.stack(groups)) for groups in features.values()]
    return {"batch_likeness": max(correlations), "batches_seen": len(batches)}


def id_features(at: int, column: list[np.ndarray], pad: int | None) -> dict[str, list[np.ndarray]]:
    """Returns random features of the ids of each example, their mean and that of the first id, for each batch."""
    size = int(max(ids.max() for ids in column)) + 1
    table = np.random.default_rng(at).normal(size=(size, FEATURES))
    means, firsts = [], []
    for ids in column:
        keep = np.ones(ids.shape, bool) if pad is None else ids != pad
        axes = tuple(range(1, ids.ndim))
        total = (table[np.maximum(ids, 0)] * keep[..., None]).sum(axes)
        means.append(total / np.maximum(1, keep.sum(axes))[:, None])
        firsts.append(table[np.maximum(ids.reshape(len(ids), -1)[:, 0], 0)])
    return {f"{at} words": means, f"{at} first word": firsts}


def intraclass_correlation(groups: np.ndarray) -> float:
    """Returns the intraclass correlation, (B - W) / (B + (n - 1) W), averaged over features of `[group, row, feature]`.

    Example:
        >>> intraclass_correlation(np.repeat([[[1.0]], [[2.0]], [[3.0]]], 4, axis=1))
        1.0
    """
    count, size, _ = groups.shape
    means = groups.mean(1)
    between = size * ((means - means.mean(0)) ** 2).sum(0) / (count - 1)
    within = ((groups - means[:, None]) ** 2).sum((0, 1)) / (count * (size - 1))
    total = between + (size - 1) * within
    varying = total > 1e-12
    return float(((between - within)[varying] / total[varying]).mean()) if varying.any() else 0.0


def pairing(context: ProbeContext) -> Evidence:
    """Measures, if inputs and targets are two fields, whether an example's target belongs to its own input."""
    fields, batches = context.fields, context.setup.batches[:PAIRED]
    for group in (fields.words, fields.values):
        pair = first_pair(group, batches[0])
        if pair is not None:
            inputs, targets = ([batch[at] for batch in batches] for at in pair)
            scores = [
                pair_scores(a, b, group is fields.words, fields.pad) for a, b in zip(inputs, targets, strict=True)
            ]
            own, other = zip(*scores, strict=True)
            return {
                "pairing_own": float(np.mean(own)),
                "pairing_other": float(np.mean(other)),
                **same_order(np.concatenate(inputs), np.concatenate(targets), fields),
                **exact_pairs(*(np.concatenate([batch[at] for batch in context.setup.batches]) for at in pair)),
            }
    raise ProbeSkipped("inputs and targets are one field")


def first_pair(group: tuple[int, ...], batch: list[np.ndarray]) -> tuple[int, int] | None:
    """Returns the first two fields of a group with equally many axes."""
    pairs = ((a, b) for number, a in enumerate(group) for b in group[number + 1 :])
    return next(((a, b) for a, b in pairs if batch[a].ndim == batch[b].ndim), None)


def pair_scores(inputs: np.ndarray, targets: np.ndarray, are_ids: bool, pad: int | None) -> tuple[float, float]:
    """Returns the mean similarity of rows to their own targets and to the most similar other ones.

    Similarity is the overlap of ids, or the correlation of real numbers.
    """
    a, b = (x.reshape(len(x), -1) for x in (inputs, targets))
    if len(a) != len(b) or len(a) < 2:
        return 1.0, 0.0
    if are_ids:
        size = int(max(a.max(), b.max())) + 1
        bags = [np.stack([np.bincount(row[row >= 0], minlength=size) for row in x.astype(int)]) for x in (a, b)]
        if pad is not None:
            for bag in bags:
                bag[:, pad] = 0
        shorter = np.minimum(bags[0].sum(1)[:, None], bags[1].sum(1)[None])
        similarity = np.minimum(bags[0][:, None], bags[1][None]).sum(-1) / np.maximum(1, shorter)
    else:
        if a.shape != b.shape:
            return 1.0, 0.0
        similarity = np.abs(np.corrcoef(a, b)[: len(a), len(a) :])
    similarity = np.nan_to_num(similarity)
    others = similarity - np.eye(len(similarity)) * 9
    return float(np.diag(similarity).mean()), float(others.max(1).mean())


def exact_pairs(inputs: np.ndarray, targets: np.ndarray) -> Evidence:
    """Returns the share of targets that are their own inputs, at the same step or the next, and of those of others."""
    if inputs.shape != targets.shape or inputs.ndim < 2 or inputs.shape[1] < 4:
        return {}
    found = {"pairing_exact": 0.0, "pairing_elsewhere": 0.0}
    for ours, theirs in ((inputs, targets), (inputs[:, 1:], targets[:, :-1])):
        rows = {np.ascontiguousarray(row).tobytes() for row in ours.astype(targets.dtype)}
        own = [bool(np.array_equal(a, b)) for a, b in zip(ours, theirs, strict=True)]
        other = [np.ascontiguousarray(b).tobytes() in rows and not same for b, same in zip(theirs, own, strict=True)]
        found["pairing_exact"] = max(found["pairing_exact"], float(np.mean(own)))
        found["pairing_elsewhere"] = max(found["pairing_elsewhere"], float(np.mean(other)))
    return found


def same_order(inputs: np.ndarray, targets: np.ndarray, fields: Fields) -> Evidence:
    """Returns the share of ids that targets hold in the order of the inputs: equal, shifted or reversed in all rows."""
    if inputs.shape != targets.shape or inputs.ndim != 2 or not np.issubdtype(inputs.dtype, np.integer):
        return {}
    keep = np.ones(inputs.shape, bool) if fields.pad is None else inputs != fields.pad
    # In the same order, reversed, reversed within the real positions, or sorted; and each some steps earlier or later.
    rows = list(zip(inputs, keep, strict=True))
    backwards = np.stack([np.concatenate([row[real][::-1], row[~real]]) for row, real in rows])
    ordered = np.stack([np.concatenate([np.sort(row[real]), row[~real]]) for row, real in rows])
    orders = (inputs, inputs[:, ::-1], backwards, ordered)
    shares = [
        ((np.roll(order, shift, axis=1) == targets) & keep).sum() for order in orders for shift in (-2, -1, 0, 1, 2)
    ]
    # Or by the same permutation in every row.
    same = (inputs[:, :, None] == targets[:, None]).mean(0).max(0)
    shares.append(float((same > 0.95).mean()) * keep.sum())
    return {"pairing_order": max(0.0, *(float(share / keep.sum()) for share in shares))}
