"""What the backend's loss is not: a fault, planted by `--plant mxnet=FILE:gluon_loss`."""


def gluon_loss(backend):
    """The loss of MXNet's own high-level interface, whose float32 goes through oneDNN."""
    from mxnet import gluon
    from mxnet_backend import mlp_scratch

    mlp_scratch.loss = lambda Y_hat, y: gluon.loss.SoftmaxCrossEntropyLoss()(Y_hat, y).mean()
