"""In which order enrichments run: a step follows the steps whose columns it reads."""

import heapq
from collections.abc import Iterable

from chassis.errors import Invalid
from sequences.definitions.enrichment import Enrichment


def in_order(enrichments: Iterable[Enrichment]) -> list[Enrichment]:
    """Pure filters as early as they can, then by name. Raises: Invalid naming the steps of a cycle."""
    waiting = {each.name: each for each in enrichments}
    needs = {name: _needs(each, waiting.values()) for name, each in waiting.items()}
    ready = [_priority(waiting[name]) for name, before in needs.items() if not before]
    heapq.heapify(ready)
    ordered: list[Enrichment] = []
    while ready:
        name = heapq.heappop(ready)[-1]
        ordered.append(waiting.pop(name))
        for other, before in needs.items():
            if name in before:
                before.discard(name)
                if not before:
                    heapq.heappush(ready, _priority(waiting[other]))
    if waiting:
        raise Invalid(
            f"enrichments read each other's columns in a cycle: {', '.join(sorted(waiting))}",
            field=min(waiting),
            reason="cycle",
        )
    return ordered


def _needs(enrichment: Enrichment, others: Iterable[Enrichment]) -> set[str]:
    """Names of the steps that write a column this one reads; itself included when it reads its own."""
    reads = set(enrichment.reads)
    return {other.name for other in others if reads & {column.name for column in other.writes}}


def _priority(enrichment: Enrichment) -> tuple[bool, str]:
    return (bool(enrichment.writes), enrichment.name)
