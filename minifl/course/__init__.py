"""The course: six assignments carved from this package, and the grader for what students hand in."""
