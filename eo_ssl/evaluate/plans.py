"""What is compared at which profile: methods, label fractions, and what each training may cost."""

from dataclasses import dataclass, replace

CURVE = (0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Sweep:
    """Some methods on one task at some label fractions."""

    task: str
    methods: tuple[str, ...]
    fractions: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Budget:
    """What every model of a task gets: updates, batch, looks at validation and tiles per patch (0: all)."""

    updates: int
    batch_size: int
    evaluations: int
    val_tiles: int = 0
    test_tiles: int = 0


@dataclass(frozen=True)
class Plan:
    """The grid of a profile. `ratio` is the backbone's learning rate over the head's in fine-tuning."""

    classify: Budget
    segment: Budget
    rates: tuple[float, ...]
    parts: dict[str, tuple[Sweep, ...]]
    ratio: float = 0.3
    cached_crops: int = 4
    unet_width: int = 16

    def budget(self, task: str) -> Budget:
        """The budget of a task."""
        return self.segment if task == "segment" else self.classify


SCRATCH = ("late", "early", "s1", "s2")
FROZEN = ("dual-frozen", "mma-frozen", "simclr-frozen")
TUNED = ("dual-finetune", "mma-finetune", "simclr-finetune")
RGB = ("simclr-rgb-frozen", "simclr-rgb-finetune")
SWIN = ("swin-finetune", "swin-frozen", "swin-scratch")
DEEP = ("resnet50-finetune", "resnet50-frozen", "resnet50-scratch")
SEGMENT = ("unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble")
_LAPTOP_PARTS = {
    "fusion": (Sweep("single", SCRATCH), Sweep("multi", SCRATCH)),
    "few-labels": (
        Sweep("single", ("dual-finetune", "late"), CURVE),
        Sweep("single", FROZEN, CURVE),  # cached features: nearly free
        Sweep("single", ("mma-finetune", "early"), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN),
    ),
    "swin": (Sweep("single", SWIN, (0.1, 1.0)),),
    "segmentation": (
        Sweep("segment", SEGMENT),
        Sweep("segment", ("swinunet-scratch", "swinunet-finetune"), (0.1,)),
    ),
}
# All that both papers show: the tables of single- and multi-label classification, the curves over label
# fractions of classification and segmentation, Swin beside ResNet-50; UNet and ensemble for the figure.
_ALL_PARTS = {
    "fusion": (Sweep("single", SCRATCH, CURVE), Sweep("multi", SCRATCH, CURVE)),
    "few-labels": (
        Sweep("single", FROZEN + TUNED + RGB + ("late", "early"), CURVE),
        Sweep("multi", FROZEN + TUNED + RGB + ("late", "early"), CURVE),
    ),
    "swin": (Sweep("single", SWIN + DEEP, CURVE),),
    "segmentation": (Sweep("segment", SEGMENT, CURVE),),
}
_GPU_PARTS = {
    **_LAPTOP_PARTS,
    "few-labels": (
        Sweep("single", ("dual-finetune", "mma-finetune", "late", "early"), CURVE),
        Sweep("single", FROZEN, CURVE),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN),
    ),
    "swin": (Sweep("single", SWIN + DEEP, (0.1, 1.0)),),
}
_SMOKE_PARTS = {
    "fusion": (Sweep("single", ("s1", "s2", "early", "late")), Sweep("multi", ("early", "late"))),
    "few-labels": (
        Sweep("single", ("dual-finetune", "dual-frozen", "late"), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune", "simclr-frozen", "mma-finetune", "mma-frozen", "early")),
        Sweep("multi", ("dual-finetune", "dual-frozen")),
    ),
    "swin": (Sweep("single", SWIN),),
    "segmentation": _LAPTOP_PARTS["segmentation"][:1],
}

PLANS: dict[str, Plan] = {
    "smoke": Plan(
        classify=Budget(6, 8, 2, val_tiles=1, test_tiles=1),
        segment=Budget(4, 4, 2, val_tiles=1, test_tiles=1),
        rates=(1e-3,),
        parts=_SMOKE_PARTS,
        cached_crops=1,
        unet_width=4,
    ),
    "laptop": Plan(
        # Half of the tiles, in turn: neighbouring tiles tell little more, and the whole grid fits a coffee break.
        classify=Budget(100, 32, 8, val_tiles=2, test_tiles=2),
        segment=Budget(120, 16, 6, val_tiles=1, test_tiles=2),
        rates=(1e-3, 3e-3, 1e-2),
        parts=_LAPTOP_PARTS,
        unet_width=8,
    ),
    "gpu": Plan(
        # With the presets about 70 PFLOP, so that the course fits half an hour at 50 TFLOP/s (`--dry-run` counts).
        classify=Budget(160, 48, 5, val_tiles=2, test_tiles=2),
        segment=Budget(160, 16, 4, val_tiles=1, test_tiles=2),
        rates=(3e-4, 1e-3, 3e-3),
        parts=_GPU_PARTS,
        unet_width=32,
    ),
    "paper": Plan(
        classify=Budget(6000, 32, 30),
        segment=Budget(6000, 16, 30),
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
        parts=_ALL_PARTS,
        cached_crops=16,
        unet_width=64,
    ),
}
# Every method and task of the paper's plan at two label fractions, each trained for a moment.
PLANS["paper-rehearsal"] = replace(
    PLANS["paper"],
    classify=Budget(2, 4, 1, val_tiles=1, test_tiles=1),
    segment=Budget(2, 4, 1, val_tiles=1, test_tiles=1),
    rates=(1e-3,),
    parts={
        part: tuple(replace(sweep, fractions=(0.1, 1.0)) for sweep in sweeps)
        for part, sweeps in _ALL_PARTS.items()
    },
    cached_crops=1,
    unet_width=4,
)
