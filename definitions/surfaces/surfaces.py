"""The product surfaces that ask for feeds."""

from sequences.definitions.surface import Action, GeneratorShare, Surface

DAY_S = 86_400
UTILITY: dict[Action, float] = {
    "click": 1.0,
    "save": 3.0,
    "long_view": 2.0,
    "share": 2.0,
    "conversion": 4.0,
    "hide": -5.0,
}

home = Surface(
    name="home",
    owner="feed",
    seen_window_s=7 * DAY_S,
    pool_size=300,
    generators=(
        GeneratorShare(name="contextual", weight=3),
        GeneratorShare(name="two_tower", weight=2),
        GeneratorShare(name="co_engaged", weight=4),
        GeneratorShare(name="shopping", weight=1.75),  # ads: every twentieth to tenth candidate
        GeneratorShare(name="fresh", weight=1),
        GeneratorShare(name="popular", weight=1),
    ),
    diversity_weight=0.25,
    diversity_window=8,
    utility_weights=UTILITY,
)
related = Surface(
    name="related",
    owner="feed",
    seen_window_s=DAY_S,
    pool_size=300,
    needs_subject=True,
    generators=(
        GeneratorShare(name="related", weight=4),
        GeneratorShare(name="contextual", weight=3),
        GeneratorShare(name="co_engaged", weight=3),
        GeneratorShare(name="two_tower", weight=1),
        GeneratorShare(name="shopping", weight=2),
        GeneratorShare(name="popular", weight=0.5),
    ),
    diversity_weight=0.15,
    diversity_window=8,
    utility_weights=UTILITY,
)
search = Surface(
    name="search",
    owner="search",
    seen_window_s=0,
    pool_size=300,
    needs_query=True,
    generators=(
        GeneratorShare(name="contextual", weight=2),
        GeneratorShare(name="two_tower", weight=2),
        GeneratorShare(name="shopping", weight=1),
        GeneratorShare(name="popular", weight=1),
    ),
    diversity_weight=0.1,
    diversity_window=8,
    utility_weights=UTILITY,
)
