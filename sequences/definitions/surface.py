"""The kind Surface: what a feed of one product surface is made of."""

from typing import Literal

from pydantic import Field

from sequences.definitions.definition import Definition, Frozen, Name

DiversityStrategy = Literal["ssd", "ssd_spectral", "dpp", "mmr", "none"]
DiversitySignal = Literal["content", "topic", "creator", "semantic_id"]
Action = Literal["click", "save", "long_view", "hide", "share", "conversion"]


def _content_alone() -> dict[DiversitySignal, float]:
    return {"content": 1.0}


class GeneratorShare(Frozen):
    """How much of the candidate pool a generator may fill."""

    name: Name = Field(description="a generator of cg")
    weight: float = Field(gt=0, description="share of the pool relative to the other generators")


class Surface(Definition):
    """One product surface, such as home."""

    generators: tuple[GeneratorShare, ...] = Field(min_length=1)
    seen_window_s: int = Field(ge=0, description="a served pin is not shown again for so long")
    needs_subject: bool = Field(default=False, description="a subject pin must be given")
    needs_query: bool = Field(default=False, description="a query must be given")
    excluded_labels: tuple[str, ...] = Field(
        default=(), description="pins with one of these safety labels are never retrieved"
    )
    diversity_strategy: DiversityStrategy = Field(default="ssd", description="how newness is measured")
    diversity_signals: dict[DiversitySignal, float] = Field(
        default_factory=_content_alone,
        min_length=1,
        description="what makes pins alike: signal -> share of it; a pin that lacks one is judged by the others",
    )
    diversity_weight: float = Field(default=0.25, ge=0, le=100, description="gamma; 0 = relevance order")
    diversity_window: int = Field(default=8, ge=1, le=100, description="slots that a pick looks back")
    pool_size: int = Field(default=500, ge=1, le=2000, description="candidates asked for and ranked")
    utility_weights: dict[Action, float] = Field(
        default_factory=dict,
        description="action -> weight of its probability in the utility",
    )
