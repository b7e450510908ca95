"""Puts trained weights into the package: half-precision safetensors, the ONNX file made of them where the network has
an ONNX form, and the manifest.

    python scripts/bundle_weights.py runs/default/weights.safetensors default --licence "..." --card "..."

Both files hold the same numbers: the ONNX file is exported from the weights as half precision rounds them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tapetum.deploy.export import export
from tapetum.weights.loading import load_model, method_of, read_weights, save_model
from tapetum.weights.registry import FOLDER, MANIFEST, sha256_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, help="a file that `tapetum train` wrote")
    parser.add_argument("name", help="name of the bundled model")
    parser.add_argument("--licence", required=True)
    parser.add_argument("--card", required=True, help="one or two sentences: what for, trained on what, how good")
    parser.add_argument("--task", help="what they were trained for, of a method with tasks")
    options = parser.parse_args()

    provenance = json.loads(read_weights(options.weights).metadata["tapetum.provenance"])
    network = load_model(options.weights).half()
    FOLDER.mkdir(exist_ok=True)
    safetensors, onnx = FOLDER / f"{options.name}.safetensors", FOLDER / f"{options.name}.onnx"
    save_model(network, safetensors, provenance)
    exported = None
    if network.properties.no_onnx is None:
        exported = export(network.float(), onnx, provenance=provenance)

    manifest = FOLDER / MANIFEST
    entries = json.loads(manifest.read_text()) if manifest.is_file() else {}
    entries[options.name] = {
        "method": method_of(network).name,
        "path": safetensors.name,
        "onnx": exported and onnx.name,
        "sha256": sha256_of(safetensors),
        "onnx_sha256": exported and sha256_of(onnx),
        "licence": options.licence,
        "card": options.card,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    if options.task is not None:
        entries[options.name]["task"] = options.task
    temporary = manifest.with_suffix(".part")
    temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, manifest)
    for path in (safetensors, onnx) if exported else (safetensors,):
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    if exported:
        print(f"largest difference between ONNX Runtime and torch: {exported.max_error:.1e}")


if __name__ == "__main__":
    main()
