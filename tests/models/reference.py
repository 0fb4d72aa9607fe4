"""Every family once more, the slow and obvious way: from the names of a state dict and functional operations alone.

Each function maps a state dict and images to logits, plain features and pre-activation features. Only strides and the
order of operations are written down here; widths, depths, groups and shortcuts follow from which entries exist.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, max_pool2d, relu

State = dict[str, Tensor]
Answer = tuple[Tensor, list[Tensor], list[Tensor]]


def reference_forward(name: str, state: State, images: Tensor) -> Answer:
    families = {
        "resnet": residual, "ResNet50": residual, "mini_resnet": residual, "wrn": wide, "vgg": vgg,
        "mini_convnet": plain, "MobileNetV2": mobilenet, "ShuffleV1": shuffle_v1, "ShuffleV2": shuffle_v2,
    }  # fmt: skip
    prefix = max((prefix for prefix in families if name.startswith(prefix)), key=len)
    return families[prefix](state, images)


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    groups = x.shape[1] // weight.shape[1]
    return conv2d(x, weight, state.get(f"{name}.bias"), stride, padding=weight.shape[2] // 2, groups=groups)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=False, eps=1e-5)


def blocks(state: State, prefix: str) -> Iterator[tuple[str, bool]]:
    """Names of the blocks of a stage, and whether it is the first one."""
    index = 0
    while any(name.startswith(f"{prefix}.{index}.") for name in state):
        yield f"{prefix}.{index}", index == 0
        index += 1


def finish(state: State, name: str, last: Tensor, features: list[Tensor], raw: list[Tensor]) -> Answer:
    pooled = last.mean(dim=(2, 3))
    logits = linear(pooled, state[f"{name}.weight"], state[f"{name}.bias"])
    return logits, [*features, pooled], [*raw, pooled]


def residual(state: State, images: Tensor) -> Answer:
    """resnet and ResNet50: the latter has a third convolution, which leaves the stride to the second one."""
    mini_stride = 2 if images.shape[1] == 1 else 1  # only the networks of the course are tried with grey images
    x = relu(norm(state, "bn1", conv(state, "conv1", images, mini_stride)))
    features, raw = [x], [x]
    stage = 1
    while f"layer{stage}.0.conv1.weight" in state:
        for block, first in blocks(state, f"layer{stage}"):
            stride = 2 if first and stage > 1 else 1
            if f"{block}.conv3.weight" in state:
                out = relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x)))
                out = relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", out, stride)))
                out = norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", out))
            else:
                out = relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x, stride)))
                out = norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", out))
            for shortcut in ("downsample", "shortcut"):
                if f"{block}.{shortcut}.0.weight" in state:
                    x = norm(state, f"{block}.{shortcut}.1", conv(state, f"{block}.{shortcut}.0", x, stride))
            total = out + x
            x = relu(total)
        features.append(x)
        raw.append(total)
        stage += 1
    return finish(state, "fc" if "fc.weight" in state else "linear", x, features, raw)


def plain(state: State, images: Tensor) -> Answer:
    x, features, raw = images, [], []
    for block in ("block1", "block2", "block3"):
        before = norm(state, f"{block}.1", conv(state, f"{block}.0", x, 2))
        x = relu(before)
        features.append(x)
        raw.append(before)
    return finish(state, "fc", x, features, [features[0], *raw[1:]])


def wide(state: State, images: Tensor) -> Answer:
    x = conv(state, "conv1", images)
    features = [x]
    for stage in (1, 2, 3):
        for block, first in blocks(state, f"block{stage}.layer"):
            stride = 2 if first and stage > 1 else 1
            active = relu(norm(state, f"{block}.bn1", x))
            out = relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv1", active, stride)))
            out = conv(state, f"{block}.conv2", out)
            if f"{block}.convShortcut.weight" in state:
                x = out + conv(state, f"{block}.convShortcut", active, stride)
            else:
                x = out + x
        features.append(x)
    following = ("block2.layer.0.bn1", "block3.layer.0.bn1", "bn1")
    raw = [norm(state, name, x) for name, x in zip(following, features[1:], strict=True)]
    return finish(state, "fc", relu(raw[-1]), features, [features[0], *raw])


def vgg(state: State, images: Tensor) -> Answer:
    x, features, raw = images, [], []
    for block in range(5):
        if block in (1, 2, 3) or (block == 4 and images.shape[2] == 64):
            x = max_pool2d(x, 2)
        position = 0
        while f"block{block}.{position}.weight" in state:
            before = norm(state, f"block{block}.{position + 1}", conv(state, f"block{block}.{position}", x))
            x = relu(before)
            position += 3
        features.append(x)
        raw.append(before)
    return finish(state, "classifier", x, features, [features[0], *raw[1:]])


def mobilenet(state: State, images: Tensor) -> Answer:
    x = relu(norm(state, "conv1.1", conv(state, "conv1.0", images, 2)))
    features = [x]
    for stage, stage_stride in enumerate((1, 1, 2, 2, 1, 2, 1)):
        for block, first in blocks(state, f"blocks.{stage}"):
            stride = stage_stride if first else 1
            out = relu(norm(state, f"{block}.conv.1", conv(state, f"{block}.conv.0", x)))
            out = relu(norm(state, f"{block}.conv.4", conv(state, f"{block}.conv.3", out, stride)))
            out = norm(state, f"{block}.conv.7", conv(state, f"{block}.conv.6", out))
            x = x + out if out.shape == x.shape else out
        if stage in (1, 2, 4, 6):
            features.append(x)
    x = relu(norm(state, "conv2.1", conv(state, "conv2.0", x)))
    return finish(state, "classifier.0", x, features, features)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channel j of part i goes to place j groups + i."""
    size = x.shape[1] // groups
    return torch.stack([x[:, part * size + place] for place in range(size) for part in range(groups)], dim=1)


