"""A study that is killed goes on where it was, and ends as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from edge_dendrite.data.digits import read_digits
from edge_dendrite.progress import silent
from parts import ROOT
from scripts.benchmarks import train as train_module
from scripts.benchmarks.__main__ import main
from scripts.benchmarks.rows import read_rows, unpack_bits
from scripts.benchmarks.studies import find_study
from scripts.benchmarks.train import cases, train_missing

STUDY = find_study("pruning-digits")
ARMS = ("dense", "edge-dendrite", "from-scratch", "torch-pruning-global-taylor", "edge-dendrite-gradual")


@pytest.fixture(autouse=True)
def one_thread():
    """As the command line sets it: results depend on the number of threads in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder: Path, arms=ARMS, seeds=(0,)):
    wanted = list(cases(STUDY, seeds, arms, STUDY.budgets))
    return list(train_missing(STUDY, wanted, read_digits(), folder / "rows.jsonl", folder / "work", silent))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The rows of a run that nobody stopped, in this process."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return folder


def start(folder: Path) -> subprocess.Popen:
    """The real command line in a process of its own, in a group that can be killed as a whole."""
    command = [sys.executable, "-m", "scripts.benchmarks", "train", STUDY.name, "--arms", ",".join(ARMS)]
    command += ["--results", str(folder), "--work", str(folder / "work")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'deploy'}"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)


def kill_when(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it did nothing"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_killed_twice_it_ends_as_if_nothing_had_happened(tmp_path, undisturbed):
    rows = tmp_path / f"{STUDY.name}.jsonl"
    checkpoints = tmp_path / "work" / STUDY.name / "seed-0" / "checkpoints"
    kill_when(start(tmp_path), lambda: checkpoints.is_dir() and any(checkpoints.glob("dense.*")))
    assert read_rows(rows) == []
    kill_when(start(tmp_path), lambda: rows.exists() and len(rows.read_bytes().splitlines()) >= 2)
    kept = rows.read_bytes()
    assert 2 <= len(read_rows(rows)) < len(ARMS)
    assert start(tmp_path).wait(timeout=240) == 0
    assert rows.read_bytes().startswith(kept)
    expected, seen = read_rows(undisturbed / "rows.jsonl"), read_rows(rows)
    assert len(seen) == len(ARMS)
    for one, other in zip(expected, seen, strict=True):
        assert other["timed_steps"] <= one["timed_steps"]
        for row in (one, other):
            # Times, and sources that someone may edit while the test runs.
            del row["train_seconds"], row["timed_steps"], row["environment"]["source"]
        assert one == other
    assert not list(checkpoints.glob("*"))


def test_rows_that_are_there_cost_nothing(undisturbed):
    before = (undisturbed / "rows.jsonl").read_bytes()
    assert run(undisturbed) == []
    assert (undisturbed / "rows.jsonl").read_bytes() == before


def test_what_a_row_holds(undisturbed):
    rows = {row["arm"]: row for row in read_rows(undisturbed / "rows.jsonl")}
    assert list(rows) == list(ARMS)
    dense, ours, scratch = (rows[arm] for arm in ARMS[:3])
    more, budget = STUDY.more_epochs, round(13_706 * 0.4)
    num_batches = read_digits().num_train_batches(STUDY.fit.batch_size)
    assert (dense["num_parameters"], dense["budget"], dense["epochs"]) == (13_706, None, STUDY.fit.epochs)
    assert all(row["num_parameters"] <= budget and row["budget"] == 0.6 for row in rows.values() if row is not dense)
    assert scratch["widths"] == ours["widths"] != dense["widths"]
    assert [rows[arm]["epochs"] for arm in ARMS[1:]] == [more, STUDY.fit.epochs + more, more, more]
    assert {row["dense_sha256"] for row in rows.values()} == {dense["dense_sha256"]}
    for row in rows.values():
        assert unpack_bits(row["test_correct"]).mean() == row["test_accuracy"] > 0.85
        assert row["timed_steps"] == row["epochs"] * num_batches and row["environment"]["num_threads"] == 1


def test_the_file_on_the_disk_is_the_network_of_the_row(undisturbed):
    from edge_dendrite.export.session import open_session, run_onnx

    data = read_digits()
    test = data.read_test()
    for row in read_rows(undisturbed / "rows.jsonl"):
        name = row["arm"] if row["budget"] is None else f"{row['arm']}-0.6"
        content = (undisturbed / "work" / STUDY.name / "seed-0" / "onnx" / f"{name}.onnx").read_bytes()
        assert len(content) == row["onnx_bytes"]
        outputs = run_onnx(open_session(content), data.prepare(test.inputs).numpy())
        correct = outputs.argmax(1) == test.targets.numpy()
        assert correct.tolist() == unpack_bits(row["test_correct"]).tolist()


def test_test_data_are_read_once_for_each_row_and_after_the_training(tmp_path, monkeypatch):
    events = []
    make, read = train_module._export, read_digits().read_test
    monkeypatch.setattr(train_module, "_export", lambda *rest: (events.append("trained"), make(*rest))[1])
    data = read_digits()
    object.__setattr__(data, "read_test", lambda: (events.append("test"), read())[1])
    wanted = list(cases(STUDY, [0], ["dense", "dense-longer"], STUDY.budgets))
    list(train_missing(STUDY, wanted, data, tmp_path / "rows.jsonl", tmp_path / "work", silent))
    assert events == ["trained", "test"] * 2


def test_a_lost_dense_network_is_made_again_and_has_to_be_the_same(tmp_path):
    import shutil

    run(tmp_path, ["dense"])
    shutil.rmtree(tmp_path / "work")
    assert len(run(tmp_path, ["dense", "dense-longer"])) == 1
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"dense_sha256": "', '"dense_sha256": "0'))
    with pytest.raises(ValueError, match="come from another dense network"):
        run(tmp_path, ["edge-dendrite"])


def test_order_and_choice_of_cases():
    study = find_study("pruning-cifar10-jpeg")
    arms = [arm for wave in study.waves for arm in wave]
    order = [(case.arm, case.budget) for case in cases(study, [0], arms, study.budgets)]
    assert order[:5] == [
        ("dense", None),
        ("edge-dendrite", 0.5),
        ("from-scratch", 0.5),
        ("edge-dendrite", 0.75),
        ("from-scratch", 0.75),
    ]
    assert len(order) == len(set(order)) == 2 + 2 * (len(arms) - 2)
    chosen = list(cases(study, [3, 1], ["dense", "from-scratch"], [0.75]))
    assert [(case.arm, case.budget, case.seed) for case in chosen] == [
        ("dense", None, 3),
        ("from-scratch", 0.75, 3),
        ("dense", None, 1),
        ("from-scratch", 0.75, 1),
    ]


def test_the_command_line_says_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "pruning-minst"])
    assert stop.value.code == 2
    assert "'pruning-minst' does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", STUDY.name, "--arms", "dense,denser"])
    assert "'denser' does not exist" in capsys.readouterr().err
    assert main(["table", STUDY.name, "--results", str(tmp_path)]) == 1
    assert "no rows yet" in capsys.readouterr().err


