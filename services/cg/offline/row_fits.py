"""The generators that are trained on training rows."""

from collections.abc import Mapping

from services.cg.offline.contextual_task import fit_contextual_task
from services.cg.offline.rows_task import Fit
from services.cg.offline.shopping_task import fit_shopping_task

FITS: Mapping[str, Fit] = {"contextual": fit_contextual_task, "shopping": fit_shopping_task}
