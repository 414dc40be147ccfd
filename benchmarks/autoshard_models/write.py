"""Writes the models that autoshard is measured on as StableHLO text: needs jax (the "examples" extra).

  python benchmarks/autoshard_models/write.py FOLDER [MODEL ...] [--devices 8,32,64,256]     the published sizes
  python benchmarks/autoshard_models/write.py --small                                       small/ beside this file

A model is written for so many devices (MODEL_DEVICES.mlir: the batch grows with them). Small sizes, one for models that
differ in sizes only, are to be executed on 8 devices. All are train steps with Adam, but for llama2_7b_decode.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import export
from convolutions import UNet, WideResNet, unet, wide_resnet
from graph_network import GraphNetwork, graph_network
from mixtures import Experts, Latent, Mixture, mixture
from transformers import Decoder, Vision, cached, decoder, vision

LLAMA2_7B = Decoder(32, 4096, 11008, 32, 32, 128, 32000)
LLAMA3_8B = Decoder(32, 4096, 14336, 32, 8, 128, 128256)
LLAMA3_70B = Decoder(80, 8192, 28672, 64, 8, 128, 128256, sequences=1)
T32 = Decoder(32, 4096, 11008, 32, 32, 128, 32000, sequence=1024, sequences=1, tied=True, scanned=False)
MIXTRAL = Mixture(Decoder(32, 4096, 14336, 32, 8, 128, 32000), Experts(8, 2, 14336))
DEEPSEEK = Mixture(
    Decoder(61, 7168, 18432, 128, 128, 128, 129280, sequences=1), Experts(256, 8, 2048, shared=True), 3,
    Latent(1536, 512, 64, 128, 128),
)
VIT = Vision(Decoder(32, 1280, 5120, 16, 16, 80, 0, sequences=16, gated=False), 224, 14, 1000)

SMALL = Decoder(8, 32, 64, 8, 8, 8, 64, sequence=16, sequences=1, dtype="float32")
GROUPED = replace(SMALL, heads=16, kv_heads=8)


def gpt(layers: int, hidden: int, heads: int) -> Decoder:
    """A GPT of Alpa's suite."""
    return Decoder(layers, hidden, 4 * hidden, heads, heads, hidden // heads, 51200, sequence=1024, sequences=4,
                   gated=False, tied=True)


# Model -> what makes its program, and its published size.
MODELS: dict[str, tuple[Callable[[Any, int], export.Program], Any]] = {
    "llama2_7b": (decoder, LLAMA2_7B),
    "llama3_8b": (decoder, LLAMA3_8B),
    "llama3_70b": (decoder, LLAMA3_70B),
    "llama3_70b_unrolled": (decoder, replace(LLAMA3_70B, scanned=False)),
    "gpt_1_3b": (decoder, gpt(24, 2048, 32)),
    "gpt_6_7b": (decoder, gpt(32, 4096, 32)),
    "gpt_39b": (decoder, gpt(48, 8192, 64)),
    "t32": (decoder, T32),
    "mixtral_8x7b": (mixture, MIXTRAL),
    "deepseek_v3": (mixture, DEEPSEEK),
    "vit_h": (vision, VIT),
    "llama2_7b_decode": (cached, replace(LLAMA2_7B, sequences=8)),
    "wide_resnet": (wide_resnet, WideResNet((3, 4, 6, 3), 512, 2, 224, 1000, 4)),
    "unet": (unet, UNet((256, 512, 768, 1024), 3, 64, 16, 1024, 8)),
    "graph_network": (graph_network, GraphNetwork(2048, 65536, 16, 512, 1024, 24)),
}
# The same, small.
SMALL_MODELS: dict[str, tuple[Callable[[Any, int], export.Program], Any]] = {
    "llama2": (decoder, SMALL),
    "llama3": (decoder, GROUPED),
    "llama3_unrolled": (decoder, replace(GROUPED, layers=2, scanned=False)),
    "gpt": (decoder, replace(SMALL, gated=False, tied=True)),
    "t32": (decoder, replace(SMALL, layers=2, tied=True, scanned=False)),
    "mixtral": (mixture, Mixture(GROUPED, Experts(8, 2, 64))),
    "deepseek": (
        mixture, Mixture(replace(SMALL, layers=9), Experts(16, 2, 32, shared=True), 1, Latent(32, 16, 8, 8, 8)),
    ),
    "vit": (vision, Vision(replace(SMALL, gated=False), 16, 4, 32)),
    "decode": (cached, SMALL),
    "wide_resnet": (wide_resnet, WideResNet((2, 1), 8, 2, 16, 16, 1, dtype="float32")),
    "unet": (unet, UNet((16, 32), 1, 8, 8, 32, 1, dtype="float32")),
    "graph_network": (graph_network, GraphNetwork(32, 128, 16, 16, 32, 8)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("autoshard_models"))
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--devices", default="8,32,64,256", metavar="LIST", help="how many (default: 8,32,64,256)")
    parser.add_argument("--small", action="store_true", help="write the small sizes, which are kept beside this file")
    args = parser.parse_args()
    if args.small:
        for name, (make, size) in SMALL_MODELS.items():
            write(Path(__file__).parent / "small" / f"{name}.mlir", make(size, 8))
        return
    for name in args.models or MODELS:
        make, size = MODELS[name]
        for devices in map(int, args.devices.split(",")):
            write(args.folder / f"{name}_{devices}.mlir", make(size, devices))


def write(path: Path, program: export.Program) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(export.text(program))
    print(f"{path}  {path.stat().st_size / 1024:.0f} KB", flush=True)


if __name__ == "__main__":
    main()
