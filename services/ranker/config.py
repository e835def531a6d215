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
    leaf_target: str = Field(default="127.0.0.1:7106", description="addresses of the leaves (root)")
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

    @model_validator(mode="before")
    @classmethod
    def _leaf_ports(cls, values: Any) -> Any:
        is_leaf = isinstance(values, dict) and values.get("role") == "leaf"
        return {**LEAF_PORTS, **values} if is_leaf else values