def test_the_table_command_writes_both_files(undisturbed, tmp_path):
    (tmp_path / f"{STUDY.name}.jsonl").write_bytes((undisturbed / "rows.jsonl").read_bytes())
    assert main(["table", STUDY.name, "--results", str(tmp_path)]) == 0
    assert (tmp_path / f"{STUDY.name}.md").read_text().startswith("# Pruning on the embedded digits")
    assert "<svg" in (tmp_path / f"{STUDY.name}.svg").read_text()


def test_what_is_measured_of_kept_networks_gets_into_the_table(undisturbed, tmp_path, capsys):
    dense = (undisturbed / "rows.jsonl").read_bytes().splitlines(keepends=True)[0]
    (tmp_path / f"{STUDY.name}.jsonl").write_bytes(dense)
    folders = [STUDY.name, "--results", str(tmp_path), "--work", str(undisturbed / "work")]
    for command in (["noise"], ["memory"], ["latency", "--max-other-load", "1"]):
        assert main([*command, *folders, "--seeds", "0,1"]) == 0
    assert capsys.readouterr().out.count(f"{STUDY.name} seed 0 dense: ") == 3
    rows = {row["kind"]: row for row in read_rows(tmp_path / f"{STUDY.name}.jsonl")}
    assert list(rows) == ["trained", "noise", "memory", "latency"]
    weak, strong = (rows["noise"]["noise"][at]["test_accuracy"] for at in (0, -1))
    assert rows["trained"]["test_accuracy"] - 0.05 < weak and strong < weak
    assert main(["table", *folders]) == 0
    text = (tmp_path / f"{STUDY.name}.md").read_text()
    assert all(words in text for words in ("## Under noise", "## Memory", "an identity network of the same input"))
