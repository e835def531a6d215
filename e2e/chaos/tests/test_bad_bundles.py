"""A spoilt bundle looks sound until it is opened, and a second one is made as the first was."""

from pathlib import Path

import pytest

from chassis.bundles import BundleStore
from chassis.errors import Corrupt
from e2e.chaos.data_faults import SPOILT, spoilt_copy


def test_a_spoilt_copy_is_refused_and_can_be_made_again(tmp_path: Path) -> None:
    store = BundleStore(str(tmp_path))
    sound = store.write("ranker", "v1", {"model.pt": b"x" * 100}, {})
    for at_s in (1.0, 2.0):
        bad = spoilt_copy(store, "ranker", at_s)
        assert bad.version == sound.version + SPOILT
        with pytest.raises(Corrupt, match=r"model\.pt"):
            store.open(bad)
    store.open(sound)
