"""Graph vectors for the generator `related`, judged by the pin that a person chose after the last one.

Shapes: U users, P pins, C content width, G width of a graph vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.graph_vectors import fit_content_to_graph, fit_graph_vectors, foretold
from modeling.interactions import Interactions
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.ranking import Metrics, evaluate
from services.cg.outbound.bundle_model_files import related_files

GRAPH_WEIGHT = 0.5  # flat between 0.25 and 0.75 on the seeded worlds


@dataclass(frozen=True)
class FittedGraph:
    """Unit graph vectors [P, G] (zeros for pins that nobody chose) and the map that foretells them from content."""

    graph_PG: Floats
    content_to_graph_CG: Floats

    def vectors(self, content_PC: Floats, weight: float) -> Floats:
        """What is searched, at this weight of the graph [P, C + G]."""
        told_PG = foretold(content_PC, self.content_to_graph_CG)
        graph_PG = np.where(self.graph_PG.any(axis=1, keepdims=True), self.graph_PG, told_PG)
        return np.concatenate([np.sqrt(1 - weight) * content_PC, np.sqrt(weight) * graph_PG], axis=1)

    def files(self, pin_ids: Sequence[str], evaluation: Mapping[str, Any]) -> dict[str, bytes]:
        """Of the bundle `related`."""
        return related_files(pin_ids, self.graph_PG, self.content_to_graph_CG, GRAPH_WEIGHT, evaluation)


def fit_related(events: Interactions, pins: PinFeatures) -> FittedGraph:
    """With the same events the result is the same."""
    graph_PG = fit_graph_vectors(events.matrix())
    return FittedGraph(graph_PG, fit_content_to_graph(pins.content_PC, graph_PG))


def evaluate_related(train: Interactions, pins: PinFeatures, label_U: Ints) -> dict[str, Metrics]:
    """By content alone and with the graph; the subject is the person's last pin before the label."""
    fitted, starts = fit_related(train, pins), train.starts

    def metrics(weight: float) -> Metrics:
        vectors_PV = fitted.vectors(pins.content_PC, weight)
        return evaluate(train, label_U, lambda user: vectors_PV @ vectors_PV[train.pin_E[starts[user + 1] - 1]])

    return {"related_content_only": metrics(0.0), "related": metrics(GRAPH_WEIGHT)}
