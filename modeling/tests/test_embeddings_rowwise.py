"""Tables in few bits lose what theory says, keep constant rows, and read as the tables they came from."""

import pytest
import torch

from modeling.embeddings_rowwise import RowwiseEmbedding, quantised
from modeling.layers import HashedEmbedding

EXPECTED_RELATIVE_L2 = {4: 0.078, 8: 0.0046}  # of rows drawn from N(0, 1), groups of 32


def _normal(num_rows: int = 2_000, width: int = 64) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bits", [4, 8])
def test_the_loss_on_normal_rows_is_the_expected_one(bits: int) -> None:
    weight = _normal()
    found = RowwiseEmbedding(weight, bits)(torch.arange(len(weight)))
    error = float((found - weight).norm() / weight.norm())
    assert error == pytest.approx(EXPECTED_RELATIVE_L2[bits], rel=0.03)


@pytest.mark.parametrize(("bits", "share"), [(4, 0.3125), (8, 0.5625)])
def test_bytes_are_the_promised_share_of_fp16(bits: int, share: float) -> None:
    weight = _normal()
    assert RowwiseEmbedding(weight, bits).num_bytes == share * weight.numel() * 2


@pytest.mark.parametrize("bits", [4, 8])
def test_each_number_is_within_half_a_step_of_its_group(bits: int) -> None:
    weight = _normal(500, 32) * torch.logspace(-3, 3, 500)[:, None]
    table = RowwiseEmbedding(weight, bits)
    step = table.scale_RG.float()
    ends = 2.0**-10 * weight.abs().amax(dim=1, keepdim=True)  # fp16 moves the ends of the range by at most this
    assert bool(((table(torch.arange(500)) - weight).abs() <= 0.5 * step + 2 * ends).all())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("value", [0.0, -1.5, 1e-9, 60_000.0])
def test_a_constant_row_comes_back_as_itself(bits: int, value: float) -> None:
    found = RowwiseEmbedding(torch.full((1, 32), value), bits)(torch.tensor([0]))
    assert torch.isfinite(found).all()
    assert found.unique().tolist() == [torch.tensor(value).half().item()]


def test_a_group_narrower_than_fp16_can_tell_is_constant_and_finite() -> None:
    weight = 1e-7 * torch.rand(3, 32)
    found = RowwiseEmbedding(weight, 4)(torch.arange(3))
    assert float((found - weight).abs().max()) <= 1.2e-7


def test_a_hashed_embedding_reads_the_same_rows_through_its_codes() -> None:
    torch.manual_seed(0)
    whole = HashedEmbedding(num_rows=512, width=128, num_tables=4)
    hashes = torch.randint(-(2**62), 2**62, (3, 7))
    few = quantised(whole, 8)
    found, expected = few(hashes), whole(hashes).detach()
    assert found.shape == (3, 7, 128)
    assert float((found - expected).norm() / expected.norm()) < 0.006
    assert not list(few.parameters()), "nothing left to train"
    assert len(list(whole.parameters())) == 4, "the original is untouched"


def test_codes_survive_saving_and_loading() -> None:
    first, second = RowwiseEmbedding(_normal(), 4), RowwiseEmbedding(torch.zeros(2_000, 64), 4)
    second.load_state_dict(first.state_dict())
    rows = torch.arange(2_000)
    assert torch.equal(first(rows), second(rows))


@pytest.mark.parametrize(
    ("weight", "bits"),
    [(torch.zeros(2, 48), 4), (torch.zeros(2, 32), 2), (torch.full((2, 32), torch.nan), 8), (1e6 * _normal(2, 32), 8)],
    ids=["width", "bits", "nan", "beyond fp16"],
)
def test_what_cannot_be_quantised_is_refused(weight: torch.Tensor, bits: int) -> None:
    with pytest.raises(ValueError, match=r"bits|finite"):
        RowwiseEmbedding(weight, bits)
