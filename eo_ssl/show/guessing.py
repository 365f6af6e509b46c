"""Is retrieval better than guessing? One sentence, worded by the interval of each method."""

import pandas as pd
from scipy.stats import binomtest

from eo_ssl.show.evidence import caution


def against_guessing(table: pd.DataFrame, number: int, k: int, evidence: bool) -> str:
    """Recall@k from radar to optical of each method, with its 95% Wilson interval, beside that of guessing.

    `table` is that of `lessons.representation.retrieval_table` for `number` queries, taken as independent:
    where several come from one image the true interval is wider.
    """
    column = f"s1_to_s2_recall@{k}"
    guess = float(table.loc["guessing", column])
    said = []
    for method, recall in table.drop(index="guessing")[column].items():
        found = binomtest(round(float(recall) * number), number).proportion_ci(method="wilson")
        verdict = (
            "better than guessing"
            if found.low > guess
            else "worse than guessing"
            if found.high < guess
            else "not to be told from guessing"
        )
        said.append(f"{method} {recall:.0%} ({found.low:.0%} to {found.high:.0%}), {verdict}")
    return caution(evidence) + f"guessing finds {guess:.0%} among the first {k}. " + "; ".join(said) + "."
