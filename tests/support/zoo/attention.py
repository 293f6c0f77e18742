"""Transformers: torch's own, hand-written ones, and those of Hugging Face from small configs."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from zoo.base import DYNAMO, Network, floats, several, tokens


class TorchEncoder(nn.Module):
    """Tokens through nn.TransformerEncoder, as its tutorial has it."""

    def __init__(self, norm_first=False, activation="relu"):
        super().__init__()
        self.embed, self.position = nn.Embedding(50, 16), nn.Parameter(torch.zeros(6, 16))
        layer = nn.TransformerEncoderLayer(
            16, 4, 24, batch_first=True, norm_first=norm_first, activation=activation, dropout=0.1
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x) + self.position).mean(1))


class TorchDecoder(nn.Module):
    """Self-attention with a causal mask, and attention to another sequence of another width; time comes first."""

    def __init__(self):
        super().__init__()
        self.memory, self.query = nn.Linear(3, 12), nn.Linear(5, 16)
        self.decoder = nn.TransformerDecoderLayer(16, 2, 20, dropout=0.0)
        self.cross = nn.MultiheadAttention(16, 2, kdim=12, vdim=12, batch_first=True)
        self.widen, self.head = nn.Linear(12, 16), nn.Linear(16, 4)
        self.register_buffer("causal", torch.triu(torch.full((6, 6), float("-inf")), 1))

    def forward(self, x, y):
        query, memory = self.query(x), self.memory(y).relu()
        steps = self.decoder(query.transpose(0, 1), self.widen(memory).transpose(0, 1), tgt_mask=self.causal)
        query = steps.transpose(0, 1)
        attended, _ = self.cross(query, memory, memory, need_weights=False)
        return self.head(query + attended)


class FusedAttention(nn.Module):
    """timm's ViT: one linear layer makes q, k and v, which a reshape and a permute part into heads.

    joined: the heads are joined again by `flatten`, or, as in timm, by the width of what came in: then neither the
    heads nor that width can change without the other.
    """

    def __init__(self, dim, heads, joined):
        super().__init__()
        self.num_heads, self.head_dim, self.joined = heads, dim // heads, joined
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        x = (attention @ v).transpose(1, 2)
        return self.proj(x.flatten(2) if self.joined == "flatten" else x.reshape(b, n, c))


class EinsumAttention(nn.Module):
    """Separate projections of shape (width, heads, size), joined by einsum; no linear layer at all."""

    def __init__(self, dim, heads, size):
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.zeros(dim, heads, size)) for _ in range(3))
        self.o = nn.Parameter(torch.zeros(heads, size, dim))

    def forward(self, x):
        q, k, v = (torch.einsum("bnd,dhk->bhnk", x, weight) for weight in (self.q, self.k, self.v))
        attention = torch.softmax(torch.einsum("bhqk,bhnk->bhqn", q, k) / math.sqrt(q.shape[-1]), -1)
        return torch.einsum("bhnk,hkd->bnd", torch.einsum("bhqn,bhnk->bhqk", attention, v), self.o)


class SplitAttention(nn.Module):
    """q, k, v by chunk; heads by view; torch's fused product."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (one.view(b, n, self.heads, -1).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        x = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x.transpose(1, 2).reshape(b, n, -1))


