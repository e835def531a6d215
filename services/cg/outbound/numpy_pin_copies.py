"""The last-good copy of the live pins in the state folder, for a start without Kafka."""

import json
import os
import uuid
import zipfile
from pathlib import Path

import numpy as np

from chassis.errors import Corrupt
from services.cg.domain.pin_snapshot import PinColumns, PinSnapshot
from services.cg.domain.stored_pins import StoredPins, stored

FILE = "live-pins.npz"
NAMES = "names_json"
FIELDS = tuple(PinColumns.__dataclass_fields__)
LISTS = ("pin_ids", "languages", "groups", "label_sets")


class NumpyPinCopies:
    """One file, replaced as a whole; its checksums are verified when it is read."""

    def __init__(self, state_dir: str | Path) -> None:
        self._path = Path(state_dir) / FILE

    def keep(self, snapshot: PinSnapshot) -> None:
        """Write the live pins. Raises: OSError."""
        pins = stored(snapshot)
        names = json.dumps({name: getattr(pins, name) for name in LISTS}).encode()
        columns = {name: getattr(pins.columns, name) for name in FIELDS}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        staging = self._path.with_name(f".{FILE}.{uuid.uuid4().hex}")
        try:
            with staging.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **{NAMES: np.frombuffer(names, dtype=np.uint8)}, **columns)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(staging, self._path)
        finally:
            staging.unlink(missing_ok=True)

    def load(self) -> StoredPins | None:
        """The copy; None when there was never one. Raises: Corrupt."""
        if not self._path.is_file():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as files:
                names = json.loads(files[NAMES].tobytes())
                columns = PinColumns(**{name: files[name] for name in FIELDS})
            pins = StoredPins(columns=columns, **{name: names[name] for name in LISTS})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise Corrupt(f"{self._path} cannot be read: {error}") from error
        if any(len(getattr(columns, name)) != len(pins.pin_ids) for name in FIELDS):
            raise Corrupt(f"{self._path} has columns of other lengths than its {len(pins.pin_ids)} pin ids")
        return pins
