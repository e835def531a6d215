"""The Triton kernel against plain operations: in Triton's interpreter everywhere, on a device where there is one."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modeling.dcat.attention import _explicit, attend_history_and_self

pytest.importorskip("triton", reason="Triton is not installed here; DCAT does without")

ROOT = Path(__file__).parents[3]

CASES = {
    "ragged": ([70, 3, 128], 5),
    "an empty history": ([0, 9], 17),
    "no padding": ([64, 64], 33),
    "one event": ([1], 1),
}
Inputs = tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor], torch.Tensor | None]


def _inputs(lengths: list[int], num_candidates: int, device: str) -> Inputs:
    random = torch.Generator().manual_seed(4)
    users, size = len(lengths), max(lengths)
    query, own_key, own_value = (torch.randn(users, 2, num_candidates, 32, generator=random) for _ in range(3))
    # As the context pass leaves them: views of [U, L, 2, H, E].
    key, value = torch.randn(users, size, 2, 2, 32, generator=random).permute(2, 0, 3, 1, 4)
    bias = torch.zeros(users, 1, 1, size)
    for user, length in enumerate(lengths):
        bias[user, ..., length:] = -torch.inf
    parts = [part.to(device) for part in (query, own_key, own_value, key, value)]
    mask = bias.to(device) if min(lengths) < size else None
    return parts[0], (parts[1], parts[2]), (parts[3], parts[4]), mask


def test_the_kernels_arithmetic_equals_plain_operations() -> None:
    """In a process of its own: Triton decides at import whether it interprets or compiles."""
    script = f"from {__name__} import check_interpreted; check_interpreted()"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal"] * len(CASES)


def check_interpreted() -> None:
    """What the process does: one word for each case whose numbers are equal."""
    crossing = importlib.import_module("modeling.dcat.triton_crossing").crossing
    for lengths, num_candidates in CASES.values():
        given = _inputs(lengths, num_candidates, "cpu")
        torch.testing.assert_close(crossing(*given), _explicit(*given), rtol=1e-5, atol=1e-5)
        sys.stdout.write("equal\n")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: here only the arithmetic is tested")
@pytest.mark.parametrize(("lengths", "num_candidates"), CASES.values(), ids=list(CASES))
def test_the_kernel_on_a_device_equals_plain_operations(lengths: list[int], num_candidates: int) -> None:
    given = _inputs(lengths, num_candidates, "cuda")
    with torch.inference_mode():
        torch.testing.assert_close(attend_history_and_self(*given), _explicit(*given), rtol=1e-4, atol=1e-4)