def shuffle_v1(state: State, images: Tensor) -> Answer:
    x = relu(norm(state, "bn1", conv(state, "conv1", images)))
    features, raw = [x], [x]
    for stage in (1, 2, 3):
        for block, first in blocks(state, f"layer{stage}"):
            groups = 1 if x.shape[1] == 24 else 3
            out = shuffled(relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x))), groups)
            out = relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", out, 2 if first else 1)))
            out = norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", out))
            if first:
                ninth = torch.full((x.shape[1], 1, 3, 3), 1 / 9, dtype=x.dtype)
                averages = conv2d(x, ninth, stride=2, padding=1, groups=x.shape[1])
                assert torch.allclose(averages, avg_pool2d(x, 3, 2, 1))
                total = torch.cat([out, averages], dim=1)
            else:
                total = out + x
            x = relu(total)
        features.append(x)
        raw.append(total)
    return finish(state, "linear", x, features, raw)


def shuffle_v2(state: State, images: Tensor) -> Answer:
    x = relu(norm(state, "bn1", conv(state, "conv1", images)))
    features, raw = [x], [x]
    for stage in (1, 2, 3):
        for block, first in blocks(state, f"layer{stage}"):
            if first:
                left = norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x, 2))
                left = relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", left)))
                right = relu(norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", x)))
                right = norm(state, f"{block}.bn4", conv(state, f"{block}.conv4", right, 2))
                right = norm(state, f"{block}.bn5", conv(state, f"{block}.conv5", right))
            else:
                half = x.shape[1] // 2
                left = x[:, :half]
                right = relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x[:, half:])))
                right = norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", right))
                right = norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", right))
            x = shuffled(torch.cat([left, relu(right)], dim=1), 2)
        features.append(x)
        raw.append(torch.cat([left, right], dim=1))
    x = relu(norm(state, "bn2", conv(state, "conv2", x)))
    return finish(state, "linear", x, features, raw)
