"""JSON has one meaning or is refused."""

import pytest

from chassis import strict_json


def test_plain_json_is_read_as_ever() -> None:
    assert strict_json.loads(b'{"a": [1, 2.5, null, {"b": "x"}]}') == {"a": [1, 2.5, None, {"b": "x"}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 1}', "twice: 'a'"),
        ('[{"b": {"c": 1, "c": 2}}]', "twice: 'c'"),
        ('{"a": NaN}', "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[" * 100_000, "nested too deeply|Expecting value"),
        ('{"a": 1', "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strict_json.loads(text)
