"""The one table of who may call which method: doors enforce it, network policies and Kafka's rights are made from it.

Names are workload identities, the last part of a SPIFFE ID. A method or a caller that is not here is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.grpc.access import Callers

INGEST, ENRICH, INDEXER, INDEXER_LAKE = "ingest", "enrich", "indexer", "indexer-lake"
CG, RANKER_ROOT, RANKER_LEAF, BLENDER, QUOTA = "cg", "ranker-root", "ranker-leaf", "blender", "quota"

SURFACE = "surface"  # a product's own backend or gateway, which knows its people
CONTENT = "content"  # the pipeline that publishes pins
PEOPLE = "people"  # operators, ML and product teams with the command line or a notebook
JOBS = "jobs"  # training, backfills, rebuilds
OUTSIDE = (SURFACE, CONTENT, PEOPLE, JOBS)


@dataclass(frozen=True)
class Workload:
    """One kind of process: the room of its code, the gRPC services it serves, the consumer groups it may be in."""

    room: str
    services: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # a name, or the beginning of names when it ends with "-"


WORKLOADS: Mapping[str, Workload] = {
    INGEST: Workload("ingest", ("corkboard.ingest.v1.IngestService",)),
    ENRICH: Workload("enrich", ("corkboard.enrich.v1.EnrichService",), ("enrich", "enrich-", "enrich.pins")),
    INDEXER: Workload(
        "indexer",
        ("corkboard.indexer.v1.SequenceService", "corkboard.indexer.v1.FeatureService"),
        ("indexer-online-", "indexer-audit-"),
    ),
    INDEXER_LAKE: Workload("indexer", ("corkboard.indexer.v1.LakeService",), ("indexer-lake", "indexer-lake-")),
    CG: Workload("cg", ("corkboard.cg.v1.RetrievalService",), ("cg-",)),
    RANKER_ROOT: Workload("ranker", ("corkboard.ranker.v1.RankingService",)),
    RANKER_LEAF: Workload("ranker", ("corkboard.ranker.v1.ScoringService",)),
    BLENDER: Workload("blender", ("corkboard.blender.v1.FeedService", "corkboard.blender.v1.BlendService")),
    QUOTA: Workload(
        "quota",
        (
            *("corkboard.quota.v1.QuotaService", "corkboard.quota.v1.LeaseService"),
            *("corkboard.quota.v1.UsageService", "corkboard.quota.v1.CapacityService"),
        ),
        ("quota-",),
    ),
}
SERVED_OUTSIDE = ("corkboard.quota.v1.RuleCheckService",)  # contracts that whoever runs Corkboard may serve

_LEASE_HOLDERS = tuple(name for name in WORKLOADS if name != QUOTA)

BY_SERVICE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "corkboard.ingest.v1.IngestService": {"PublishEvents": (SURFACE,), "PublishPins": (CONTENT,)},
    "corkboard.enrich.v1.EnrichService": {"PreviewEvent": (PEOPLE,)},
    "corkboard.indexer.v1.SequenceService": {
        "GetSequence": (CG, RANKER_ROOT, PEOPLE),
        "BatchGetSequences": (PEOPLE, JOBS),
        "DescribeSequence": (PEOPLE, JOBS),
    },
    "corkboard.indexer.v1.FeatureService": {
        "BatchGetPins": (ENRICH, RANKER_ROOT, BLENDER, PEOPLE, JOBS),
        "GetUser": (CG, BLENDER, PEOPLE),
    },
    "corkboard.indexer.v1.LakeService": {"QueryQuotaUsage": (QUOTA,)},
    "corkboard.cg.v1.RetrievalService": {"Retrieve": (BLENDER,)},
    "corkboard.ranker.v1.RankingService": {"Rank": (BLENDER,)},
    "corkboard.ranker.v1.ScoringService": {"Score": (RANKER_ROOT,)},
    "corkboard.blender.v1.FeedService": {"GetFeed": (SURFACE,), "ExplainFeed": (SURFACE, PEOPLE)},
    "corkboard.blender.v1.BlendService": {"Blend": (SURFACE, PEOPLE)},
    "corkboard.quota.v1.QuotaService": dict.fromkeys(
        (
            *("CreateRule", "ValidateRule", "ApproveRule", "PublishRule", "RevokeRule"),
            *("GetRule", "ListRules", "WatchRules", "History"),
        ),
        (PEOPLE,),
    ),
    "corkboard.quota.v1.LeaseService": dict.fromkeys(("Acquire", "Renew", "Release"), _LEASE_HOLDERS),
    "corkboard.quota.v1.UsageService": dict.fromkeys(
        ("QueryUsage", "ProposeRightsizing", "BacktestRightsizing", "ProposeHaircuts", "ApplyProposals"), (PEOPLE,)
    ),
    "corkboard.quota.v1.CapacityService": dict.fromkeys(("DescribeCapacity", "ApplyCapacity"), (PEOPLE,)),
    "corkboard.quota.v1.RuleCheckService": {"CheckRule": (QUOTA,)},
}

CALLERS: Callers = {
    f"{service}/{method}": frozenset(callers)
    for service, methods in BY_SERVICE.items()
    for method, callers in methods.items()
}


def callers_of(workload: str) -> tuple[str, ...]:
    """Who calls anything that `workload` serves, in the order of the lists above."""
    found = {
        caller
        for service in WORKLOADS[workload].services
        for callers in BY_SERVICE[service].values()
        for caller in callers
    }
    return tuple(name for name in (*WORKLOADS, *OUTSIDE) if name in found)


def called_by(caller: str) -> tuple[str, ...]:
    """Workloads that `caller` calls anything of."""
    return tuple(name for name in WORKLOADS if caller in callers_of(name))
