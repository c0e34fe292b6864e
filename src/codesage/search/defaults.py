"""Defaults that the command line shows. This module imports nothing, so that `codesage --help` starts without numpy."""

DENSE_WEIGHT = 2.0  # weight of the ranking by vectors; full text has 1
MOST_OF_QUERY = 10_000  # characters of a query that are searched for; each further word would take more time
MOST_DENSE_WEIGHT = 1_000  # with more, full text counts for nothing, and scores overflow
CLONE_SIMILARITY = 0.85  # lowest cosine of two functions that count as doing the same (docs/log.md)
CLONE_LINES = 5  # shortest of such functions: shorter ones, such as getters, are alike everywhere
# New objects until Python looks for cycles, which a search makes few of; by default it does so every 700.
OBJECTS_BETWEEN_COLLECTIONS = 50_000
NO_SPINNING = "4"  # OPENBLAS_THREAD_TIMEOUT: threads of numpy sleep at once, and do not use 45 ms before they first do
