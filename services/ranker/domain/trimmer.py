"""Sends a model only what it reads. It is an optimisation, never a gate: in doubt everything is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chassis.errors import Corrupt
from modeling.arrays import AnyArray

KEPT_VERSIONS = 4  # newest versions whose lists are kept: the released one, the ones still in flight


@dataclass(frozen=True)
class Trimmed:
    """What to send and why: known | newest | model_unknown | version_unknown. `absent` are listed, yet not given."""

    tensors: Mapping[str, AnyArray]
    reason: str
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrimMap:
    """Model -> version -> names of its inputs; frozen, a change makes a new map."""

    allowlists: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)

    def with_list(self, model: str, version: str, names: frozenset[str]) -> "TrimMap":
        """The map with one more list, the newest of its model. Raises: Corrupt for an empty list."""
        if not names:
            raise Corrupt(f"model {model} {version} lists no inputs: an empty payload can never be meant")
        versions = {name: kept for name, kept in self.allowlists.get(model, {}).items() if name != version}
        newest = dict([*versions.items(), (version, names)][-KEPT_VERSIONS:])
        return replace(self, allowlists={**self.allowlists, model: newest})

    def trim(self, tensors: Mapping[str, AnyArray], model: str, version: str = "") -> Trimmed:
        """The tensors the model reads; all of them when its list is not known."""
        versions = self.allowlists.get(model)
        if not versions:
            return Trimmed(tensors, "model_unknown")
        if version and version not in versions:
            return Trimmed(tensors, "version_unknown")  # a stale list is worse than none
        names = versions[version] if version else list(versions.values())[-1]
        kept = {name: value for name, value in tensors.items() if name in names}
        return Trimmed(kept, "known" if version else "newest", tuple(sorted(names - tensors.keys())))
