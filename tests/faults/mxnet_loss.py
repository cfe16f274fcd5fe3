"""What the MXNet backend's loss is not; planted in its own environment only."""

from __future__ import annotations


def gluon_loss(backend):
    """The loss of MXNet's own high-level interface, whose float32 goes through oneDNN."""
    from mxnet import gluon

    from backends.mxnet import mlp_scratch

    mlp_scratch.loss = lambda Y_hat, y: gluon.loss.SoftmaxCrossEntropyLoss()(Y_hat, y).mean()
