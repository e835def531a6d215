"""Topics of the seeded world, each with words, so that text reads like text and clusters like taste."""

TOPICS: dict[str, tuple[str, ...]] = {
    "kitchen": ("bread", "soup", "cast iron", "sourdough", "lemon", "butter", "oven", "herbs"),
    "garden": ("tomatoes", "raised bed", "compost", "roses", "seedlings", "lavender", "trellis", "mulch"),
    "travel": ("train", "harbour", "backpack", "night market", "island", "passport", "old town", "ferry"),
    "interior": ("sofa", "linen", "shelf", "oak floor", "lamp", "rug", "hallway", "plaster"),
    "fashion": ("coat", "wool", "sneakers", "denim", "scarf", "silk", "tailoring", "boots"),
    "fitness": ("running", "yoga", "mobility", "kettlebell", "intervals", "stretching", "cycling", "rest day"),
    "crafts": ("knitting", "clay", "embroidery", "paper", "weaving", "beads", "stamp", "dye"),
    "weddings": ("bouquet", "invitation", "veil", "table setting", "rings", "arch", "candles", "dance"),
    "tattoos": ("linework", "botanical", "sleeve", "minimal", "script", "dotwork", "stencil", "wrist"),
    "photography": ("portrait", "golden hour", "film", "street", "long exposure", "lens", "shadow", "frame"),
    "architecture": ("concrete", "courtyard", "facade", "stairs", "timber", "skylight", "arcade", "brick"),
    "science": ("nebula", "fossil", "microscope", "orbit", "cells", "volcano", "crystal", "tide"),
    "books": ("novel", "reading nook", "poetry", "notebook", "library", "margins", "essay", "paperback"),
    "music": ("vinyl", "guitar", "synth", "concert", "piano", "playlist", "drums", "chorus"),
    "pets": ("puppy", "kitten", "aquarium", "harness", "rescue", "treats", "parrot", "fur"),
    "cars": ("roadster", "engine", "restoration", "rally", "dashboard", "electric", "wheels", "garage"),
    "beauty": ("skincare", "braids", "lipstick", "serum", "nails", "fringe", "sunscreen", "perfume"),
    "parenting": ("nursery", "lunchbox", "bedtime", "playdough", "stroller", "milestones", "crayons", "nap"),
    "outdoors": ("tent", "ridge", "campfire", "kayak", "trail", "summit", "map", "dawn"),
    "art": ("watercolour", "charcoal", "sculpture", "gallery", "mural", "collage", "oil", "sketch"),
    "technology": ("keyboard", "robot", "soldering", "workbench", "sensor", "drone", "server", "pixel"),
    "finance": ("budget", "savings", "ledger", "plan", "rent", "envelope", "goals", "taxes"),
    "holidays": ("wreath", "lantern", "gingerbread", "costume", "fireworks", "cards", "garland", "snow"),
    "desserts": ("tart", "chocolate", "meringue", "caramel", "berries", "cream", "macaron", "sponge"),
}

TITLE_FORMS: tuple[str, ...] = (
    "{a} with {b}",
    "How to choose {a} for {b}",
    "{a} and {b}, step by step",
    "Small {a} ideas around {b}",
    "The quiet beauty of {a} and {b}",
    "{a}: ten ways with {b}",
)
TEXT_FORMS: tuple[str, ...] = (
    "A calm look at {a}, {b} and {c}, with notes on what worked and what did not.",
    "Start from {a}, add {b}, and let {c} do the rest. Save it for a slow weekend.",
    "We tried {a} next to {b}; in the end {c} made the difference.",
    "Everything about {a} that we wish we had known, from {b} to {c}.",
)
LOCALES: tuple[str, ...] = ("en-US", "en-GB", "de-DE", "fr-FR")
