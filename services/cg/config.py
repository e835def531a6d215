"""Everything about candidate generation that is decided at start."""

from pydantic import Field

from chassis.config import ServiceConfig


class Config(ServiceConfig):
    """Read from CG_* variables."""

    grpc_port: int = Field(default=7104, ge=0, le=65535, description="port of the gRPC door; 0 = any free")
    admin_port: int = Field(default=7204, ge=0, le=65535, description="port of the admin server; 0 = any free")
    indexer_target: str = Field(default="127.0.0.1:7103", description="addresses of the indexer, as host:port[@zone],…")
    sequence: str = Field(default="engagement", description="name of the sequence that histories are read from")
    max_history: int = Field(default=100, ge=1, le=2_048, description="newest events read per retrieval")
    history_timeout_s: float = Field(default=0.15, gt=0, description="longest wait for the indexer, seconds")
    retrieve_timeout_s: float = Field(default=1.0, gt=0, description="longest retrieval, seconds")
    torch_num_threads: int = Field(default=1, ge=1, description="threads of one model pass")
