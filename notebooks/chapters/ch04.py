"""Chapter 04: NT-Xent with every number on screen, temperatures, collapse, training curves; the checks."""

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from eo_ssl import show
from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close, numbers
from eo_ssl.losses import clip_loss, nt_xent

PARTNER = show.PALETTE[2]


def worked_example(
    similarity: np.ndarray, logits: np.ndarray, share: np.ndarray, pictures: Sequence[np.ndarray]
) -> Figure:
    """The four steps of NT-Xent for N pairs: cosines, logits, softmax of each row, and the partner's −log share.

    Shape: similarity, logits, share (2N, 2N), logits with −inf on the diagonal; 2N pictures (H, W, 3).
    """
    count = len(similarity)
    partner = np.roll(np.eye(count, dtype=bool), count // 2, axis=1)
    logits = np.where(np.isfinite(logits), logits, np.nan)  # hatched
    fig, ((one, two), (three, four)) = plt.subplots(2, 2, figsize=(7.8, 8.1))
    top = float(np.nanmax(np.abs(logits)))
    for ax, values, end, cmap, form, title in (
        (one, similarity, 1, "RdBu_r", "{:z.1f}", "1 · cosine of every view with every other"),
        (two, logits, top, "RdBu_r", "{:z.0f}", "2 · divided by τ, own view masked"),
        (three, share, 1, "Greens", "{:.2f}", "3 · softmax of each row: shares"),
    ):
        span = (-end, end) if cmap == "RdBu_r" else (0, end)
        show.matrix(values, form=form, span=span, cmap=cmap, outlined=partner, ax=ax, title=title)
    for k, picture in enumerate(pictures):  # left of its row and below its column
        left = (-0.13, 1 - (k + 0.94) / count, 0.11, 0.88 / count)
        below = ((k + 0.06) / count, -0.13, 0.88 / count, 0.11)
        for inset in (ax.inset_axes(box) for ax in (one, two, three) for box in (left, below)):
            inset.imshow(picture, aspect="auto")
            inset.set_axis_off()
    loss, chance = -np.log(share[partner]), np.log(count - 1)
    four.barh([f"view {i + 1}" for i in range(count)], loss, color=PARTNER, height=0.7)
    four.axvline(loss.mean(), 0, 0.88, color="black", linewidth=1.5, label=f"mean {loss.mean():.2f}")
    four.axvline(chance, 0, 0.88, color=show.COLOURS["chance"], ls="--", label=f"chance {chance:.2f}")
    four.set(title="4 · −log of the partner's share", ylim=(count - 0.4, -1.4))
    four.legend(loc="upper right", ncols=2)
    alt = f"""Four steps for {count // 2} pairs of views: a table of {count} by {count} cosines; the same divided by the
    temperature, diagonal masked; softmax shares by row, the partner's outlined ({share[partner].min():.2f} to
    {share[partner].max():.2f}); minus the logarithm of those as bars, mean {loss.mean():.2f}, chance {chance:.2f}."""
    return show.describe(fig, alt)


def temperatures(shares: Mapping[float, np.ndarray]) -> Figure:
    """Softmax shares (1 + K,) of the partner, first, and of the negatives, hardest first, by temperature."""
    fig, axes = plt.subplots(1, len(shares), figsize=(7.6, 2.5), sharey=True)
    for ax, (temperature, share) in zip(axes, shares.items()):
        ax.bar(0, share[0], color=PARTNER, width=1, label="partner")
        ax.bar(np.arange(2, len(share) + 1), share[1:], color=show.PALETTE[1], width=1, label="negatives")
        ax.set(title=f"τ = {temperature:g}", xticks=[], xlabel="partner, then negatives", ylim=(0, 1))
    axes[0].set_ylabel("softmax share")
    axes[-1].legend(loc="upper right")
    said = [f"τ = {t:g}: partner {s[0]:.0%}, hardest negative {s[1]:.0%}" for t, s in shares.items()]
    alt = f"Softmax shares of a partner and {len(share) - 1} negatives. {'; '.join(said)}."
    return show.describe(fig, alt)


def circles(
    embeddings: Mapping[str, np.ndarray],
    spread: Mapping[str, Sequence[float]],
    colour: np.ndarray,
    label: str,
) -> Figure:
    """Embeddings (V, 2) on the unit circle, one panel per loss, and their spread during training."""
    fig, axes = plt.subplots(1, len(embeddings) + 1, figsize=(7.8, 2.8), width_ratios=[1, 1, 1.25])
    # Of the radius only: it shows crowding.
    jitter = 1 + 0.045 * np.random.default_rng(0).standard_normal((len(colour), 1))
    for ax, (name, z) in zip(axes, embeddings.items()):
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="#c5ccd3"))
        points = ax.scatter(*(z * jitter).T, c=colour, s=14, linewidth=0)
        ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", title=name)
        ax.set_axis_off()
    fig.colorbar(points, ax=axes[0], location="left", shrink=0.7, label=label)
    steps, plain = range(len(next(iter(spread.values())))), {name: {"marker": ""} for name in spread}
    show.lines(steps, spread, "update", "spread (1 = even)", styles=plain, ax=axes[-1], ylim=(0, 1.1))
    return show.describe(fig, f"Embeddings on the unit circle after training. {fig.eo_alt}")


