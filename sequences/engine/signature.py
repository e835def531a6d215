"""Checks that an enrichment fits its executor: parameters and column types."""

from collections.abc import Mapping, Sequence

from sequences.definitions.enrichment import Enrichment


def check_parameters(
    enrichment: Enrichment, allowed: Mapping[str, type | tuple[type, ...]], required: Sequence[str] = ()
) -> list[str]:
    """Unknown, missing and wrongly typed parameters."""
    given = enrichment.parameters
    problems = [f"unknown parameter {name!r}" for name in given if name not in allowed]
    problems += [f"parameter {name!r} is missing" for name in required if name not in given]
    for name, kinds in allowed.items():
        if name in given and (not isinstance(given[name], kinds) or isinstance(given[name], bool)):
            problems.append(f"parameter {name!r} has the wrong type")
    return problems


def check_writes(enrichment: Enrichment, allowed: Mapping[str, str]) -> list[str]:
    """Written columns must be among `allowed` {name: type}."""
    return [
        f"cannot write column {column.name!r} of type {column.type}"
        for column in enrichment.writes
        if allowed.get(column.name) != column.type
    ]


def check_reads(enrichment: Enrichment, expected: Sequence[str]) -> list[str]:
    """The columns read must be exactly these."""
    return [] if enrichment.reads == tuple(expected) else [f"must read {', '.join(expected)}"]


def check_pairs(enrichment: Enrichment, written_type: str) -> list[str]:
    """One written column of `written_type` for each column read."""
    if len(enrichment.reads) != len(enrichment.writes) or not enrichment.reads:
        return ["needs one written column for each column read"]
    return [
        f"column {column.name!r} must be {written_type}" for column in enrichment.writes if column.type != written_type
    ]
