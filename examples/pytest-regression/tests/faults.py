"""Faults to plant, to see the tests fail: each takes the backend and changes it, in its worker."""


def rate_one_per_mille_too_high(backend):
    """The learning rate is off by 0.1 %: invisible in a loss curve."""
    make = backend.trainer

    def trainer(workload):
        made = make(workload)
        made.rate *= 1.001
        return made

    backend.trainer = trainer


def bias_gradient_forgotten(backend):
    """The first bias has no gradient."""
    engine = backend.network.engine
    backward = engine.backward

    def forgetful(layers, x, y):
        loss, grads = backward(layers, x, y)
        (weight, bias), *others = grads
        return loss, [(weight, 0 * bias), *others]

    engine.backward = forgetful
