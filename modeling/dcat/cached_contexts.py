"""Contexts for a batch of requests: from the cache where they are, else from one context pass over all that are not.

Shapes: U users, L history positions, D width.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modeling.dcat.context import Context
from modeling.dcat.context_cache import ContextCache, ContextKey
from modeling.dcat.engine import Dcat

Embed = Callable[[Sequence[int]], tuple[Tensor, Tensor]]


def contexts_of(
    model: Dcat,
    cache: ContextCache[Context],
    keys: Sequence[ContextKey],
    embed: Embed,
    now_s: Callable[[], float] = time.perf_counter,
) -> list[Context]:
    """One context per key, in order; equal keys share one. For serving: no gradients.

    `embed` makes `[U, L, D]` rows and lengths of the requests with these numbers; it is asked only for what is missing,
    once per call, and its time counts as part of the pass.
    """
    found = {key: cache.get(key) for key in dict.fromkeys(keys)}
    missing = [key for key, context in found.items() if context is None]
    if missing:
        start_s = now_s()
        with torch.inference_mode():
            made = model.context(*embed([keys.index(key) for key in missing]))
            fresh = [made.of_user(row).owned() for row in range(len(missing))]
        each_s = (now_s() - start_s) / len(missing)
        for key, made_now in zip(missing, fresh, strict=True):
            cache.put(key, made_now, made_now.num_bytes, each_s)
            found[key] = made_now
    return [context for key in keys if (context := found[key]) is not None]
