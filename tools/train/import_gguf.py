#!/usr/bin/env python3
"""GGUF -> checkpoint, the way back of export_gguf.py: training goes on from a published model.
  import_gguf.py hearth-tiny.gguf out.pt      (then: train.py lm --base out.pt ...)
Needs gguf-py (GGUF_PY names its folder when it is not installed)."""
import os, sys
if os.environ.get("GGUF_PY"): sys.path.insert(0, os.environ["GGUF_PY"])
import numpy as np, torch, gguf
reader = gguf.GGUFReader(sys.argv[1])
t = {x.name: torch.from_numpy(np.array(gguf.dequantize(x.data, x.tensor_type), dtype=np.float32)) for x in reader.tensors}
field = lambda n: reader.fields["llama." + n].contents()
L = field("block_count")
sd = {"emb": t["token_embd.weight"], "nf": t["output_norm.weight"]}
for l in range(L):
    b = f"blk.{l}."
    sd[f"n1.{l}"], sd[f"n2.{l}"] = t[b + "attn_norm.weight"], t[b + "ffn_norm.weight"]
    sd[f"qkv.{l}"] = torch.cat([t[b + f"attn_{n}.weight"] for n in "qkv"])
    sd[f"o.{l}"], sd[f"dn.{l}"] = t[b + "attn_output.weight"], t[b + "ffn_down.weight"]
    sd[f"gu.{l}"] = torch.cat([t[b + "ffn_gate.weight"], t[b + "ffn_up.weight"]])
cfg = dict(vocab=sd["emb"].shape[0], d=field("embedding_length"), layers=L, heads=field("attention.head_count"), ff=field("feed_forward_length"), ctx=field("context_length"), eps=float(field("attention.layer_norm_rms_epsilon")), base=float(field("rope.freq_base")), causal=True)
torch.save(dict(cfg=cfg, sd=sd), sys.argv[2])
print(sys.argv[2], cfg)