@exercise("NT-Xent", praise="The same loss trains SimCLR here and Dual-SimCLR in chapter 05.")
def check_nt_xent(my_nt_xent: Callable) -> None:
    generator = torch.Generator().manual_seed(4)
    plain, noise = torch.randn(2, 5, 8, generator=generator)
    z1, z2 = 3 * plain, plain + 0.7 * noise  # lengths differ: they must be normalised
    ours, theirs = z1.clone().requires_grad_(), z1.clone().requires_grad_()
    got, wanted = my_nt_xent(ours, z2.clone(), 0.2), nt_xent(theirs, z2, 0.2)
    expect(isinstance(got, Tensor), "Return a torch tensor, so that gradients can flow through it.")
    expect(got.ndim == 0, f"Return one number, the mean over all views; the shape is {tuple(got.shape)}.")
    views, long = torch.arange(10), torch.cat([z1, z2])
    unit = F.normalize(long, dim=1)
    dots, cosines = long @ long.T / 0.2, unit @ unit.T / 0.2  # (10, 10)
    unmasked = F.cross_entropy(cosines, views.roll(5))
    dots.fill_diagonal_(-torch.inf)
    cosines.fill_diagonal_(-torch.inf)
    mistakes = {
        "each view is compared with itself, which is always its most similar one: mask the diagonal": unmasked,
        "the embeddings do not have length 1: divide each by its norm first": F.cross_entropy(dots, views.roll(5)),
        "the temperature has no effect: divide the cosines by it": nt_xent(z1, z2, 1.0),
        "multiply or divide? The cosines are divided by the temperature": nt_xent(z1, z2, 5.0),
        "this is the sum over the views; take the mean": 10 * wanted,
        "negatives from the same set are missing: each view has 2N − 2 negatives": clip_loss(z1, z2, 0.2),
        "only the first set asks, and only the second may answer: all 2N views ask, and all others may answer":
            F.cross_entropy(cosines[:5, 5:], views[:5]),
        "partners are N rows apart (0 and N), not next to each other": F.cross_entropy(cosines, views ^ 1),
    }  # fmt: skip
    expect_close(got, wanted, "the loss of 5 pairs at τ = 0.2", rtol=1e-4, mistakes=mistakes)
    expect(got.requires_grad, "No gradient flows: was a value detached, or taken out with .item()?")
    try:
        got.backward()
    except RuntimeError as error:
        hint = "If a value was changed in place: mask the logits with −inf, not their exponentials."
        raise ExerciseFailed(f"The loss is right, but it has no gradient. {error} {hint}") from error
    wanted.backward()
    expect_close(ours.grad, theirs.grad, "the gradient with respect to z1", rtol=1e-3, atol=1e-5)
    tiny = my_nt_xent(z1.clone(), -z2.clone(), 0.005)
    safe = "At τ = 0.005 the loss is not finite: an exponential overflowed. F.cross_entropy works on logits."
    expect(np.isfinite(numbers(tiny)), safe)
    expect_close(tiny, nt_xent(z1, -z2, 0.005), "the loss at τ = 0.005")


@exercise("information", praise="Doubling the batch buys about one more bit.")
def check_information(information: Callable) -> None:
    nats = math.log(255) - 2.0
    mistakes = {
        "this is in nats; divide by log 2 for bits": nats,
        "this is log(2N): a view is never its own candidate, so 2N − 1": (math.log(256) - 2.0) / math.log(2),
        "this is log N: both views of each place are candidates": (math.log(128) - 2.0) / math.log(2),
        "dividing by log 2 also applies to the loss, which is in nats": math.log2(255) - 2.0,
    }
    got, worse = information(2.0, 128), information(7.0, 128)
    expect_close(got, nats / math.log(2), "the bound for a loss of 2 and 128 pairs", mistakes=mistakes)
    negative = {"mutual information is never negative: return 0": (math.log(255) - 7) / math.log(2)}
    expect_close(worse, 0.0, "the bound for a loss above guessing", mistakes=negative)


@exercise("log-sum-exp", praise="Every stable softmax subtracts the largest entry first.")
def check_log_sum_exp(log_sum_exp: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, generator=generator)
    mistakes = {
        "the sum runs over the wrong dimension, or over everything": x.exp().sum().log().expand(4),
        "this is the sum of exponentials; its logarithm is missing": x.exp().sum(1),
        "subtract the largest entry inside, and add it again outside": (x - x.max(1, keepdim=True).values).exp().sum(1).log(),
    }  # fmt: skip
    expect_close(log_sum_exp(x.clone()), x.logsumexp(1), "log-sum-exp of small numbers", mistakes=mistakes)
    hard = torch.tensor([[1000.0, 999.0, 0.0], [-1000.0, -1000.0, -1000.0], [-1000.0, 0.0, 1.0]])
    mistakes = {
        "exp runs out of numbers: subtract the maximum of the row": hard.exp().sum(1).log(),
        "each row needs its own maximum": hard.max() + (hard - hard.max()).exp().sum(1).log(),
    }
    expect_close(log_sum_exp(hard.clone()), hard.logsumexp(1), "rows of unequal size", mistakes=mistakes)
    masked = torch.tensor([[-torch.inf, 1.0, 2.0], [3.0, -torch.inf, 0.5]])
    expect_close(log_sum_exp(masked), masked.logsumexp(1), "rows with a masked entry")
