"""Predictors folded for their masks: all that does not depend on the sound is computed once, at export.

A strategy with the same masks for every window (``FixedMasks``) makes places, queries, keys and most weights constants.
Only the products of its values are left for each window. The folded strategy predicts the same as the plain one, up to
rounding: export compares the two (``humwatch_training.export.graph.check_parity``).

Shapes: B windows, N = L * F bins, P passes, W the width; M latents, K the width of a key, R that of a readout, T_p
target bins of pass p, S_a bins of atom a.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from humwatch_training.networks.attentive import AttentiveNeuralProcess
from humwatch_training.networks.latent import LatentNeuralProcess
from humwatch_training.networks.masks import Partition
from humwatch_training.networks.strategies import FixedMasks, Predicted, Strategy

FOLDING = 1
"""Version of folding, raised whenever a folded strategy becomes another graph: kept graphs are then made anew."""


def fold(strategy: Strategy) -> Strategy:
    """Return the strategy with its constants computed, or itself where there are hardly any."""
    if isinstance(strategy, FixedMasks):
        network = strategy.network
        if isinstance(network, LatentNeuralProcess):
            return FoldedLatents(network, strategy.partitions).eval()
        if isinstance(network, AttentiveNeuralProcess):
            return FoldedAttention(network, strategy.partitions).eval()
    return strategy


def atoms_of(passes: Sequence[Partition], bins: int) -> tuple[list[Tensor], Tensor]:
    """Cut the bins into sets that every pass's context holds whole or not at all.

    Returns:
        Bins of each atom, int64 (S_a,), and the atoms that each pass reads, bool (P, A). Bins that no pass reads are
        in no atom.
    """
    member = torch.zeros(bins, len(passes), dtype=torch.bool)
    for number, partition in enumerate(passes):
        member[partition.context, number] = True
    codes, atom = torch.unique(member, dim=0, return_inverse=True)  # (A, P), (N,)
    read = codes.any(dim=1).nonzero().squeeze(1).tolist()
    return [(atom == number).nonzero().squeeze(1) for number in read], codes[read].T


class FoldedReader(nn.Module):
    """Reading of the context by the latents in every pass (``latent.ContextReader``), each bin read once.

    A latent's weights over two contexts differ by one factor, that of the softmax, so the sum over an
    atom of bins is computed once and serves all passes that read it. Place, value, standardisation, the band's usual
    level and the output layer's bias are in the matrices.
    """

    combination: Tensor
    share: Tensor
    output: Tensor
    offset: Tensor

    def __init__(self, network: LatentNeuralProcess, passes: Sequence[Partition]) -> None:
        super().__init__()
        reader, config = network.context_reader, network.config
        scores, place, value = (t.detach().double() for t in (reader.scores, reader.place, reader.value))
        likes = torch.exp(scores - scores.amax(dim=0))  # (N, M, H)
        slope = value / network.std_db.double()  # (N, H, D), a dB
        level = network.usual(torch.arange(config.bins)).double()  # (N,)
        contributions = torch.einsum("nmh,nhd->nmhd", likes, place - slope * level[:, None, None]).flatten(
            2
        )  # (N, M, W)
        matrix = torch.einsum("nmh,nhd->nmhd", likes, slope).flatten(1)  # (N, M*W)
        atoms, reads = atoms_of(passes, config.bins)
        self.atoms = len(atoms)
        for number, bins in enumerate(atoms):
            self.register_buffer(f"bins_{number}", bins)
            self.register_buffer(f"matrix_{number}", matrix[bins].float())
        contexts = [partition.context for partition in passes]
        share = torch.stack([len(bins) / likes[bins].sum(dim=0) for bins in contexts])  # (P, M, H)
        share = share.repeat_interleave(config.width // config.heads, dim=2)  # (P, M, W)
        fixed = torch.stack([contributions[bins].sum(dim=0) for bins in contexts]) * share  # (P, M, W)
        output = network.output.weight.detach().double().T  # (W, W)
        offset = network.latents.detach().double() + network.output.bias.detach().double() + fixed @ output
        for name, tensor in (("combination", reads), ("share", share), ("output", output), ("offset", offset)):
            self.register_buffer(name, tensor.float())

    def forward(self, values: Tensor) -> Tensor:
        """Map values (B, N) in dB to latents before their norm (B, P, M, W)."""
        contributions = [
            values[:, self.get_buffer(f"bins_{a}")] @ self.get_buffer(f"matrix_{a}") for a in range(self.atoms)
        ]  # A of (B, M*W)
        passes, latents, width = self.share.shape
        by_atom = torch.stack(contributions).flatten(1)  # (A, B*M*W)
        read = (self.combination @ by_atom).view(passes, -1, latents, width).transpose(0, 1)  # (B, P, M, W)
        return (read * self.share) @ self.output + self.offset


class FoldedLayer(nn.Module):
    """A ``nn.TransformerEncoderLayer`` (post-norm, ReLU, no dropout) with fewer steps between its products."""

    query_key_value: Tensor
    bias: Tensor

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        attention = layer.self_attn
        self.heads = attention.num_heads
        width = attention.embed_dim
        scale = torch.ones(3 * width)
        scale[:width] = (width // self.heads) ** -0.5
        self.register_buffer("query_key_value", (attention.in_proj_weight.detach() * scale[:, None]).T.contiguous())
        self.register_buffer("bias", attention.in_proj_bias.detach() * scale)
        self.output = attention.out_proj
        self.feed_forward = nn.Sequential(layer.linear1, nn.ReLU(), layer.linear2)
        self.norm1, self.norm2 = layer.norm1, layer.norm2

    def forward(self, points: Tensor) -> Tensor:
        """Map (Q, M, W), Q sets of M points, to the same shape."""
        mixed = points @ self.query_key_value + self.bias  # (Q, M, 3*W)
        by_head = mixed.view(*points.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, Q, H, M, D)
        query, key, value = by_head[0], by_head[1], by_head[2]
        weights = torch.softmax(query @ key.transpose(-1, -2), dim=-1)  # (Q, H, M, M)
        attended = (weights @ value).transpose(1, 2).flatten(2)  # (Q, M, W)
        points = self.norm1(points + self.output(attended))
        result: Tensor = self.norm2(points + self.feed_forward(points))
        return result


class FoldedTargets(nn.Module):
    """Outputs of the target bins of every pass from its latents (``latent.TargetReader``), in dB.

    Queries, vectors, the scale of the outputs and the bands' usual levels are constants; the keys' bias weighs all
    latents alike and is left out.
    """

    def __init__(self, network: LatentNeuralProcess, passes: Sequence[Partition]) -> None:
        super().__init__()
        reader, std_db = network.target_reader, network.std_db
        self.passes = len(passes)
        self.key_weight = nn.Parameter(reader.key.weight.detach().T.contiguous(), requires_grad=False)  # (W, K)
        self.readout = reader.readout
        for number, partition in enumerate(passes):
            target = partition.target
            query = reader.query[target].detach() * reader.query.shape[-1] ** -0.5  # (T, K)
            vectors = reader.vectors[target].detach() * std_db  # (T, 2, R)
            bias = reader.bias[target].detach() * std_db  # (T, 2)
            bias[:, 0] += network.usual(target)
            self.register_buffer(f"query_{number}", query.T.contiguous())  # (K, T)
            self.register_buffer(f"vectors_{number}", vectors.permute(2, 1, 0).flatten(1).contiguous())  # (R, 2*T)
            self.register_buffer(f"bias_{number}", bias.T.contiguous())  # (2, T)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents (B, P, M, W) to the mean in dB and the raw spread of all passes' targets, both (B, T)."""
        keys, readouts = latents @ self.key_weight, self.readout(latents)  # (B, P, M, K), (B, P, M, R)
        parts = [self._pass(number, keys[:, number], readouts[:, number]) for number in range(self.passes)]
        return torch.cat([part[:, 0] for part in parts], dim=1), torch.cat([part[:, 1] for part in parts], dim=1)

    def _pass(self, number: int, keys: Tensor, readouts: Tensor) -> Tensor:
        """Map keys (B, M, K) and readouts (B, M, R) to two numbers a target (B, 2, T).

        The softmax over latents is written out: ONNX Runtime's own turns the last axis to it and back.
        """
        scores = keys @ self.get_buffer(f"query_{number}")  # (B, M, T)
        likes = torch.exp(scores - scores.amax(dim=1, keepdim=True))
        outputs = readouts @ self.get_buffer(f"vectors_{number}")  # (B, M, 2*T)
        outputs = outputs.view(*outputs.shape[:2], 2, -1)  # (B, M, 2, T)
        total = (likes.unsqueeze(2) * outputs).sum(dim=1) / likes.sum(dim=1, keepdim=True)  # (B, 2, T)
        read: Tensor = total + self.get_buffer(f"bias_{number}")
        return read


