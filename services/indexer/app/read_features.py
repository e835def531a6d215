"""Answers for features of users and pins."""

from collections.abc import Sequence

import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Invalid, NotFound
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.read_sequences import check_user_id
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.users import ACTED_WINDOW_MS, UserQuery, UserRecord
from services.indexer.ports import PinStore, UserStore

MAX_PINS_ASKED = 2_000


class ReadFeatures:
    """Each answer is one round trip to the store."""

    def __init__(self, definitions: ActiveDefinitions, users: UserStore, pins: PinStore, clock: Clock) -> None:
        self._definitions = definitions
        self._users = users
        self._pins = pins
        self._clock = clock

    async def user(self, user_id: str, surface: str) -> UserRecord:
        """Everything kept for a user; seen pins only with a surface that remembers them.

        Raises: Invalid, NotFound for an unknown surface, Unavailable.
        """
        check_user_id(user_id)
        return await self._users.read(self._query(user_id, surface))

    async def pins(self, pin_ids: Sequence[str], columns: Sequence[str]) -> tuple[pa.RecordBatch, list[str]]:
        """(one row per known pin in the order first asked, unknown pins). Raises: Invalid, Unavailable."""
        if len(pin_ids) > MAX_PINS_ASKED:
            raise Invalid(
                f"{len(pin_ids)} pins asked for, at most {MAX_PINS_ASKED}", field="pin_ids", reason="too_many"
            )
        unknown = [name for name in columns if name not in PIN_SCHEMA.names]
        if unknown:
            raise Invalid(f"pins have no columns {', '.join(unknown)}", field="columns", reason="unknown_column")
        wanted = list(dict.fromkeys(columns)) or PIN_SCHEMA.names
        asked = list(dict.fromkeys(pin_ids))
        rows = await self._pins.read(asked, list(dict.fromkeys([*wanted, "pin_id"])))
        known = set(rows.column("pin_id").to_pylist())
        return rows.select(wanted), [pin_id for pin_id in asked if pin_id not in known]

    def _query(self, user_id: str, surface: str) -> UserQuery:
        if not surface:
            return UserQuery(user_id)
        surfaces = self._definitions.current.surfaces
        if surface not in surfaces:
            raise NotFound(
                f"no surface {surface!r}; there are {', '.join(sorted(surfaces))}",
                field="surface",
                reason="unknown_surface",
            )
        window_ms = surfaces[surface].seen_window_s * 1_000
        if not window_ms:
            return UserQuery(user_id)  # a surface that repeats pins has no use for seen ones
        now_ms = self._clock.now_ms()
        return UserQuery(user_id, surface, now_ms - window_ms, now_ms - ACTED_WINDOW_MS)
