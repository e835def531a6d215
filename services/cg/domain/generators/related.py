"""Pins whose content is near the subject pin's."""

from chassis.errors import NotFound
from services.cg.domain.generators.pin_encoder import NewSearch
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.retrieval import Generated, RetrievalQuery

NAME = "related"


class RelatedPins:
    """Cosine similarity of content vectors."""

    name = NAME
    version = ""

    def __init__(self, new_search: NewSearch = LiveSearch) -> None:
        self._search = new_search(lambda snapshot: snapshot.columns.content_NW)

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins, without the subject itself.

        Raises: NotFound when the subject is not in the index or has no content vector.
        """
        snapshot = query.snapshot
        row = int(snapshot.rows_of([query.subject_pin_id])[0])
        if row < 0 or not snapshot.columns.has_vector_N[row]:
            raise NotFound(f"subject pin {query.subject_pin_id!r} is not in the index or has no content vector")
        is_allowed_N = query.is_allowed_N & snapshot.columns.has_vector_N
        is_allowed_N[row] = False
        found = self._search.search(snapshot, snapshot.columns.content_NW[row], is_allowed_N, k)
        return Generated(found.row_K, found.score_K)
