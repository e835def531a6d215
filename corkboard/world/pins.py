"""Makes the pins of the seeded world: text, link, picture, vector, price, and a few awkward ones on purpose."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from corkboard.world import pictures
from corkboard.world.shopping import Shop, make_shop
from corkboard.world.truth import DAY_MS, Truth, WorldSize
from corkboard.world.vocabulary import LOCALES, TEXT_FORMS, TITLE_FORMS, TOPICS
from protos.common.v1 import common_pb2
from protos.pins.v1 import pins_pb2

DUPLICATE_SHARE = 0.03
RISKY_SHARE = 0.01
STOCK_SHARE = 0.5  # of the pins: older than the world's past
NUM_CREATORS = 400
TOPIC_NAMES = tuple(TOPICS)


def pin_id(index: int) -> str:
    """The id of the world's pin number `index`."""
    return f"pin-{index:06d}"


def make_pins(size: WorldSize, truth: Truth, now_ms: int) -> Iterator[pins_pb2.Pin]:
    """Every pin of the world in the order of its number."""
    random, shop = np.random.default_rng(size.seed + 5), make_shop(size, truth)
    age_ms_P = pin_ages_ms(size)
    links: list[str] = []
    for index in range(size.num_pins):
        pin = _pin(index, size, truth, shop, random, now_ms - int(age_ms_P[index]))
        is_duplicate = links and random.random() < DUPLICATE_SHARE
        pin.link = f"{links[int(random.integers(len(links)))]}&utm_source=copy" if is_duplicate else _link(index, pin)
        links.append(pin.link)
        yield pin


def pin_ages_ms(size: WorldSize) -> npt.NDArray[np.float64]:
    """How old each pin is at the end of the world's past: half were there when it began, the others came since."""
    random = np.random.default_rng(size.seed + 4)
    span_ms = size.num_days * DAY_MS
    was_there_P = random.random(size.num_pins) < STOCK_SHARE
    return np.where(was_there_P, 1 + random.exponential(1.0, size.num_pins), random.random(size.num_pins)) * span_ms


def advertiser_id(index: int) -> str:
    """The id of the world's advertiser number `index`."""
    return f"merchant-{index:03d}"


def _pin(
    index: int, size: WorldSize, truth: Truth, shop: Shop, random: np.random.Generator, created_ms: int
) -> pins_pb2.Pin:
    first, second = int(truth.topic_of_P[index]), int(truth.second_topic_of_P[index])
    words = [*random.choice(TOPICS[TOPIC_NAMES[first]], 2, replace=False), random.choice(TOPICS[TOPIC_NAMES[second]])]
    a, b, c = (str(word) for word in words)
    pin = pins_pb2.Pin(
        pin_id=pin_id(index),
        title=str(random.choice(TITLE_FORMS)).format(a=a, b=b).capitalize(),
        description=str(random.choice(TEXT_FORMS)).format(a=a, b=b, c=c),
        image=pictures.draw(first, len(TOPIC_NAMES), size.seed + index),
        topics=list(dict.fromkeys((TOPIC_NAMES[first], TOPIC_NAMES[second]))),
        creator_id=f"creator-{int(random.integers(NUM_CREATORS)):04d}",
        created_time_ms=created_ms,
        locale=LOCALES[0] if random.random() < 0.85 else str(random.choice(LOCALES[1:])),
        quality={"world": float(truth.quality_P[index])},
        given_vector=common_pb2.Tensor(
            data=truth.vectors_PD[index].astype("<f4").tobytes(),
            shape=[truth.vectors_PD.shape[1]],
            dtype=common_pb2.DTYPE_FLOAT32,
        ),
    )
    if shop.advertiser_P[index] >= 0:
        pin.advertiser_id = advertiser_id(int(shop.advertiser_P[index]))
        pin.price_micros = int(shop.price_P[index] * 1e6)
    if random.random() < RISKY_SHARE:
        pin.safety_labels.append("sensitive")
    return pin


def _link(index: int, pin: pins_pb2.Pin) -> str:
    shop = pin.advertiser_id or pin.creator_id
    return f"https://{shop}.example/{pin.topics[0]}?item={index}&utm_medium=board"
