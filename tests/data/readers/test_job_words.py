"""The job's words for published data sets, as people run them: flags reach the readers, errors are one line.

pytest tests/data/readers/test_job_words.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import test_affectnet
import test_fer2013
import test_ferplus
import test_kdef
import test_lfw
from forked import run_job
from test_in_archives import pack

from stargan_ray.data.shards import open_dataset


def test_every_word_writes_a_data_set(tmp_path: Path) -> None:
    lfw = test_lfw.tree(tmp_path / "lfw")
    (lfw / test_lfw.PEOPLE[0] / f"{test_lfw.PEOPLE[0]}_0009.jpg").write_bytes(test_lfw.picture(1))
    (tmp_path / "pairs").write_text(f"{test_lfw.PEOPLE[0]}\t1\t2\n")
    votes = test_ferplus.tables(tmp_path / "plus") / "fer2013new.csv"
    votes.rename(tmp_path / "votes.csv")
    cases = {
        "fer2013": ((str(test_fer2013.table(tmp_path / "fer2013.csv")),), 28),
        "ferplus": ((f"{tmp_path}/plus", "--labels", f"{tmp_path}/votes.csv", "--allow-missing"), 30),
        "affectnet": ((str(test_affectnet.official(tmp_path / "affectnet")), "--crop"), 24),
        "lfw": ((str(pack(lfw, tmp_path / "lfw.tar.gz")), "--pairs", f"{tmp_path}/pairs", "--duplicates", "drop"), 120),
        "kdef": ((str(test_kdef.tree(tmp_path / "kdef")), "--angles", "S", "HL"), 84),
        "studio": (("--studio.people", "2", "--studio.size", "32"), 28),
    }
    for word, (flags, rows) in cases.items():
        ended = run_job("ingest", word, *flags, "--out", f"{tmp_path}/out-{word}")
        assert ended.returncode == 0, ended.stderr
        data = open_dataset(f"{tmp_path}/out-{word}")
        assert set(data.index.column("source").to_pylist()) == {word}
        assert f"{rows} rows" in ended.stdout
        assert ("skipped: 1 duplicate" in ended.stdout) == (word == "lfw")
    again = run_job("ingest", "lfw", str(lfw), "--out", f"{tmp_path}/kept")
    assert "duplicates: 1 rows repeat the image of another" in again.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("kdef", "{}", "--angles", "SL"), "error: unknown angle 'SL'"),
        (("kdef", "{}", "--parallel", "0"), "error: --shard-rows and --parallel must be 1 or more"),
        (("kdfe", "{}"), "error: unknown word 'kdfe': did you mean 'kdef'?"),
        (("lfw", "{}"), "has no layout of LFW (found fer2013.csv): expected <Name_Surname>/"),
        (("fer2013", "{}"), "fer2013.csv has no line 1 that names the columns"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fer2013.csv").write_bytes(b"")
    ended = run_job("ingest", *(flag.format(tmp_path / "in") for flag in flags), "--out", f"{tmp_path}/out")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
