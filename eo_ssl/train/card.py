"""The model card that goes with every exported pair of encoders."""

import json
from typing import Any

_HEADER = """---
library_name: eo_ssl
license: mit
tags:
- earth-observation
- sentinel-1
- sentinel-2
- self-supervised-learning
- {method}
---
"""

_BODY = """# {method} · {backbone}

Encoders for Sentinel-1 and Sentinel-2 patches, pretrained without labels.

| | |
|---|---|
| Method | {method} |
| Backbone | {backbone}, one per sensor |
| Input | crops of {image_size} × {image_size} pixels of 10 m |
| Sentinel-1 | {s1_bands}: σ⁰ in dB |
| Sentinel-2 | {s2_bands}: reflectance (DN / 10⁴) |
| Data | {data} |
| Epochs | best of {epochs}: epoch {epoch}, chosen by {select} on held-out scenes |
| Code | eo_ssl, commit {commit} |

Inputs are standardised band by band with the statistics in `config.json`, which come from the training
scenes alone.

## Use

```python
from eo_ssl.train.checkpoint import load_encoders

encoders, statistics = load_encoders("path/to/this/folder")
```

or `PretrainedEncoders.from_pretrained("name/on/the/hub")`.

## Held-out scenes

{metrics}

Chance for top-5 is {chance}. These numbers describe the pretraining task, not land-cover accuracy:
fine-tune before you judge.

## Limits

The encoders know the seasons, regions and sensors of their training data. Encoders trained on simulated
landscapes are for teaching: they have seen no real scene.

## Settings

```json
{config}
```
"""


def model_card(meta: dict[str, Any]) -> str:
    """README.md of a checkpoint, in the hub's form, from its meta data; what is unknown says so."""
    metrics = meta.get("metrics") or {}
    config = meta.get("config") or {}
    lines = [f"| {name} | {value:.4g} |" for name, value in metrics.items() if isinstance(value, int | float)]
    table = "\n".join(["| measure | value |", "|---|---|", *lines]) if lines else "Not measured."
    values = {
        "method": meta.get("method", "unknown"),
        "backbone": meta.get("backbone", "unknown"),
        "image_size": meta.get("image_size", "unknown"),
        "s1_bands": ", ".join(meta.get("s1_bands") or ["unknown"]),
        "s2_bands": ", ".join(meta.get("s2_bands") or ["unknown"]),
        "data": meta.get("data", "unknown"),
        "epochs": config.get("epochs", "unknown"),
        "epoch": meta.get("epoch", "unknown"),
        "select": str(meta.get("select", "loss")).removeprefix("val_"),
        "commit": meta.get("commit", "unknown"),
        "metrics": table,
        "chance": f"{metrics['val_chance_top5']:.3g}" if "val_chance_top5" in metrics else "unknown",
        "config": json.dumps(config, indent=2, sort_keys=True),
    }
    return _HEADER.format(**values) + _BODY.format(**values)