class FoldedLatents(Strategy):
    """A latent neural process with the same masks for every window."""

    network: LatentNeuralProcess
    target_index: Tensor

    def __init__(self, network: LatentNeuralProcess, passes: Sequence[Partition]) -> None:
        super().__init__()
        self.network = network
        self.context_reader = FoldedReader(network, passes)
        self.layers = _folded_layers(network.layers)
        self.target_reader = FoldedTargets(network, passes)
        self.register_buffer("target_index", torch.cat([partition.target for partition in passes]))

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the targets of every pass over windows (B, L, F) in dB, one pass after the other."""
        read = self.network.norm(self.context_reader(windows.flatten(1)))  # (B, P, M, W)
        latents = read.flatten(0, 1)  # (B*P, M, W)
        for layer in self.layers:
            latents = layer(latents)
        mean, spread = self.target_reader(latents.view_as(read))
        config = self.network.config
        return self.target_index.clone(), mean, config.std_floor + config.std_scale * softplus(spread)


class FoldedCrossAttention(nn.Module):
    """Cross-attention of one pass from the context's encodings to the targets, and the decoder."""

    queries: Tensor
    weights: Tensor
    value_weight: Tensor
    value_bias: Tensor
    first_weight: Tensor
    target_place: Tensor

    def __init__(self, network: AttentiveNeuralProcess, partition: Partition) -> None:
        super().__init__()
        self.cross = network.cross_attention
        attention, first = self.cross.attention, cast(nn.Linear, network.decoder[0])
        self.heads = attention.num_heads
        self.rest = network.decoder[1:]
        weights, biases = (cast(Tensor, t).chunk(3) for t in (attention.in_proj_weight, attention.in_proj_bias))
        context_x, target_x = (network.coordinates[bins] for bins in (partition.context, partition.target))
        queries = self.cross.position(target_x)  # (T, W)
        query = self._by_head(queries @ weights[0].T + biases[0])  # (H, T, D)
        key = self._by_head(self.cross.position(context_x) @ weights[1].T + biases[1])  # (H, C, D)
        attended = torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1)  # (H, T, C)
        constants = {
            "queries": queries,
            "weights": attended,
            "value_weight": weights[2].T,  # (W, W)
            "value_bias": biases[2],
            "first_weight": first.weight[:, target_x.shape[1] :].T,  # (W, W)
            "target_place": target_x @ first.weight[:, : target_x.shape[1]].T + first.bias,  # (T, W)
        }
        for name, tensor in constants.items():
            self.register_buffer(name, tensor.detach().contiguous())

    def forward(self, encodings: Tensor) -> Tensor:
        """Map encodings (B, C, W) to the decoder's output (B, T, 2)."""
        values = self._by_head(encodings @ self.value_weight + self.value_bias)  # (B, H, C, D)
        attended = self.cross.attention.out_proj((self.weights @ values).transpose(-3, -2).flatten(-2))  # (B, T, W)
        summary = self.cross.attention_norm(self.queries + attended)
        summary = self.cross.feed_forward_norm(summary + self.cross.feed_forward(summary))
        output: Tensor = self.rest(summary @ self.first_weight + self.target_place)
        return output

    def _by_head(self, points: Tensor) -> Tensor:
        """Map (.., n, W) to (.., H, n, D)."""
        return points.view(*points.shape[:-1], self.heads, -1).transpose(-3, -2)