class PatchTransformer(nn.Module):
    """Patches by a strided convolution, a class token, pre-norm blocks around the given attention."""

    def __init__(self, attention):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.zeros(1, 1, 16))
        self.position = nn.Parameter(torch.zeros(1, 5, 16))
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(16), attention, nn.LayerNorm(16)
        self.fc1, self.fc2 = nn.Linear(16, 28), nn.Linear(28, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return self.head(self.norm(x)[:, 0])


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class SwiGLUNet(nn.Module):
    """Shazeer 2020, once with two layers and once with one layer that is chunked; RMSNorm of both kinds."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Embedding(50, 12), RMSNorm(12), nn.RMSNorm(12)
        self.w1, self.w3, self.w2 = nn.Linear(12, 20), nn.Linear(12, 20), nn.Linear(20, 12)
        self.packed, self.down = nn.Linear(12, 32), nn.Linear(16, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.embed(x)
        h = self.norm1(x)
        x = x + self.w2(functional.silu(self.w1(h)) * self.w3(h))
        gate, value = self.packed(self.norm2(x)).chunk(2, -1)
        return self.head(x + self.down(functional.gelu(gate) * value))


class Mixer(nn.Module):
    """Tolstikhin et al. 2021: the hidden units of one MLP stand over tokens, those of the other over channels."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.norm1, self.tokens1, self.tokens2 = nn.LayerNorm(12), nn.Linear(9, 10), nn.Linear(10, 9)
        self.norm2, self.channels1, self.channels2 = nn.LayerNorm(12), nn.Linear(12, 20), nn.Linear(20, 12)
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.tokens2(functional.gelu(self.tokens1(self.norm1(x).transpose(1, 2)))).transpose(1, 2)
        x = x + self.channels2(functional.gelu(self.channels1(self.norm2(x))))
        return self.head(self.norm(x).mean(1))


class SwinLike(nn.Module):
    """Liu et al. 2021: shifted windows by roll, view and permute, a bias table, patch merging by strided slices."""

    def __init__(self):
        super().__init__()
        self.window, self.heads = 2, 2
        self.patch, self.norm1 = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.table = nn.Parameter(torch.zeros(9, 2))
        self.register_buffer("index", torch.tensor([[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]))
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(8), nn.Linear(8, 18), nn.Linear(18, 8)
        self.merge_norm, self.reduction = nn.LayerNorm(32), nn.Linear(32, 16, bias=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1)
        attention = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5 + bias.unsqueeze(0)).softmax(-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(b, n, c))

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        s = self.window
        windows = torch.roll(self.norm1(x), (-1, -1), (1, 2)).view(b, h // s, s, w // s, s, c)
        windows = windows.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, s * s, c)
        windows = self.attend(windows).view(b, h // s, w // s, s, s, -1).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(windows.reshape(b, h, w, -1), (1, 1), (1, 2))
        x = x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.norm(self.reduction(self.merge_norm(x))).mean((1, 2)))


class NonLocal(nn.Module):
    """Wang et al. 2018: attention between positions of a feature map, by bmm of flattened convolutions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.theta, self.phi, self.g = (nn.Conv2d(12, 6, 1) for _ in range(3))
        self.w, self.head = nn.Conv2d(6, 12, 1), nn.Linear(12, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        b, _, h, w = x.shape
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        attention = torch.bmm(theta.transpose(1, 2), phi).softmax(-1)
        y = torch.bmm(attention, g.transpose(1, 2)).transpose(1, 2).reshape(b, -1, h, w)
        return self.head((x + self.w(y)).mean((2, 3)))


def hf_bert(attention):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28,
        max_position_embeddings=12, num_labels=4, attn_implementation=attention,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def hf_vit():
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28, image_size=12, patch_size=4,
        num_labels=4,
    )  # fmt: skip
    return ViTForImageClassification(config)


def hf_gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50, n_positions=12, n_embd=16, n_layer=2, n_head=4, use_cache=False, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config)


def hf_llama(tied=False):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4, max_position_embeddings=12, use_cache=False, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def bert_inputs(batch):
    generator = torch.Generator().manual_seed(100 + batch)
    mask = torch.ones(batch, 8, dtype=torch.long)
    mask[:, 6:] = 0
    return {"input_ids": torch.randint(0, 50, (batch, 8), generator=generator), "attention_mask": mask}


def by_name(name, sample):
    return lambda batch: {name: sample(batch)[0]}


_BERT = "bert.encoder.layer.0."
_BERT_UNITS = {
    _BERT + "intermediate.dense.weight": 28,
    _BERT + "attention.self.value.weight": None,
    "bert.pooler.dense.weight": 16,
}
_LLAMA_UNITS = {
    "model.layers.0.mlp.gate_proj.weight": 28,
    "model.layers.1.mlp.up_proj.weight": 28,
    "model.layers.0.self_attn.q_proj.weight": None,
    "model.layers.0.self_attn.k_proj.weight": None,
    "model.layers.0.self_attn.v_proj.weight": None,
}

NETWORKS = (
    Network(
        "nn.TransformerEncoder",
        TorchEncoder,
        tokens(6),
        {"encoder.layers.0.linear1.weight": 24, "encoder.layers.1.linear1.weight": 24},
        {"embed.weight": 16, "encoder.layers.0.linear2.weight": 16},
        opens_attention=True,
    ),
    Network(
        "nn.TransformerEncoder, attention as it is",
        TorchEncoder,
        tokens(6),
        {"encoder.layers.0.linear1.weight": 24, "encoder.layers.1.linear1.weight": 24},
    ),
    Network(
        "nn.TransformerEncoder norm first",
        lambda: TorchEncoder(True, "gelu"),
        tokens(6),
        {"encoder.layers.0.linear1.weight": 24},
        {"embed.weight": 16},
        opens_attention=True,
    ),
    Network(
        "nn.TransformerDecoderLayer and cross-attention",
        TorchDecoder,
        several((6, 5), (4, 3)),
        {"decoder.linear1.weight": 20, "memory.weight": 12},
        opens_attention=True,
    ),
    Network(
        "ViT with fused qkv",
        lambda: PatchTransformer(FusedAttention(16, 4, "flatten")),
        floats(3, 8, 8),
        {"fc1.weight": 28, "attention.qkv.weight": None},
        {"patch.weight": 16},
    ),
    Network(
        "ViT as in timm",
        lambda: PatchTransformer(FusedAttention(16, 4, "width")),
        floats(3, 8, 8),
        {"fc1.weight": 28},
    ),
    Network(
        "einsum attention",
        lambda: PatchTransformer(EinsumAttention(16, 4, 4)),
        floats(3, 8, 8),
        {"fc1.weight": 28},
        {"patch.weight": 16},
    ),
    Network(
        "chunked qkv attention",
        lambda: PatchTransformer(SplitAttention(16, 4)),
        floats(3, 8, 8),
        {"fc1.weight": 28},
        {"patch.weight": 16},
    ),
    Network(
        "SwiGLU and RMSNorm",
        SwiGLUNet,
        tokens(6),
        {"w1.weight": 20, "packed.weight": None},
        {"embed.weight": 12},
        exporter=DYNAMO,
    ),
    Network(
        "MLP-Mixer",
        Mixer,
        floats(3, 12, 12),
        {"tokens1.weight": 10, "channels1.weight": 20},
        {"patch.weight": 12},
        stays=("tokens2.weight",),
    ),
    Network(
        "Swin windows and patch merging",
        SwinLike,
        floats(3, 8, 8),
        {"fc1.weight": 18},
        {"reduction.weight": 16},
    ),
    Network("non-local block", NonLocal, floats(3, 6, 6), {"stem.weight": 12, "g.weight": 6}),
    Network("HF BERT sdpa", lambda: hf_bert("sdpa"), bert_inputs, _BERT_UNITS, {_BERT + "output.dense.weight": 16}),
    Network("HF BERT eager", lambda: hf_bert("eager"), bert_inputs, _BERT_UNITS, {_BERT + "output.dense.weight": 16}),
    Network(
        "HF ViT",
        hf_vit,
        by_name("pixel_values", floats(3, 12, 12)),
        {"vit.layers.0.mlp.fc1.weight": 28, "vit.layers.1.attention.v_proj.weight": 4},
        {"vit.layers.0.mlp.fc2.weight": 16},
    ),
    Network(
        "HF GPT-2",
        hf_gpt2,
        by_name("input_ids", tokens(8)),
        {"transformer.h.0.mlp.c_fc.weight": 64, "transformer.h.1.mlp.c_fc.weight": 64},
        {"transformer.wte.weight": 16},
        exporter=DYNAMO,
    ),
    Network(
        "HF Llama GQA",
        hf_llama,
        by_name("input_ids", tokens(8)),
        _LLAMA_UNITS,
        {"model.embed_tokens.weight": 16},
        exporter=DYNAMO,
    ),
    Network(
        "HF Llama GQA tied",
        lambda: hf_llama(True),
        by_name("input_ids", tokens(8)),
        _LLAMA_UNITS,
        {"model.embed_tokens.weight": 16},
        exporter=DYNAMO,
    ),
)
