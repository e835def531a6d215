"""The contextual model's promises: two halves that fit together, learned vectors for what is missing, exact batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower, PinTensors
from services.cg.domain.two_tower_features import PinFeatures, interest_confidence
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.contextual_windows import HistoryWindows
from services.cg.offline.tower_batch import TowerBatch
from services.cg.tests.contextual_world import held_out

SETTINGS = ContextualSettings(
    num_pins=12, content_width=4, num_event_types=3, graph_width=2, inner_width=8, vector_width=6, max_history=5
)


def _model(**changes: float) -> ContextualTwoTower:
    torch.manual_seed(0)
    return ContextualTwoTower(replace(SETTINGS, **changes)).double().eval()  # type: ignore[arg-type]


def _features() -> PinFeatures:
    random = np.random.default_rng(0)
    content, graph = (random.normal(size=(12, width)).astype(np.float32) for width in (4, 2))
    return PinFeatures(np.arange(1, 13), content, random.integers(0, 5, (12, 3)), graph)


def _batch() -> TowerBatch:
    """Three requests, seven positives: one request with a short history, one with none."""
    return TowerBatch(
        pin_RL=torch.tensor([[0, 1, 2, 3, 4], [-1, -1, -1, 5, 6], [-1, -1, -1, -1, -1]]),
        type_RL=torch.tensor([[1, 2, 3, 1, 2], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]),
        user_id_R=torch.tensor([100, 200, 300]),
        row_to_request_B=torch.tensor([0, 0, 0, 1, 1, 2, 2]),
        position_B=torch.tensor([4, 4, 2, 4, 4, -1, -1]),
        target_B=torch.tensor([7, 8, 9, 10, 11, 7, 5]),
    )


def test_one_history_per_request_gives_the_gradients_of_one_per_positive() -> None:
    found = []
    for batch in (_batch(), _batch().expanded()):
        model = _model(dropout=0.0)
        loss = ContextualTrainer(model, _features()).loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss.detach(), [p.grad for p in model.parameters()]))
    (loss, gradients), (expanded_loss, expanded_gradients) = found
    torch.testing.assert_close(loss, expanded_loss, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(gradients, expanded_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


def test_the_head_over_a_stored_state_equals_the_whole_tower() -> None:
    model, batch = _model(), _batch()
    trainer = ContextualTrainer(model, _features())
    pins_PD = model.embed_pins(trainer._pins)
    is_real = batch.pin_RL >= 0
    stored = model.last_hidden(pins_PD[batch.pin_RL.clamp(min=0)], batch.type_RL, is_real).detach()
    for request in range(3):
        kept = is_real[request]
        alone = model.last_hidden(
            pins_PD[batch.pin_RL[request][kept]][None] if kept.any() else torch.zeros(1, 1, 8, dtype=torch.float64),
            batch.type_RL[request][kept][None] if kept.any() else torch.zeros(1, 1, dtype=torch.int64),
            torch.ones(1, int(kept.sum()), dtype=torch.bool) if kept.any() else torch.zeros(1, 1, dtype=torch.bool),
        )
        torch.testing.assert_close(stored[request], alone[0])
    torch.testing.assert_close(stored[2], model.no_history)


def test_interests_count_by_confidence_and_nothing_is_the_learned_vector() -> None:
    model = _model()
    topic = torch.tensor([[3, 1, 0], [2, 0, 0], [0, 0, 0]])
    confidence = torch.from_numpy(interest_confidence(topic.numpy())).double()
    torch.testing.assert_close(confidence, torch.tensor([[1, 0.5, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64))
    found, table = model.context(topic, confidence), model.interest_table.weight
    torch.testing.assert_close(found[0], (table[3] + 0.5 * table[1]) / 1.5)
    torch.testing.assert_close(found[1], table[2])
    torch.testing.assert_close(found[2], model.no_context)
    torch.testing.assert_close(model.context(topic, torch.zeros_like(confidence))[0], model.no_context)


def test_vectors_have_unit_length_and_items_read_every_feature() -> None:
    model, pins = _model(), ContextualTrainer(_model(), _features())._pins
    vectors = model.item_vectors(model.embed_pins(pins))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(12, dtype=torch.float64))
    for name in ("content_PC", "graph_PG", "id_row_P", "topic_PT"):
        changed: PinTensors = replace(pins, **{name: torch.roll(getattr(pins, name), 1, 0)})
        assert (model.item_vectors(model.embed_pins(changed)) - vectors).abs().max() > 1e-6, name


def test_hidden_ids_are_those_of_pins_that_are_known_otherwise() -> None:
    model = _model(id_dropout=1.0).train()
    pins = ContextualTrainer(model, _features())._pins
    bare = replace(pins, content_PC=torch.zeros_like(pins.content_PC), topic_PT=torch.zeros_like(pins.topic_PT))
    without_ids = replace(pins, id_row_P=torch.zeros_like(pins.id_row_P))
    torch.testing.assert_close(model.embed_pins(pins), model.embed_pins(without_ids))
    assert (model.embed_pins(bare) - model.embed_pins(replace(bare, id_row_P=without_ids.id_row_P))).abs().max() > 1e-6


@pytest.mark.parametrize("length", [5, 20])
def test_windows_foresee_new_pins_from_what_came_before(length: int) -> None:
    train, _, _ = held_out()
    windows = HistoryWindows(train, length, positives_per_window=1_000)
    batch = windows.batch(np.arange(len(windows)))
    events = [train.pin_E[train.starts[u] : train.starts[u + 1]].tolist() for u in range(len(train.user_ids))]
    for row, request, position in zip(
        batch.target_B.tolist(), batch.row_to_request_B.tolist(), batch.position_B.tolist(), strict=True
    ):
        own = events[int(batch.user_id_R[request])]
        place = own.index(row)
        if position < 0:
            continue
        before = [p for p in batch.pin_RL[request, : position + 1].tolist() if p >= 0]
        assert before == own[place - len(before) : place]
    assert len(batch.target_B) == int((batch.pin_RL >= 0).sum()), "every event of a window is a positive here"


def test_windows_together_hold_every_event_of_short_histories_and_all_of_a_long_one_over_time() -> None:
    train, _, _ = held_out()
    short = HistoryWindows(train, 50, positives_per_window=1_000)
    batch = short.batch(np.arange(len(short)))
    assert sorted(batch.target_B.tolist()) == sorted(train.pin_E.tolist())
    torch.manual_seed(0)
    long, seen = HistoryWindows(train, 5, positives_per_window=1_000), set()
    for _ in range(300):
        batch = long.batch(np.arange(10))
        seen |= set(zip(batch.user_id_B.tolist(), batch.target_B.tolist(), strict=True))
    assert len(seen) == train.starts[10]
