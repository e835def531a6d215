"""How often each item comes up in the stream of training rows, learnt while training.

Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", algorithm 3: with one
array the moving average of the time between two sightings of a slot estimates the gap, and p = 1 / gap. Items that
share a slot make its gap too short, so of several hashes the largest gap counts. We differ twice: time is counted in
rows, not in batches, because the chance to be in a large batch at all is nearly 1 for many items, and tells them apart
no longer; and a slot's first gaps are averaged plainly, so that a short training is not ruled by the first guess.
Shapes: B rows, H hashes, S slots.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from modeling.layers import HASH_PRIMES

DEFAULT_RATE = 0.02  # the newest gap's weight: about the last fifty sightings count
FIRST_GAP = 1_000_000.0  # rows; what an item is taken for before it was seen


class StreamingFrequency:
    """p(a row is of the item) for int64 item ids. Not a module: its state is counted, not learnt by gradients."""

    def __init__(self, num_slots: int, *, num_hashes: int = 2, rate: float = DEFAULT_RATE) -> None:
        if not 1 <= num_hashes <= len(HASH_PRIMES):
            raise ValueError(f"num_hashes is {num_hashes}, must be 1 to {len(HASH_PRIMES)}")
        self._rate = rate
        self._rows = 0
        self._last_HS = torch.zeros(num_hashes, num_slots, dtype=torch.float64)
        self._gap_HS = torch.full((num_hashes, num_slots), FIRST_GAP, dtype=torch.float64)
        self._seen_HS = torch.zeros(num_hashes, num_slots, dtype=torch.float64)

    def update(self, item_B: Tensor) -> None:
        """One batch was drawn; the sightings of an item in it are taken as evenly spaced since the last one before."""
        self._rows += len(item_B)
        for number, slots_B in enumerate(self._slots(item_B)):
            slots, count = torch.unique(slots_B, return_counts=True)
            found = (self._rows - self._last_HS[number, slots]) / count
            self._seen_HS[number, slots] += count
            rate = torch.maximum(count / self._seen_HS[number, slots], 1.0 - (1.0 - self._rate) ** count.double())
            self._gap_HS[number, slots] += rate * (found - self._gap_HS[number, slots])
            self._last_HS[number, slots] = float(self._rows)

    def log_q(self, item_B: Tensor) -> Tensor:
        """log p of each item, float32 [B]; never above 0."""
        slots_HB = torch.stack(self._slots(item_B))
        gap_B = torch.gather(self._gap_HS, 1, slots_HB).max(dim=0).values
        return -gap_B.clamp(min=1.0).log().to(torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed training needs to go on with the same estimates."""
        arrays = {"last": self._last_HS.clone(), "gap": self._gap_HS.clone(), "seen": self._seen_HS.clone()}
        return {"rows": torch.tensor(self._rows), **arrays}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict` of the same sizes. Raises: ValueError when they differ."""
        if state["gap"].shape != self._gap_HS.shape:
            raise ValueError(f"state has sizes {tuple(state['gap'].shape)}, this is {tuple(self._gap_HS.shape)}")
        self._rows = int(state["rows"])
        self._last_HS, self._gap_HS, self._seen_HS = (state[name].clone() for name in ("last", "gap", "seen"))

    def _slots(self, item_B: Tensor) -> list[Tensor]:
        num_hashes, num_slots = self._gap_HS.shape
        return [((item_B * prime) >> 16).remainder(num_slots) for prime in HASH_PRIMES[:num_hashes]]
