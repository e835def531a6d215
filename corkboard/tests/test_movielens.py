"""MovieLens: a good folder is read whole, a bad line is named, and nothing is lost between files and events."""

import json
from pathlib import Path

import pytest

from chassis.errors import Invalid, NotFound
from corkboard.movielens.reader import LAST_EVENT_AGE_MS, MovieLens
from corkboard.movielens.replay import _digest

NOW_MS = 1_800_000_000_000
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
RATINGS = ("1\t10\t4\t100\n", "2\t9\t5.0\t90\n", "1\t9\t3\t100\n", "1\t2\t1\t50\n")
ITEMS = ("2\tBrazil\t1985\tSci-Fi Comedy\n", '9\t"Quoted" Film\t\tDrama\n', "10\tÉtoile\t1989\t\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "".join((INTER, *RATINGS)), "".join((ITEM, *ITEMS)))
    return tmp_path


def write(folder: Path, inter: str, item: str) -> None:
    (folder / "ml-tiny.inter").write_text(inter, encoding="utf-8")
    (folder / "ml-tiny.item").write_text(item, encoding="utf-8")


def test_ratings_are_in_time_order_and_ties_in_order_of_the_items_number(folder: Path) -> None:
    data = MovieLens.read(folder, NOW_MS)
    assert [(rating.user, rating.item, rating.time_s) for rating in data.ratings] == [
        ("1", "2", 50),
        ("2", "9", 90),
        ("1", "9", 100),
        ("1", "10", 100),
    ]
    assert {user: rating.item for user, rating in data.held_out().items()} == {"1": "10", "2": "9"}


def test_the_order_of_lines_does_not_matter(folder: Path, tmp_path: Path) -> None:
    first = MovieLens.read(folder, NOW_MS)
    write(folder, "".join((INTER, *reversed(RATINGS))), "".join((ITEM, *ITEMS)))
    assert MovieLens.read(folder, NOW_MS).ratings == first.ratings


def test_event_ids_sort_like_the_events_of_a_user(folder: Path) -> None:
    events = [event for event in MovieLens.read(folder, NOW_MS).events(NOW_MS) if event.user_id == "ml-user-1"]
    assert events == sorted(events, key=lambda event: (event.event_time_ms, event.event_id))


def test_events_carry_the_rating_and_the_last_was_a_minute_ago(folder: Path) -> None:
    events = MovieLens.read(folder, NOW_MS).events(NOW_MS)
    assert events[-1].event_time_ms == NOW_MS - LAST_EVENT_AGE_MS
    assert events[-1].event_time_ms - events[0].event_time_ms == 50_000
    assert (events[0].user_id, events[0].pin_id, events[0].event_type) == ("ml-user-1", "ml-pin-2", "rating")
    assert [json.loads(event.attributes_json)["rating"] for event in events] == [1.0, 5.0, 3.0, 4.0]
    assert len({event.event_id for event in events}) == len(events)


def test_importing_again_later_gives_the_same_ids(folder: Path) -> None:
    data = MovieLens.read(folder, NOW_MS)
    today, tomorrow = data.events(NOW_MS), data.events(NOW_MS + 86_400_000)
    assert [event.event_id for event in today] == [event.event_id for event in tomorrow]


def test_items_become_pins(folder: Path) -> None:
    pins = {pin.pin_id: pin for pin in MovieLens.read(folder, NOW_MS).pins}
    assert pins["ml-pin-2"].title == "Brazil (1985)" and list(pins["ml-pin-2"].topics) == ["sci-fi", "comedy"]
    assert pins["ml-pin-9"].title == '"Quoted" Film'
    assert pins["ml-pin-10"].title == "Étoile (1989)" and not pins["ml-pin-10"].topics


@pytest.mark.parametrize("suffix", ["inter", "item"])
def test_a_missing_file_is_named(folder: Path, suffix: str) -> None:
    (folder / f"ml-tiny.{suffix}").unlink()
    with pytest.raises(NotFound, match=rf"\*\.{suffix} file in .*ml-100k"):
        MovieLens.read(folder, NOW_MS)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        MovieLens.read(tmp_path / "nowhere", NOW_MS)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1\t10\tfour\t100\n", "four"),
        ("1\t10\t4\tyesterday\n", "yesterday"),
        ("1\t10\t4\n", "3 columns where 4 are expected"),
        ("1\t10\t4\t100\textra\n", "5 columns where 4 are expected"),
    ],
)
def test_a_bad_rating_names_its_file_and_line(folder: Path, line: str, why: str) -> None:
    write(folder, INTER + RATINGS[0] + line, "".join((ITEM, *ITEMS)))
    with pytest.raises(Invalid, match=rf"ml-tiny\.inter line 3: .*{why}"):
        MovieLens.read(folder, NOW_MS)


def test_a_missing_column_is_named(folder: Path) -> None:
    write(folder, "".join((INTER, *RATINGS)), "item_id:token\tmovie_title:token_seq\n2\tBrazil\n")
    with pytest.raises(Invalid, match=r"ml-tiny\.item line 2: column '(class|release_year)' is missing"):
        MovieLens.read(folder, NOW_MS)


@pytest.mark.parametrize("text", ["", INTER])
def test_an_empty_file_is_named(folder: Path, text: str) -> None:
    write(folder, text, "".join((ITEM, *ITEMS)))
    with pytest.raises(Invalid, match=r"ml-tiny\.inter"):
        MovieLens.read(folder, NOW_MS)


def test_the_digest_notices_a_lost_doubled_or_moved_event() -> None:
    rows = [(100, "a", "rating", "p1"), (200, "b", "rating", "p2"), (300, "c", "rating", "p3")]
    whole = _digest({"u": rows})
    assert whole == _digest({"u": [(time_ms + 5_000, *rest) for time_ms, *rest in rows]})  # type: ignore[misc]
    for other in (rows[:-1], [*rows, rows[-1]], [rows[1], rows[0], rows[2]], [*rows[:2], (301, "c", "rating", "p3")]):
        assert _digest({"u": other}) != whole
