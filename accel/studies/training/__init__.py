"""Studies: several networks trained and pruned, and what became of them in one table.

A study is a file here and a line in ``STUDIES``.
"""

from __future__ import annotations

from accel.studies.study import Study, StudyTask
from accel.studies.training.deep_compression import DEEP_COMPRESSION
from accel.studies.training.distillation import DISTILLATION
from accel.studies.training.granularity import GRANULARITY
from accel.studies.training.hardware import HARDWARE, HARDWARE_RESNET_8
from accel.studies.training.lstm import LSTM_STUDY
from accel.studies.training.scores import SCORES_STUDY
from accel.studies.training.sensitivity import SENSITIVITY
from accel.studies.training.sparsity import SPARSITY
from accel.studies.training.structured import STRUCTURED
from golden.errors import look_up

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
        SCORES_STUDY,
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
