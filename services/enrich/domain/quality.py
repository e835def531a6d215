"""How good a pin is, before anybody saw it."""

from services.enrich.domain.pin import PublishedPin

SIGNAL_SHARE = 0.6  # what the content pipeline measured says more than what is filled in
UNKNOWN_SIGNAL = 0.5  # of a pin that nobody measured
LABEL_FACTOR = 0.5  # a pin with any safety label counts half


def quality_score(pin: PublishedPin) -> float:
    """In [0, 1]: (0.6 × mean of the quality signals + 0.4 × completeness) × 0.5 if the pin has a safety label.

    Completeness = share of title, description, topics, link and picture that are there.
    """
    signals = [min(1.0, max(0.0, value)) for value in pin.quality.values()]
    signal = sum(signals) / len(signals) if signals else UNKNOWN_SIGNAL
    parts = (pin.title, pin.description, pin.topics, pin.has_link, pin.has_picture)
    completeness = sum(map(bool, parts)) / len(parts)
    score = SIGNAL_SHARE * signal + (1.0 - SIGNAL_SHARE) * completeness
    return score * LABEL_FACTOR if pin.safety_labels else score
