"""Pins that a slate keeps apart."""

from sequences.definitions.spacing_class import SpacingClass

ads = SpacingClass(
    name="ads",
    owner="ads",
    signal="is_ad",
    window=4,
    penalty=0.5,
    description="Ads stand apart from each other.",
)
same_advertiser = SpacingClass(
    name="same_advertiser",
    owner="ads",
    signal="advertiser",
    window=10,
    penalty=1.0,
    description="Two ads of one advertiser stand further apart.",
)
same_creator = SpacingClass(
    name="same_creator",
    owner="feed",
    signal="creator",
    window=6,
    penalty=0.4,
    surfaces=("home", "related"),
    description="One creator does not fill the screen.",
)
sensitive = SpacingClass(
    name="sensitive",
    owner="trust",
    signal="safety_label",
    window=10,
    penalty=1.0,
    description="Labelled pins are never in a row.",
)
low_quality = SpacingClass(
    name="low_quality",
    owner="feed",
    signal="low_quality",
    threshold=0.3,
    window=6,
    penalty=0.3,
    kernel="exponential",
    description="Weak pins are spread out.",
)
