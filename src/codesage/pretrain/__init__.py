"""Stage I: masked language modelling and identifier deobfuscation."""
