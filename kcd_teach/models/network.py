"""The base of all networks: a name, one signature, and the small pieces that several families use."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcd_teach._checks import check_choice

Output: TypeAlias = Tensor | tuple[Tensor, list[Tensor]]
"""Logits [B, C], or logits and features."""


class Network(nn.Module):
    """An image classifier that can also return its features.

    ``name`` is the registered one if :func:`kcd_teach.models.create_model` built the network, else empty.
    """

    name: str = ""

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """Classify images; every family writes this out.

        Args:
            images: [B, in_channels, H, W], floating point.
            return_features: also return the features f0 .. f_last, from shallow to deep.
            preact: take f1 .. f_{last-1} before the last ReLU of their stage; f0 and the pooled feature stay as they
                are. Networks whose stages end without a ReLU and without a BatchNorm to borrow (MobileNetV2) return
                the plain ones.

        Returns:
            Logits [B, C]; with ``return_features`` a pair of logits and a list, whose tensors are [B, c, h, w] except
            the last one, which is pooled, [B, D].

        Raises:
            ValueError: ``preact`` without ``return_features``; in the family :class:`~kcd_teach.models.WideResNet`
                also ``preact`` in train mode.
        """
        raise NotImplementedError


class WithFeatures(Network):
    """Any network, with the outputs of some of its layers as features; :func:`with_features` makes it.

    Its weights have the names that they have in the network itself, so that files of one are files of the other.

    Attributes:
        network: the network, unchanged.
        layers: the layers whose outputs are the features, from shallow to deep.
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[str], changes: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)
        self._changes = dict(changes)
        self.name = getattr(network, "name", "")

    def forward(self, images: Tensor, return_features: bool = False, preact: bool = False) -> Output:
        """See :meth:`Network.forward`; with ``preact`` too, features are what the layers give."""
        check_preact(return_features, preact)
        if not return_features:
            plain: Tensor = self.network(images)
            return plain
        seen: dict[str, Any] = {}

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda module, inputs, output: seen.__setitem__(name, output)

        # For this one call only: what is hooked for good would be shared by copies, and could not be saved.
        hooks = [
            self.network.get_submodule(name).register_forward_hook(keep(name)) for name in dict.fromkeys(self.layers)
        ]
        try:
            logits = self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        features = [self._feature(name, seen) for name in self.layers]
        return logits, [*features[:-1], features[-1] if features[-1].ndim == 2 else global_average(features[-1])]

    def _feature(self, name: str, seen: Mapping[str, Any]) -> Tensor:
        """The output of a layer as a feature."""
        if name not in seen:
            raise ValueError(f"layer {name!r} takes no part in answering images; name another one")
        feature = seen[name]
        if name in self._changes:
            feature = self._changes[name](feature)
        if not isinstance(feature, Tensor) or feature.ndim not in (2, 4):
            given = f"a tensor {list(feature.shape)}" if isinstance(feature, Tensor) else f"a {type(feature).__name__}"
            raise ValueError(
                f"layer {name!r} must give a map [B, c, h, w] or a vector [B, D], got {given}; name another one, or give a "
                "function that makes one of it"
            )
        return feature

    def state_dict(self, *arguments: Any, **settings: Any) -> Any:
        """That of the network."""
        return self.network.state_dict(*arguments, **settings)

    def load_state_dict(self, *arguments: Any, **settings: Any) -> Any:
        """That of the network."""
        return self.network.load_state_dict(*arguments, **settings)

    def extra_repr(self) -> str:
        """The layers, by which features, and so runs, differ, with the code of what changes them."""
        from kcd_teach.fingerprints import code_of  # which knows data sets and methods, and these know networks

        return ", ".join(
            f"{name} by {code_of(self._changes[name])}" if name in self._changes else name for name in self.layers
        )


def with_features(
    network: nn.Module, features: Sequence[str] | Mapping[str, Callable[[Tensor], Tensor] | None]
) -> WithFeatures:
    """A network of anyone's, so that methods which compare features can ask it for them; the network is not changed.

    Args:
        network: ``network(images) -> logits [B, C]``.
        features: names of layers, as ``network.named_modules()`` has them, from shallow to deep, whose outputs are the
            features f0, f1, ..; the last one is averaged to the pooled feature [B, D], and may be the one before it once
            more. Methods need three or more. A mapping gives, beside each name, a function of the output where that is
            no map [B, c, h, w], or None. An output that the next layer changes in place is seen changed.

    Raises:
        ValueError: a layer that the network does not have; no layers.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 10))
    >>> logits, features = with_features(network, ["0", "1", "2"])(torch.zeros(2, 1, 8, 8), return_features=True)
    >>> [tuple(feature.shape) for feature in features]
    [(2, 4, 6, 6), (2, 4, 6, 6), (2, 6)]
    """
    if isinstance(features, str) or not features:
        raise ValueError(f"features must be names of layers, from shallow to deep, got {features!r}")
    known = [name for name, _ in network.named_modules() if name]
    for name in features:
        check_choice("layer", name, known)
    changes = features if isinstance(features, Mapping) else {}
    return WithFeatures(network, tuple(features), {name: change for name, change in changes.items() if change})


class Stage(nn.Sequential):
    """Blocks that return their sum before its ReLU: ReLUs between them, none after the last one.

    Whoever runs the stage gets the pre-activation feature and applies :meth:`finish` for the plain one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_width, h, w] to the last block's sum [B, width, h / stride, w / stride]."""
        first, *others = self
        out: Tensor = first(x)
        for block in others:
            out = block(self.finish(out))
        return out

    def finish(self, x: Tensor) -> Tensor:
        """What follows each block's sum, the same shape."""
        return F.relu(x)


def check_preact(return_features: bool, preact: bool) -> None:
    """Raise ValueError for ``preact`` without ``return_features``."""
    if preact and not return_features:
        raise ValueError("preact=True chooses between two kinds of features: it needs return_features=True")


def global_average(x: Tensor) -> Tensor:
    """Average over all positions, for images of any size: [B, c, h, w] to [B, c]."""
    return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle: interleave the channels of ``groups`` equal parts, so that a1 a2 b1 b2 becomes a1 b1 a2 b2.

    >>> channel_shuffle(torch.arange(6.0).reshape(1, 6, 1, 1), 2).flatten().tolist()
    [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    dealt: Tensor = x.unflatten(1, (groups, -1)).transpose(1, 2)
    return dealt.flatten(1, 2)


def init_convolutions(model: nn.Module) -> None:
    """Normal weights of standard deviation sqrt(2 / (k k out)), in depthwise convolutions too; biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_linear(linear: nn.Linear) -> None:
    """Normal weights of standard deviation 0.01; biases zero."""
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
