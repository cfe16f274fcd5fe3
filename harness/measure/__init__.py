"""Tensors -> measurements. The only wing that sees tensors and writes numbers of them down."""
