"""Executor: filter events of known automatic clients."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads


class DropBots:
    """Keeps rows whose user id starts with none of `user_id_prefixes`.

    By row only, never by rate within a batch: batches differ between runtimes, results must not.
    """

    name = "drop_bots"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"user_id_prefixes": list}, required=("user_id_prefixes",))
        prefixes = enrichment.parameters.get("user_id_prefixes")
        if isinstance(prefixes, list) and not all(isinstance(prefix, str) and prefix for prefix in prefixes):
            problems.append("user_id_prefixes must be texts that are not empty")
        return problems + check_reads(enrichment, ("user_id",))

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        is_bot = np.zeros(batch.num_rows, dtype=np.bool_)
        for prefix in step.parameters["user_id_prefixes"]:
            is_bot |= pc.starts_with(batch.column("user_id"), prefix).to_numpy(zero_copy_only=False)
        return ExecutorResult(keep=~is_bot)
