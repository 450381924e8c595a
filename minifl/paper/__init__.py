"""The paper's tables and figures as data: which runs, and the paper's numbers beside ours."""

from minifl.paper.figures import FIGURES
from minifl.paper.tables import TABLES

STUDIES = {study.name: study for study in (*TABLES, *sorted(FIGURES))}