class FoldedContext(nn.Module):
    """Encoder of one pass's context values (``attentive.Encoder``)."""

    bins: Tensor
    place: Tensor
    value: Tensor

    def __init__(self, network: AttentiveNeuralProcess, partition: Partition) -> None:
        super().__init__()
        first = cast(nn.Linear, network.encoder.embedding[0])
        self.rest = network.encoder.embedding[1:]
        self.layers = _folded_layers(network.encoder.layers)
        value = first.weight[:, 2] / network.std_db  # (W,), a dB
        place = network.coordinates[partition.context] @ first.weight[:, :2].T + first.bias  # (C, W)
        self.register_buffer("bins", partition.context)
        self.register_buffer("value", value.detach())
        self.register_buffer("place", (place - network.mean_db * value).detach())

    def forward(self, values: Tensor) -> Tensor:
        """Map values (B, N) in dB to encodings (B, C, W)."""
        points: Tensor = self.rest(self.place + values[:, self.bins].unsqueeze(-1) * self.value)
        for layer in self.layers:
            points = layer(points)
        return points


class FoldedAttention(Strategy):
    """The paper's attentive neural process with the same masks for every window.

    Queries and keys of the cross-attention are functions of places, so its weights are constants; so is the places'
    part of the first layer. The rest, and most of the cost, is the context's attention to itself.
    """

    network: AttentiveNeuralProcess
    target_index: Tensor

    def __init__(self, network: AttentiveNeuralProcess, passes: Sequence[Partition]) -> None:
        super().__init__()
        self.network = network
        self.passes = nn.ModuleList(
            nn.Sequential(FoldedContext(network, partition), FoldedCrossAttention(network, partition))
            for partition in passes
        )
        self.register_buffer("target_index", torch.cat([partition.target for partition in passes]))

    def forward(self, windows: Tensor) -> Predicted:
        """Predict the targets of every pass over windows (B, L, F) in dB, one pass after the other."""
        values, config = windows.flatten(1), self.network.config
        output = torch.cat([one(values) for one in self.passes], dim=1)  # (B, T, 2)
        std_db = config.std_floor + config.std_scale * softplus(output[..., 1])
        return self.target_index.clone(), self.network.in_db(output[..., 0]), std_db


def softplus(values: Tensor) -> Tensor:
    """Return log(1 + exp(values)) by operators that ONNX Runtime vectorises, which its Softplus is not."""
    return functional.relu(values) + torch.log(1.0 + torch.exp(-torch.abs(values)))


def _folded_layers(layers: nn.ModuleList) -> nn.ModuleList:
    return nn.ModuleList(FoldedLayer(cast(nn.TransformerEncoderLayer, layer)) for layer in layers)
