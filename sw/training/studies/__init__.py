"""Studies: several networks trained and pruned, and what became of them in one table.

A study is a file here and a line in ``STUDIES``.
"""

from __future__ import annotations

from golden.errors import look_up
from sw.training.studies.deep_compression import DEEP_COMPRESSION
from sw.training.studies.distillation import DISTILLATION
from sw.training.studies.granularity import GRANULARITY
from sw.training.studies.hardware import HARDWARE, HARDWARE_RESNET_8
from sw.training.studies.lstm import LSTM_STUDY
from sw.training.studies.sensitivity import SENSITIVITY
from sw.training.studies.sparsity import SPARSITY
from sw.training.studies.structured import STRUCTURED
from sw.training.studies.study import Study, StudyTask

__all__ = ["STUDIES", "Study", "StudyTask", "find"]

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        SPARSITY,
        SENSITIVITY,
        GRANULARITY,
        STRUCTURED,
        DISTILLATION,
        DEEP_COMPRESSION,
        LSTM_STUDY,
        HARDWARE,
        HARDWARE_RESNET_8,
    )
}


def find(name: str) -> Study:
    """Return a study by name.

    Raises
    ------
    UserError
        There is none of this name.
    """
    return look_up("Study", STUDIES, name)
