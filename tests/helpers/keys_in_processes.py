"""What each of two processes does in `test_keys.py`; each writes what it has. Not a test itself."""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from excise import encode_images, initialize_keys
from tests.helpers.tiny_images import images, key_value_model, processor


def keys_of(folder: Path) -> dict:
    """Encodes images and initialises keys, alone or with others."""
    model = key_value_model(num_pairs=16, num_codebooks=5)
    encode, encoded = type(model).encode, []

    def counted(self, pixel_values):
        encoded.append(len(pixel_values))
        return encode(self, pixel_values)

    type(model).encode = counted
    try:
        encodings = encode_images(model, images(60), processor(), cache_dir=folder, shard_size=10, progress=False)
    finally:
        type(model).encode = encode
    path = folder / "keys.safetensors"
    error = initialize_keys(model, encodings, epochs=2, batch_size=20, checkpoint=path, progress=False)
    name = model.config.bottleneck.codes_id
    return {"keys": model.bottleneck.keys.tolist(), "codes_id": name, "error": error, "encoded": sum(encoded)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    folder = Path(sys.argv[1])
    found = keys_of(folder) | {"world": state.num_processes}
    (folder / f"{state.process_index}.json").write_text(json.dumps(found))
