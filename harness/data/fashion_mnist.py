"""Fashion-MNIST: 60 000 + 10 000 images of clothing, 28 x 28, ten classes.

Source of the files and of their licence (MIT): https://github.com/zalandoresearch/fashion-mnist
"""

from __future__ import annotations

from harness.data import idx, synthetic
from harness.data.source import Source

# The official files' arrays.
REAL_SHA256 = "59cd805782c4ec902435acc4cc7b1b45825018f3f709ee611c4f756747455e5d"

SOURCE = Source(
    name="fashion-mnist",
    title="Fashion-MNIST",
    files=(idx.NAMES,),
    read=idx.read_set,
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    make=synthetic.make,
    maker="harness.data.synthetic",
    folders=("fashion-mnist",),
    origin="https://github.com/zalandoresearch/fashion-mnist",
    variable="FASHION_MNIST_DIR",
    sha256=idx.packed(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    # The publisher's bucket has no https. What mirrors send is checked.
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    pinned={
        (REAL_SHA256, None): (
            "c8e7985e4e6a3382c3c25c81a43502a695894fef5d797f4c58a637801efb1612",
            "0c0f08b9d95e81a9c662a7e200cbb82a22e7669e3a79c4e861585d1dbf736efd",
        )
    },
)
