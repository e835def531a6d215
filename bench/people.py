"""Who asks for feeds under load."""

NUM_PEOPLE = 500  # of the demo's world


def person(number: int) -> str:
    """Who asks for the feed of this number."""
    return f"person-{number * 7 % NUM_PEOPLE:05d}"
