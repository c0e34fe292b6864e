"""Folders on object stores, leases on them, and Ray: what corpora and search share when one machine is not enough."""
