"""MLPScratch on Fashion-MNIST: Dive into Deep Learning 5.2, as data."""

from harness.interface import Parameter, Workload

MLP_SCRATCH = Workload(
    name="mlp-scratch",
    model="MLPScratch",
    sizes={"num_inputs": 784, "num_outputs": 10, "num_hiddens": 256},
    sigma=0.01,
    parameters=(
        Parameter("W1", (784, 256), "normal"),
        Parameter("b1", (256,), "zeros"),
        Parameter("W2", (256, 10), "normal"),
        Parameter("b2", (10,), "zeros"),
    ),
    loss="softmax-cross-entropy",
    optimiser="sgd",
    lr=0.1,
    batch_size=256,
    epochs=10,
    dataset="fashion-mnist",
)
