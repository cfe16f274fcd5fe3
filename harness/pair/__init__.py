"""Do two functions compute the same? `deciding` says it of arrays, `asking` gets them."""
