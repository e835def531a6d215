"""Every setting of the quota service."""

from pydantic import Field

from chassis.config import ServiceConfig


class Config(ServiceConfig):
    """Read once from variables that begin with QUOTA_."""

    grpc_port: int = Field(7108, description="Port of the gRPC door; 0 takes any free one.")
    admin_port: int = Field(7208, description="Port of the admin server; 0 takes any free one.")
    ledger_path: str = Field(
        ".corkboard/state/quota.sqlite", description="SQLite file that holds rules, audit records and usage."
    )
    ledger_url: str = Field(
        "",
        description="PostgreSQL that holds the same instead, such as postgresql://quota@db/quota; several processes "
        "may share it. A password belongs in PGPASSWORD or a password file.",
    )
    admins: str = Field("", description="People who may change every rule, separated by commas.")
    groups: str = Field(
        "", description="Members of owner groups, such as `feed=ann,bob;ads=eve`; an owner without entry is a person."
    )
    actor_keys_path: str = Field(
        "",
        description="Public keys of the identity provider, a JWK set: who acts is then proven by a token in the "
        "metadata `authorization: Bearer ...`. Empty = the name in the message is taken at its word.",
    )
    actor_issuer: str = Field("", description="The `iss` that these tokens must have.")
    actor_audience: str = Field("corkboard-quota", description="The `aud` that they must have.")
    actor_claim: str = Field("sub", description="The claim that names the person, such as sub or email.")
    checks: str = Field(
        "owner,parent,shadowed,capacity,cluster",
        description="Built-in checks of a rule, separated by commas: owner (somebody answers for it), parent (children "
        "sum up to their parent at most), shadowed (no rule that a wildcard makes idle), capacity (its key and unit "
        "fit), cluster (nodes have that much; needs kubeconfig).",
    )
    check_plugins: str = Field(
        "",
        description="Checks of your own: `name=package.module:function,...`; a function of (rule, published rules) "
        "that yields violations.",
    )
    remote_checks: str = Field(
        "",
        description="Checks that others serve as RuleCheckService: `name=host:port;...`. All must agree; one that does "
        "not answer leaves the rule as it is.",
    )
    check_timeout_s: float = Field(2.0, gt=0, le=4, description="How long each check of a rule may take, seconds.")
    lake_target: str = Field(
        "",
        description="Addresses of the indexer that writes the lake: usage older than the ledger's comes from there. "
        "Empty = only the ledger is read.",
    )
    strategy_plugins: str = Field(
        "",
        description="Strategies of right-sizing of your own: `name=package.module:function,...`; a function of (rule, "
        "units per period by minute) that returns the units per period that are needed.",
    )
    policy_change_ratio: float = Field(
        0.0,
        ge=0,
        le=0.25,
        description="Proposals that change a rate by this share at most are approved and published without a person; "
        "0 = none.",
    )
    policy_tiers: str = Field("3", description="Tiers that this holds for; never 1.")
    kubeconfig: str = Field(
        "", description="Cluster that capacity rules are applied to: a file, or in-cluster for the pod's own account."
    )
    capacity_manifests_dir: str = Field(
        "", description="Folder that gets their manifests where there is no cluster. Empty = they are only kept."
    )
    capacity_namespace: str = Field(
        "{team}-{zone}",
        description="Namespace of a team's quota; a quota holds for a whole namespace, so each zone needs one of its "
        "own (or a cluster of its own).",
    )
    capacity_interval_s: float = Field(
        10.0, gt=0, description="Pause between two looks at what the cluster has of capacity rules, seconds."
    )
    lease_duration_s: float = Field(10.0, gt=0, le=300, description="Life of a lease from each grant, seconds.")
    leader_duration_s: float = Field(
        6.0, gt=0.1, le=300, description="Life of the leadership in the ledger from each renewal, seconds."
    )
    absent_reserve_s: float = Field(
        600.0,
        ge=0,
        description="How long the safe share of a process that cannot be reached is held back for it, seconds; a "
        "longer absence may pass the limit by its safe share.",
    )
    usage_retention_s: float = Field(
        35 * 86_400.0, gt=0, description="How long used units per minute are kept, seconds; right-sizing reads 28 days."
    )
    usage_max_rows: int = Field(5_000_000, gt=0, description="Most rows of usage kept (about 100 bytes each).")
    dispatch_retry_s: float = Field(
        1.0, gt=0, description="Pause before a published rule that the topic did not take is sent again, seconds."
    )
