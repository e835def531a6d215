"""Everything about ranking that is decided at start."""

from typing import Any, Literal

from pydantic import Field, model_validator

from chassis.config import ServiceConfig

LEAF_PORTS = {"grpc_port": 7106, "admin_port": 7206}


class Config(ServiceConfig):
    """Read from RANKER_* variables. A leaf's ports default to 7106 and 7206."""

    role: Literal["root", "leaf"] = Field(default="root", description="root fetches and trims, leaf scores")
    grpc_port: int = Field(default=7105, ge=0, le=65535, description="port of the gRPC door; 0 = any free")
    admin_port: int = Field(default=7205, ge=0, le=65535, description="port of the admin server; 0 = any free")
    indexer_target: str = Field(default="127.0.0.1:7103", description="addresses of the indexer (root)")
    leaf_target: str = Field(
        default="127.0.0.1:7106", description="addresses of the leaves (root), or model=addresses;model=addresses"
    )
    models: str = Field(default="ranker", description="model bundles this process follows, comma-separated")
    model_by_surface: str = Field(
        default="", description="surface=model of surfaces that the first of the models does not rank (root)"
    )
    sequence: str = Field(default="engagement", description="name of the sequence that histories are read from")
    max_history: int = Field(default=100, ge=1, le=100, description="newest events read per ranking")
    read_timeout_s: float = Field(default=0.15, gt=0, description="longest wait for one answer of the indexer, seconds")
    leaf_timeout_s: float = Field(default=0.25, gt=0, description="longest wait for a leaf, seconds")
    rank_timeout_s: float = Field(default=1.0, gt=0, description="longest ranking, seconds")
    retrieval_prior_power: float = Field(
        default=2.0, ge=0, description="how much a low place in retrieval lowers a positive utility; 0 = not at all"
    )
    pin_cache_max_pins: int = Field(default=50_000, ge=1, description="pins whose features the root keeps")
    pin_cache_max_age_s: float = Field(default=30.0, gt=0, description="age at which cached features are read anew")
    torch_num_threads: int = Field(default=1, ge=1, description="threads of one model pass (leaf)")

    @property
    def model_names(self) -> tuple[str, ...]:
        """Of `models`, in order."""
        return tuple(dict.fromkeys(name.strip() for name in self.models.split(",") if name.strip()))

    @property
    def models_of_surfaces(self) -> dict[str, str]:
        """Surface -> model, of the surfaces that name one."""
        return _pairs(self.model_by_surface, ",")

    @property
    def leaf_targets(self) -> dict[str, str]:
        """Model -> addresses of the leaves that host it."""
        if "=" not in self.leaf_target:
            return dict.fromkeys(self.model_names, self.leaf_target)
        return _pairs(self.leaf_target, ";")

    @model_validator(mode="after")
    def _models_are_known(self) -> "Config":
        if not self.model_names:
            raise ValueError("models names no bundle: name at least one, such as 'ranker'")
        if unknown := set(self.models_of_surfaces.values()) - set(self.model_names):
            raise ValueError(f"model_by_surface names {sorted(unknown)}, which models does not list")
        if homeless := set(self.model_names) - self.leaf_targets.keys():
            raise ValueError(f"leaf_target has no leaf for {sorted(homeless)}: add model=addresses for each")
        return self

    @model_validator(mode="before")
    @classmethod
    def _leaf_ports(cls, values: Any) -> Any:
        is_leaf = isinstance(values, dict) and values.get("role") == "leaf"
        return {**LEAF_PORTS, **values} if is_leaf else values


def _pairs(text: str, separator: str) -> dict[str, str]:
    """`a=b,c=d` as a mapping. Raises: ValueError for a part without a name or a value."""
    parts = [part.strip() for part in text.split(separator) if part.strip()]
    pairs = [part.partition("=")[::2] for part in parts]
    if wrong := [part for part, (name, value) in zip(parts, pairs, strict=True) if not (name and value)]:
        raise ValueError(f"{wrong[0]!r} is not name=value")
    return dict(pairs)
