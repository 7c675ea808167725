"""Files, digests, strict JSON, and a Hub repository seen as files."""
