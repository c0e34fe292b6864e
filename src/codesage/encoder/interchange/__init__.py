"""Models in the conventions of transformers and sentence-transformers, both ways, without remote code.

In: a folder that `encoder/hub.py` wrote. Out: what AutoConfig, AutoModel, AutoModelForMaskedLM,
AutoModelForSequenceClassification, AutoTokenizer and SentenceTransformer make of it. `registration.py` imports the three
files here when transformers is imported; nothing else does.
"""
