"""Reads MovieLens in RecBole's text form (`.inter`, `.item`) into events and pins."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import Invalid, NotFound
from protos.ingest.v1 import ingest_pb2
from protos.pins.v1 import pins_pb2

LAST_EVENT_AGE_MS = 60_000
ITEM_DIGITS = 8


@dataclass(frozen=True)
class Rating:
    """One rating; `time_s` is as recorded."""

    user: str
    item: str
    rating: float
    time_s: int

    @property
    def event_id(self) -> str:
        """A user rates an item once, so the pair names the rating for ever: importing again changes nothing.

        The padding makes the order of ids that of the items' numbers, which orders ratings of the same second.
        """
        return f"ml-{self.user}-{self.item.zfill(ITEM_DIGITS)}"


@dataclass(frozen=True)
class MovieLens:
    """The data set in memory. `ratings` are in time order; equal times are ordered by the item's number."""

    ratings: list[Rating]
    pins: list[pins_pb2.Pin]

    @classmethod
    def read(cls, folder: Path, now_ms: int) -> "MovieLens":
        """Raises: NotFound when a file is missing, Invalid when a line does not fit."""
        inter, item = _one_file(folder, ".inter"), _one_file(folder, ".item")
        ratings = sorted(_ratings(inter), key=lambda rating: (rating.time_s, rating.event_id))
        if not ratings:
            raise Invalid(f"{inter.name} holds no rating")
        return cls(ratings, list(_pins(item, now_ms)))

    def held_out(self) -> dict[str, Rating]:
        """Each user's last rating (chronological leave-last-out)."""
        return {rating.user: rating for rating in self.ratings}

    def events(self, now_ms: int) -> list[ingest_pb2.Event]:
        """One `rating` event per rating, in time order, shifted so that the last happened a minute ago."""
        shift_ms = now_ms - LAST_EVENT_AGE_MS - self.ratings[-1].time_s * 1000
        return [_event(rating, shift_ms) for rating in self.ratings]


def user_id(user: str) -> str:
    return f"ml-user-{user}"


def pin_id(item: str) -> str:
    return f"ml-pin-{item}"


def _event(rating: Rating, shift_ms: int) -> ingest_pb2.Event:
    return ingest_pb2.Event(
        event_id=rating.event_id,
        user_id=user_id(rating.user),
        event_type="rating",
        event_time_ms=rating.time_s * 1000 + shift_ms,
        pin_id=pin_id(rating.item),
        surface="home",
        attributes_json=json.dumps({"rating": rating.rating}).encode(),
    )


def _one_file(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"*{suffix}"))
    if not found:
        raise NotFound(f"no *{suffix} file in {folder}; give the folder with ml-100k.inter and ml-100k.item")
    return found[0]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = [name.split(":")[0] for name in next(reader, [])]
        for number, row in enumerate(reader, start=2):
            if len(row) != len(header):
                raise Invalid(f"{path.name} line {number}: {len(row)} columns where {len(header)} are expected")
            yield number, dict(zip(header, row, strict=True))


def _ratings(path: Path) -> Iterator[Rating]:
    for number, row in _rows(path):
        try:
            yield Rating(row["user_id"], row["item_id"], float(row["rating"]), int(float(row["timestamp"])))
        except (KeyError, ValueError) as error:
            raise Invalid(f"{path.name} line {number}: {error}") from error


def _pins(path: Path, now_ms: int) -> Iterator[pins_pb2.Pin]:
    for number, row in _rows(path):
        try:
            genres = [genre.lower() for genre in row["class"].split()]
            year = f" ({row['release_year']})" if row["release_year"] else ""
            yield pins_pb2.Pin(
                pin_id=pin_id(row["item_id"]),
                title=f"{row['movie_title']}{year}",
                description=f"A film: {' '.join(genres)}",
                topics=genres,
                link=f"https://movies.example/film?item={row['item_id']}",
                locale="en-US",
                created_time_ms=now_ms,
            )
        except KeyError as error:
            raise Invalid(f"{path.name} line {number}: column {error} is missing") from error
