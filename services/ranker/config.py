"""Everything about ranking that is decided at start."""

from typing import Any, Literal

from pydantic import Field, model_validator

from chassis.config import ServiceConfig
from chassis.grpc.limits import MIB

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
    max_history: int = Field(default=256, ge=1, le=256, description="events of a history that the model is given")
    newest_history: int = Field(
        default=192,
        ge=1,
        le=256,
        description="of these the newest; the rest are older ones nearest to the candidates",
    )
    read_history: int = Field(default=512, ge=1, le=2048, description="newest events read per ranking")
    read_timeout_s: float = Field(default=0.15, gt=0, description="longest wait for one answer of the indexer, seconds")
    leaf_timeout_s: float = Field(default=0.25, gt=0, description="longest wait for a leaf, seconds")
    rank_timeout_s: float = Field(default=1.0, gt=0, description="longest ranking, seconds")
    feature_log_share: float = Field(
        default=0.01, ge=0, le=1, description="share of scored rankings whose inputs are logged for comparison (root)"
    )
    feature_log_max_candidates: int = Field(
        default=50, ge=1, le=500, description="candidates of a logged ranking, chosen at random (root)"
    )
    pin_cache_max_pins: int = Field(default=50_000, ge=1, description="pins whose features the root keeps")
    pin_cache_max_age_s: float = Field(default=300.0, gt=0, description="age at which cached features are read anew")
    torch_num_threads: int = Field(default=1, ge=1, description="threads of one model pass (leaf)")

    batch_wait_s: float = Field(
        default=0.0,
        ge=0,
        le=0.05,
        description="how long a request waits for others to share its pass, seconds; those that come while a pass runs "
        "share the next one anyway (leaf)",
    )
    batch_max_rows: int = Field(default=2_000, ge=1, description="candidates of one pass (leaf)")
    batch_max_waiting: int = Field(default=64, ge=1, description="requests that wait before more are refused (leaf)")
    context_cache_max_bytes: int = Field(
        default=64 * MIB, ge=0, description="bytes of users' encoded histories that are kept; 0 = none (leaf)"
    )
    shadow_models: str = Field(
        default="", description="model bundles on trial, comma-separated: compared, never served (leaf)"
    )
    shadow_share: float = Field(default=0.1, ge=0, le=1, description="share of requests that variants score too (leaf)")

    @property
    def model_names(self) -> tuple[str, ...]:
        """Of `models`, in order."""
        return _names(self.models)

    @property
    def shadow_names(self) -> tuple[str, ...]:
        """Of `shadow_models`, in order."""
        return _names(self.shadow_models)

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
        if both := set(self.shadow_names) & set(self.model_names):
            raise ValueError(f"shadow_models names {sorted(both)}, which models serves: name variants apart")
        if homeless := set(self.model_names) - self.leaf_targets.keys():
            raise ValueError(f"leaf_target has no leaf for {sorted(homeless)}: add model=addresses for each")
        return self

    @model_validator(mode="before")
    @classmethod
    def _leaf_ports(cls, values: Any) -> Any:
        is_leaf = isinstance(values, dict) and values.get("role") == "leaf"
        return {**LEAF_PORTS, **values} if is_leaf else values


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _pairs(text: str, separator: str) -> dict[str, str]:
    """`a=b,c=d` as a mapping. Raises: ValueError for a part without a name or a value."""
    parts = [part.strip() for part in text.split(separator) if part.strip()]
    pairs = [part.partition("=")[::2] for part in parts]
    if wrong := [part for part, (name, value) in zip(parts, pairs, strict=True) if not (name and value)]:
        raise ValueError(f"{wrong[0]!r} is not name=value")
    return dict(pairs)
