"""Which rows a search of faiss may return. Shapes: N rows."""

import faiss
import numpy as np

from modeling.arrays import Bools


class RowFilter:
    """`selector` reads memory that this object holds: keep the object while it serves. Rows beyond N are not in it."""

    def __init__(self, is_allowed_N: Bools) -> None:
        self._bitmap = np.packbits(is_allowed_N, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(len(self._bitmap), faiss.swig_ptr(self._bitmap))
