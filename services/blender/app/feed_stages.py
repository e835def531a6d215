"""The feed as lists of stages that one can read aloud."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chassis.clock import Clock
from chassis.metrics import Metrics
from chassis.pipeline import Pipeline, PipelineStage, stage
from services.blender.app.feed_state import FeedState, num_candidates
from services.blender.app.popular_memory import PopularMemory
from services.blender.app.served_memory import ServedMemory
from services.blender.app.slate_loop import SlateLoop
from services.blender.app.stages.admit import Admit, Admitter
from services.blender.app.stages.cut_page import cut_page
from services.blender.app.stages.diversify_and_space import DiversifyAndSpace, relevance_order
from services.blender.app.stages.drop_blocked import drop_blocked
from services.blender.app.stages.drop_seen import drop_seen
from services.blender.app.stages.find_session import FindSession
from services.blender.app.stages.hydrate_user import HydrateUser, SessionSeenOnly
from services.blender.app.stages.keep_session import KeepSession
from services.blender.app.stages.log import Log
from services.blender.app.stages.popular import LastGoodFeed, Popular, empty
from services.blender.app.stages.rank import Rank, retrieval_order
from services.blender.app.stages.restore import restore
from services.blender.app.stages.retrieve import Retrieve
from services.blender.ports import CandidateSource, Ranker, ServedLog, SessionStore, UserSource

# Shares of the time left when a stage begins. With every peer paused and 225 ms in all they end at 45, 126 and 185 ms:
# 40 ms stay for the slate, the session and the answer.
HYDRATE_SHARE = 0.2
RETRIEVE_SHARE = 0.45
RANK_SHARE = 0.6
SESSION_SHARE = 0.5


@dataclass(frozen=True)
class Peers:
    """Everything outside of this process that a feed needs."""

    admitter: Admitter
    users: UserSource
    candidates: CandidateSource
    ranker: Ranker
    sessions: SessionStore
    served_log: ServedLog


@dataclass(frozen=True)
class Memory:
    """What this process learnt from earlier answers."""

    popular: PopularMemory
    served: ServedMemory


@dataclass(frozen=True)
class FeedPipelines:
    """A first page runs `first_page`; a later one `find` and then `next_page`, or `first_page` when it is lost."""

    door: Pipeline[FeedState]
    find: Pipeline[FeedState]
    first_page: Pipeline[FeedState]
    next_page: Pipeline[FeedState]
    closing: Pipeline[FeedState]

    def rehearsed(self) -> "FeedPipelines":
        """The same without what charges and what logs."""
        nothing: Pipeline[FeedState] = Pipeline([], num_candidates)
        return replace(self, door=nothing, closing=nothing)


def feed_pipelines(
    peers: Peers, memory: Memory, slates: SlateLoop, *, clock: Clock, session_timeout_s: float, metrics: Metrics
) -> FeedPipelines:
    """The whole feed."""
    admit = Admit(peers.admitter)
    session_seen_only = SessionSeenOnly(memory.served)
    popular, last_good_feed = Popular(memory.popular), LastGoodFeed(memory.served)

    find_session = stage(FindSession(peers.sessions), component="valkey").within(session_timeout_s, share=SESSION_SHARE)
    hydrate_user = stage(HydrateUser(peers.users, memory.served), component="indexer").within(share=HYDRATE_SHARE)
    hydrate_user = hydrate_user.or_else(session_seen_only)
    retrieve = stage(Retrieve(peers.candidates, memory.popular), component="cg").within(share=RETRIEVE_SHARE)
    retrieve = retrieve.or_else(popular).or_else(last_good_feed).or_else(empty)
    rank = stage(Rank(peers.ranker), component="ranker").within(share=RANK_SHARE).or_else(retrieval_order)
    drop = [stage(drop_seen).even_late(), stage(drop_blocked).even_late()]
    keep_session = stage(KeepSession(peers.sessions), component="valkey").within(session_timeout_s, share=SESSION_SHARE)
    place = [
        stage(DiversifyAndSpace(slates)).even_late().or_else(relevance_order),
        stage(cut_page).even_late(),
        keep_session.or_skip(level="session_not_kept"),
    ]
    log = stage(Log(peers.served_log, memory.served, clock)).even_late().or_skip()

    def pipeline(stages: Sequence[PipelineStage[FeedState]]) -> Pipeline[FeedState]:
        return Pipeline(stages, num_candidates, metrics=metrics)

    return FeedPipelines(
        door=pipeline([stage(admit)]),
        find=pipeline([find_session.or_skip(level="session_lost")]),
        first_page=pipeline([hydrate_user, retrieve, *drop, rank, *place]),
        next_page=pipeline([hydrate_user, stage(restore), *drop, *place]),
        closing=pipeline([log]),
    )
