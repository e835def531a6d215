"""A training's state in one file, so that a killed one goes on as if nothing had happened."""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from chassis.errors import Corrupt, Invalid


class Stateful(Protocol):
    """A part of a training that a checkpoint keeps."""

    def state_dict(self) -> Any:
        """Tensors, numbers, strings, lists and mappings of them."""
        ...

    def load_state_dict(self, state: Any) -> object:
        """Go on from a `state_dict`."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A file that is written whole every `every_steps` steps and at the end of each epoch."""

    path: Path
    every_steps: int = 200

    def save(self, parts: Mapping[str, Stateful], identity: Mapping[str, Any]) -> None:
        """Replace the file; a crash at any moment leaves the old one or the new one."""
        state = {name: part.state_dict() for name, part in parts.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".writing")
        with beside.open("wb") as file:
            torch.save({"identity": dict(identity), "random": random_state(), "parts": state}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def restore(self, parts: Mapping[str, Stateful], identity: Mapping[str, Any]) -> bool:
        """Put every part where the file left it; False when there is no file.

        Raises: Invalid when the file is of a training with other settings, Corrupt when it cannot be read.
        """
        if not self.path.exists():
            return False
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            found, stored = state["identity"], state["parts"]
        except Exception as error:
            raise Corrupt(f"checkpoint {self.path.name} cannot be read: {error}", reason="bad_checkpoint") from error
        if found != dict(identity) or stored.keys() != parts.keys():
            differing = sorted(name for name in {**found, **identity} if found.get(name) != identity.get(name))
            raise Invalid(
                f"checkpoint {self.path.name} is of another training, {', '.join(differing)} differ: delete it",
                field="checkpoint",
                reason="other_training",
            )
        for name, part in parts.items():
            part.load_state_dict(stored[name])
        set_random_state(state["random"])
        return True

    def remove(self) -> None:
        """The training is over; its result is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def random_state() -> dict[str, Any]:
    """Where the random numbers of torch, NumPy and Python are."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            has_gauss,
            float(gauss),
        ],
        "python": [version, list(words), next_gauss],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on from a `random_state`."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words), next_gauss))
