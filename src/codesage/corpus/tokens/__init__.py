"""Tokenised corpora: what training reads."""
