"""SASRec, the baseline of sequential models: a causal Transformer over pin ids, scored against the same id table.

Kang and McAuley 2018; trained with the sampled softmax of the towers in place of one negative per positive, which makes
it stronger (Klenitskiy and Vasilev 2023). Shapes: R histories, L positions, B positives, P pins.
"""

import numpy as np
import torch
from torch import Tensor, nn

from modeling.arrays import Floats
from modeling.history_window import windows_at_end
from modeling.interactions import Interactions
from modeling.sampled_softmax import sampled_softmax
from modeling.training import Progress, TrainingPlan, seed_everything, silent, train
from modeling.transformer import HistoryTransformer
from services.cg.offline.contextual_windows import HistoryWindows
from services.cg.offline.tower_batch import TowerBatch

WIDTH, LENGTH = 64, 50
NUM_LAYERS, NUM_HEADS, DROPOUT = 2, 2, 0.2


class SasRec(nn.Module):
    """Raw inner products of hidden states and id embeddings."""

    def __init__(self, num_pins: int) -> None:
        super().__init__()
        self.ids = nn.Embedding(num_pins, WIDTH)
        self.transformer = HistoryTransformer(
            WIDTH, num_layers=NUM_LAYERS, num_heads=NUM_HEADS, max_length=LENGTH, dropout=DROPOUT
        )
        nn.init.normal_(self.ids.weight, std=0.05)

    def states(self, pin_RL: Tensor) -> Tensor:
        """[R, L, D]; -1 = no event."""
        return torch.as_tensor(self.transformer(self.ids(pin_RL.clamp(min=0)), pin_RL >= 0))

    def loss(self, batch: TowerBatch, log_q_P: Tensor) -> Tensor:
        """Sampled softmax without temperature."""
        states_BD = self.states(batch.pin_RL)[batch.row_to_request_B, batch.position_B.clamp(min=0)]
        items_BD = self.ids(batch.target_B)
        log_q_B = log_q_P[batch.target_B]
        return sampled_softmax(states_BD, items_BD, log_q_B, batch.user_id_B, batch.target_B, temperature=1.0)


def sasrec_scores(train_on: Interactions, plan: TrainingPlan, progress: Progress = silent) -> Floats:
    """Score of every pin for every user after the last event [U, P]."""
    seed_everything(plan.seed)
    model, windows = SasRec(train_on.num_pins), HistoryWindows(train_on, LENGTH)
    share_P = np.bincount(train_on.pin_E, minlength=train_on.num_pins) / max(1, len(train_on.pin_E))
    log_q_P = torch.from_numpy(np.log(np.maximum(share_P, 1e-9)).astype(np.float32))
    train(
        model,
        len(windows),
        lambda row_B: model.loss(windows.batch(row_B), log_q_P),
        plan,
        phase="sasrec",
        progress=progress,
    )
    with torch.no_grad():
        states_ULD = model.states(torch.from_numpy(windows_at_end(train_on, LENGTH).pin_BL))
        return np.asarray((states_ULD[:, -1] @ model.ids.weight.T).numpy())
