"""The floor of a run's layers: which products are measured, and what the program prints. How fast anything is is not tested."""

import json
import sys

import floor

from minifl.models import build


def test_the_floor_is_that_of_the_own_products():
    speed = floor.speed_of(build("cnn", 10, (32, 32, 3), width=0.1), 4)
    assert set(speed.products) == {floor.LARGE, (4 * 28 * 28, 75, 6), (4 * 10 * 10, 150, 6), (4, 150, 38)}
    assert speed.flops > 0 and speed.copied > 0
    assert all(max(2 * m * d * f, m) <= 10 ** 9 and max(d, f) <= 4096 for m, d, f in
               floor.own_products(build("resnet18", 10, (224, 224, 3), width=20), 256))


def test_the_program_prints_a_floor_for_each_layer(tmp_path, monkeypatch, capsys):
    """At 1 FLOP and 1 byte a second a floor is the number of FLOPs of a step, or of bytes where there are none."""
    monkeypatch.setattr(floor, "speed_of", lambda *_: floor.Speed(1.0, ((2, 2, 2),), 1.0))
    monkeypatch.setattr(sys, "argv", ["floor.py", "--model", "mlp", "--norm", "fn", "--width", "0.05", "--rounds", "1",
                                      "--json", str(tmp_path / "floor.json")])
    floor.main()
    record = json.loads((tmp_path / "floor.json").read_text())
    found = {line["name"]: line for line in record["lines"]}
    assert list(found) == ["flatten", "dense1", "dense1.norm", "dense2", "dense2.norm", "classifier", "loss"]
    assert all(found[name]["floor"] == sum(found[name]["flops"]) > 0 for name in ("dense1", "dense2", "classifier"))
    assert found["classifier"]["flops"] == [2 * 32 * 10 * 10, 2 * 2 * 32 * 10 * 10]
    assert sum(found["loss"]["flops"]) == 0 < found["loss"]["floor"]
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(found)
