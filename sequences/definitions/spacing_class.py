"""The kind SpacingClass: pins that should not stand close together."""

from typing import Literal

from pydantic import Field

from sequences.definitions.definition import Definition, Name

MembershipSignal = Literal["is_ad", "safety_label", "low_quality"]
"""A pin is in the class or not: it has an advertiser, any label, or quality below `threshold`."""
PathSignal = Literal["semantic_id"]
"""Pins are alike by the share of leading codes that they have in common, beyond `threshold`."""
KeySignal = Literal["advertiser", "creator", "topic", "content_group"]
"""Pins are alike when this value is equal and not empty; topic = the first one."""


class SpacingClass(Definition):
    """Lowers the utility of a pin by `penalty` times the kernel over the last `window` slots that hold its like."""

    signal: MembershipSignal | KeySignal | PathSignal
    threshold: float = Field(default=0.0, ge=0, le=1, description="used by low_quality and semantic_id")
    kernel: Literal["inverse", "exponential", "step"] = Field(
        default="inverse",
        description="1/d, exp(-(d-1)/decay) or 1 at distance d",
    )
    decay: float = Field(default=3.0, gt=0, le=100, description="slots; used by exponential only")
    window: int = Field(default=10, ge=1, le=100, description="slots that count")
    penalty: float = Field(gt=0, le=10, description="lambda, in standard deviations of relevance")
    num_free: int = Field(default=0, ge=0, le=100, description="so many in the window cost nothing: a load limit")
    first_slot: int = Field(default=0, ge=0, le=1_000, description="members pay in each slot of a feed before this one")
    surfaces: tuple[Name, ...] = Field(default=(), description="where it applies; empty = everywhere")
    is_dry_run: bool = Field(default=False, description="record what would move, move nothing")
