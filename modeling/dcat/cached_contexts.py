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
    keys: Sequence[ContextKey | None],
    embed: Embed,
    now_s: Callable[[], float] = time.perf_counter,
) -> list[Context]:
    """One context per key, in order; equal keys share one, None is never kept. For serving: no gradients.

    `embed` makes `[U, L, D]` rows and lengths of the requests with these numbers; it is asked only for what is missing,
    once per call, and its time counts as part of the pass.
    """
    first: dict[ContextKey, int] = {}
    maker = [number if key is None else first.setdefault(key, number) for number, key in enumerate(keys)]
    found = {number: _cached(cache, keys[number]) for number in dict.fromkeys(maker)}
    missing = [number for number, context in found.items() if context is None]
    if missing:
        start_s = now_s()
        with torch.inference_mode():
            made = model.context(*embed(missing))
            fresh = [made.of_user(row).owned() for row in range(len(missing))]
        each_s = (now_s() - start_s) / len(missing)
        for number, made_now in zip(missing, fresh, strict=True):
            key, found[number] = keys[number], made_now
            if key is not None:
                cache.put(key, made_now, made_now.num_bytes, each_s)
    return [context for number in maker if (context := found[number]) is not None]


def _cached(cache: ContextCache[Context], key: ContextKey | None) -> Context | None:
    return None if key is None else cache.get(key)
