"""Can the teacher's pass be had cheaper, with the same answers up to rounding? ``python -m tests.benchmarks.teacher_pass``.

Its BatchNorm folded into the convolutions, and torch's compiler with frozen weights, beside the plain pass, in turn, on
one thread. Needs a C++ compiler; what the compiler takes is printed as well.
"""

import copy
import itertools
import time
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kcd_teach import load_dataset
from kcd_teach.recipe import Engine
from tests.benchmarks.material import in_turn, pair_of, random_images, ratio

PASSES, REPEATS = 8, 9


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy in which every BatchNorm that follows a convolution is a part of it."""
    network, order = copy.deepcopy(network), []
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [m.register_forward_hook(lambda *_, name=name, m=m: order.append((name, m))) for name, m in layers]
    network(images)
    for hook in hooks:
        hook.remove()
    for (_, conv), (name, norm) in itertools.pairwise(order):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(conv, norm)
            conv.weight, conv.bias = fused.weight, fused.bias
            network.set_submodule(name, nn.Identity())
    return network


def passes(network: nn.Module, images: Tensor) -> None:
    for _ in range(PASSES):
        network(images)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch._inductor.config.freezing = True
    for name in ("bundled", "R56>R20"):
        dataset = load_dataset("fashion-mnist-mini").first(10) if name == "bundled" else random_images(64)
        plain = Engine("cpu").prepare(pair_of(name, dataset)[1].eval())
        images = dataset.normalise(dataset.train_images[:64]).contiguous(memory_format=torch.channels_last)
        networks = {"plain": plain, "folded": folded(plain, images), "compiled": torch.compile(copy.deepcopy(plain))}
        began = time.perf_counter()
        networks["compiled"](images)
        print(f"{name}: compiled in {time.perf_counter() - began:.0f} s")
        works = {way: partial(passes, m, images) for way, m in networks.items()}
        seconds, answers = in_turn(works, REPEATS, torch.device("cpu")), plain(images)
        for way, network in networks.items():
            found, off = (
                ratio(seconds[way], seconds["plain"]),
                (network(images) - answers).abs().max() / answers.abs().max(),
            )
            print(
                f"{name}: {way} {found['median']:.2f} ({found['least']:.2f} .. {found['most']:.2f}), answers off by {off:.0e}"
            )


if __name__ == "__main__":
    main()
