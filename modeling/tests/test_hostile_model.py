"""A model archive that holds code is refused, and the code does not run."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chassis.errors import Corrupt
from modeling.model_bundle import WEIGHTS_FILE, load_weights


class Touch:
    """Makes a file when it is read by somebody who lets pickle have its way."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._path}",)


def archives(trap: Path) -> dict[str, bytes]:
    """The same trap in every form that `torch.load` knows, and things that are no archive."""
    plain = pickle.dumps({"weight": Touch(trap), "bias": torch.zeros(1)})
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({"weight": Touch(trap), "bias": torch.zeros(1)}, new)
    torch.save({"weight": Touch(trap)}, old, _use_new_zipfile_serialization=False)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../evil", b"x")
        archive.writestr("archive/data.pkl", plain)
    script = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and readers of old archives are not
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), script)
    return {
        "pickle": plain,
        "archive": new.getvalue(),
        "old archive": old.getvalue(),
        "zip that leaves its folder": zipped.getvalue(),
        "compiled code": script.getvalue(),
        "half an archive": new.getvalue()[: len(new.getvalue()) // 2],
        "nothing": b"",
        "text": b"import os",
    }


@pytest.mark.parametrize("kind", archives(Path("x")))
@pytest.mark.filterwarnings("ignore")
def test_code_in_a_model_is_refused_and_does_not_run(tmp_path: Path, kind: str) -> None:
    trap = tmp_path / "sprung"
    (tmp_path / WEIGHTS_FILE).write_bytes(archives(trap)[kind])
    with pytest.raises(Corrupt, match="does not fit the model"):
        load_weights(nn.Linear(1, 1), tmp_path)
    assert not trap.exists()


def test_the_trap_works_where_nobody_takes_care(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    pickle.loads(archives(trap)["pickle"])  # noqa: S301  # this is what the others must not do
    assert trap.exists()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    np.save(tmp_path / "a.npy", np.asarray([Touch(trap)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "a.npy", allow_pickle=False)
    assert not trap.exists()
