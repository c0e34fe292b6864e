"""Evaluation of encoders: search and classification, with intervals."""
