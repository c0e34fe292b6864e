"""Classification: labels for code, from the vectors of a frozen encoder and a linear head.

Data flow: `data.py` reads labelled code, `head.py` learns and applies the head, `folds.py` measures it by
cross-validation, `commands.py` is `codesage classify`.
"""
