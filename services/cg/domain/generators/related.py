"""Pins whose content is near the subject pin's."""

from chassis.errors import NotFound
from services.cg.domain.retrieval import Generated, RetrievalQuery
from services.cg.domain.search import best_rows, product_scores

NAME = "related"


class RelatedPins:
    """Cosine similarity of content vectors."""

    name = NAME
    version = ""

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins, without the subject itself.

        Raises: NotFound when the subject is not in the index or has no content vector.
        """
        snapshot = query.snapshot
        row = int(snapshot.rows_of([query.subject_pin_id])[0])
        if row < 0 or not snapshot.columns.content_NW[row].any():
            raise NotFound(f"subject pin {query.subject_pin_id!r} is not in the index or has no content vector")
        score_N = product_scores(snapshot.columns.content_NW, snapshot.columns.content_NW[row])
        is_allowed_N = query.is_allowed_N & (score_N != 0.0)
        is_allowed_N[row] = False
        rows = best_rows(score_N, is_allowed_N, k)
        return Generated(rows, score_N[rows])
