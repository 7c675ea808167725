"""Storage: files, digests, strict JSON, and a Hub repository seen as files."""
