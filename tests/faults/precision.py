"""Reduced products where the hardware has none: every product of torch with rounded operands.

What a mode of the library does is done by hand in forward and backward, float32 only. It stands in
for the mode, so that a whole run of a reduced profile can be tried anywhere.
"""

from __future__ import annotations


def _products(round_):
    """Replace torch's matrix product by one whose operands are rounded first."""
    import torch

    plain = torch.Tensor.__matmul__

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            a, b = round_(a), round_(b)
            ctx.save_for_backward(a, b)
            return plain(a, b)

        @staticmethod
        def backward(ctx, grad):
            a, b = ctx.saved_tensors
            grad = round_(grad)
            return plain(grad, b.T), plain(a.T, grad)

    def matmul(a, b):
        return Rounded.apply(a, b) if a.dtype == torch.float32 else plain(a, b)

    torch.Tensor.__matmul__ = matmul


def bfloat16_products(backend):
    """Operands rounded to the nearest bfloat16."""
    import torch

    _products(lambda a: a.to(torch.bfloat16).to(torch.float32))


def tf32_products(backend):
    """Operands cut to ten bits, as a tensor core reads them."""
    import torch

    _products(lambda a: (a.contiguous().view(torch.int32) & -(1 << 13)).view(torch.float32))


def tf32_on_cuda(backend):
    """The library's own mode, in products and convolutions; nothing of the kind on a CPU."""
    import torch

    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "tf32"
