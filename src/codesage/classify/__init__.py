"""Classification: labels for code, from an encoder, frozen or fine-tuned, and a linear head.

Data flow: `data.py` reads labelled code, `head.py` learns and applies the head, `folds.py` measures it by
cross-validation, `training.py` trains as the paper does, `tuned.py` keeps a fine-tuned encoder with its head, `commands.py` is
`codesage classify`.
"""
