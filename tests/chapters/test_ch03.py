"""Chapter 03: the verdict follows the paired interval."""

from chapters import ch03
from eo_ssl.experiments.results import read_results


def words(folder):
    return ch03.fusion_verdict(read_results(folder / "results.jsonl"), folder, "single")


def test_a_clear_gain_is_called_one_and_a_loss_is_not(tmp_path, write_model):
    write_model("s2", 5)
    write_model("late", 9)
    assert "**Late fusion is ahead of Only S2** by average accuracy (AA), 90.0% against 50.0%" in words(
        tmp_path
    )
    write_model("s1", 10)
    assert "**Only S1 is ahead of Late fusion** by average accuracy (AA), 100.0% against 90.0%" in words(
        tmp_path
    )


def test_without_a_single_sensor_nothing_is_compared(tmp_path, write_model):
    write_model("early", 7)
    assert words(tmp_path) == "Of the fused models Early fusion is best, average accuracy (AA) 70% (58–81%)."
