"""Learning to foresee: what is foreseen from what, that it is learnt, and that its state is the one serving uses."""

import numpy as np
import pytest
import torch

from modeling.interactions import collect
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings
from services.ranker.offline import foresight as module
from services.ranker.offline.baselines import SasRec
from services.ranker.offline.fitting import HistoryTensors
from services.ranker.offline.foresight import BesideRanking, Foresight, foresight_over, foresight_plan, learn_to_foresee
from services.ranker.offline.parts import part
from services.ranker.offline.pin_columns import pin_columns
from services.ranker.tests.world import WIDTH, training_data

SETTINGS = RankerSettings(content_width=WIDTH, dropout=0.0)


def _foresight(num_users: int = 40) -> Foresight:
    data = training_data(num_users)
    events = collect(data.histories, data.pins.pin_ids)
    return foresight_over(events, HistoryTensors(pin_columns(data.pins), events))


def _model(seed: int = 3) -> HistoryRanker:
    torch.manual_seed(seed)
    return HistoryRanker(SETTINGS)


def test_each_event_foresees_the_one_after_it_and_none_of_another_user() -> None:
    found = _foresight()
    window = found.window
    is_next_real = window.is_real[:, 1:] & window.is_real[:, :-1]
    np.testing.assert_array_equal(found.next_pin_BL[:, :-1][is_next_real], window.pin_BL[:, 1:][is_next_real])
    assert (found.next_pin_BL[~window.is_real] == -1).all()
    data = training_data(40)
    last = {data.pins.pin_ids.index(history.pin_ids[-1]) for history in data.histories}
    assert set(found.next_pin_BL[:, -1].tolist()) == last, "the last pin of a history is foreseen, and nothing from it"


def test_a_pin_met_before_is_not_foreseen() -> None:
    data = training_data(1, 4)
    history = data.histories[0]
    again = type(history)("user", [*history.pin_ids, history.pin_ids[0]], ["save"] * 5, list(range(5)))
    events = collect([again], data.pins.pin_ids)
    found = foresight_over(events, HistoryTensors(pin_columns(data.pins), events))
    assert found.next_pin_BL[0, -1] == -1 and (found.next_pin_BL[0, -4:-1] >= 0).all()


@torch.no_grad()
def test_the_state_of_the_newest_event_is_the_one_that_serving_crosses() -> None:
    found, model = _foresight(6), _model().eval()
    inputs = found.tensors.history(found.window, found.window.time_ms_BL[:, -1])
    states_BLD = model.event_states(inputs)
    served_BD = model.next_state(inputs, [model.encode_history(inputs)])
    torch.testing.assert_close(states_BLD[:, -1], served_BD, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_state_knows_what_comes_after_it() -> None:
    found, model = _foresight(6), _model().eval()
    inputs = found.tensors.history(found.window, found.window.time_ms_BL[:, -1])
    before = model.event_states(inputs)
    inputs["history_content"][:, -1] += 9.0
    inputs["history_age_s"][:, :-1] += 1e6
    after = model.event_states(inputs)
    is_real_BL = torch.from_numpy(found.window.is_real)
    torch.testing.assert_close(before[:, :-1][is_real_BL[:, :-1]], after[:, :-1][is_real_BL[:, :-1]])
    assert not torch.allclose(before[:, -1], after[:, -1])


@pytest.mark.parametrize("make", [_model, lambda: SasRec(WIDTH)], ids=["ranker", "sasrec"])
def test_what_comes_next_is_learnt(make: type[HistoryRanker] | type[SasRec]) -> None:
    torch.manual_seed(5)
    found, model = _foresight(), make()  # type: ignore[call-arg]
    rows = np.arange(len(found))
    first = float(found.loss(model, rows).detach())
    learn_to_foresee(model, found, foresight_plan(25, 1))
    with torch.no_grad():
        learnt = float(found.loss(model, rows))
    assert first > np.log(36), "60 pins, and little known of them"
    assert np.log(20) < learnt < np.log(33), "half of them are to the own taste, and chance chooses among those"


def test_among_many_pins_a_part_is_told_from_and_says_about_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found, model, rows = _foresight(), _model().eval(), np.arange(1)
    with torch.no_grad():
        whole = float(found.loss(model, rows))
        monkeypatch.setattr(module, "MAX_CHOICES", 40)
        torch.manual_seed(1)
        parts = [float(found.loss(model, rows)) for _ in range(50)]
    assert np.mean(parts) == pytest.approx(whole, abs=0.35)
    assert np.std(parts) > 0


def test_without_histories_nothing_is_learnt_and_nothing_breaks() -> None:
    empty = _foresight(0)
    model = _model()
    learn_to_foresee(model, empty, foresight_plan(3, 1))
    assert float(BesideRanking(model, empty, 1)()) == 0.0
    short = _foresight(1)
    blank = Foresight(short.window, np.full_like(short.next_pin_BL, -1), short.share_P, short.tensors)
    assert float(blank.loss(model, np.arange(len(blank))).detach()) == 0.0


def test_parts_of_a_dataset_do_not_overlap() -> None:
    data = training_data(60)
    parts = part(collect(data.histories, data.pins.pin_ids))
    older = set(zip(parts.older.user_E.tolist(), parts.older.pin_E.tolist(), strict=True))
    asked = set(
        zip(*(column[parts.is_asked_E].tolist() for column in (parts.train.user_E, parts.train.pin_E)), strict=True)
    )
    label = {(user, pin) for user, pin in enumerate(parts.label_U.tolist()) if pin >= 0}
    assert not older & asked and not (older | asked) & label
    assert not parts.is_held_out_U[parts.older.user_E].any(), "held-out users teach nothing"
    assert len(older) + len(asked) + len(label) == len(parts.events.user_E)
    assert 0 < parts.is_held_out_U.sum() < 20
    assert (parts.asked_from_ms_U <= parts.label_time_ms_U).all()
