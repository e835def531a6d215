"""Which users did enough since their state was made that it should be made anew. Everything in it is bounded."""

from collections import OrderedDict
from collections.abc import Mapping


class MovedUsers:
    """Counts events by user; who reaches `num_events` waits for `settle_s` and is then due.

    At most `max_users` are counted: the one that moved longest ago is forgotten. At most `max_waiting` wait: who comes
    then keeps the count and is taken with a later event. Times are seconds of any monotonic clock.
    """

    def __init__(
        self, num_events: int, settle_s: float, *, max_users: int = 200_000, max_waiting: int = 20_000
    ) -> None:
        self._num_events, self._settle_s = num_events, settle_s
        self._max_users, self._max_waiting = max_users, max_waiting
        self._count_by_user: OrderedDict[str, int] = OrderedDict()
        self._due_s_by_user: dict[str, float] = {}  # in the order in which they are due

    @property
    def num_waiting(self) -> int:
        """Users whose state is to be made."""
        return len(self._due_s_by_user)

    def moved(self, num_events_by_user: Mapping[str, int], now_s: float) -> int:
        """These users did so many things. Returns how many of them should wait and found no room."""
        num_refused = 0
        for user_id, num_events in num_events_by_user.items():
            if user_id in self._due_s_by_user:
                continue  # its newest events will be read
            count = self._count_by_user.pop(user_id, 0) + num_events
            if count >= self._num_events and len(self._due_s_by_user) < self._max_waiting:
                self._due_s_by_user[user_id] = now_s + self._settle_s
                continue
            num_refused += count >= self._num_events
            self._count_by_user[user_id] = count
            if len(self._count_by_user) > self._max_users:
                self._count_by_user.popitem(last=False)
        return num_refused

    def take_due(self, now_s: float, most: int) -> list[str]:
        """At most so many users whose time has come, those that waited longest first."""
        due: list[str] = []
        for user_id, due_s in self._due_s_by_user.items():
            if due_s > now_s or len(due) == most:
                break
            due.append(user_id)
        for user_id in due:
            del self._due_s_by_user[user_id]
        return due

    def again(self, user_id: str, now_s: float) -> None:
        """This one failed; it comes again after the others."""
        self._due_s_by_user.setdefault(user_id, now_s + self._settle_s)
