"""A record and its verdict -> something to read. Takes stored records only; starts nothing."""
