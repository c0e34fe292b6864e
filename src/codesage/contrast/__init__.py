"""Stage II: bimodal contrastive learning on (text, code) pairs."""
