"""Whether results can be relied on: files, keys, suites, and cells that are measured again."""
