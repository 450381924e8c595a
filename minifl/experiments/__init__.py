"""The paper's tables and figures as data: which runs, and the paper's numbers beside ours."""

from minifl.experiments.figures import FIGURES
from minifl.experiments.tables import TABLES

STUDIES = {study.name: study for study in (*TABLES, *sorted(FIGURES))}
