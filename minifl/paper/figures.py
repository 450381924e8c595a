"""The figures of the paper that show accuracies of runs, as studies; their numbers are read off the pictures, ±0.5.

Figures 2 and 3 look into a client that begins with the model of a run (collapse.py). The paper's own begins with the
plain network after one-class FedAvg, 10 000 rounds; where these are too many there are others: a larger learning rate,
FN, central training.
"""

from minifl.paper.study import Study

NORMS = {"vanilla": {}, "FN": {"norm": "fn"}, "LN": {"norm": "ln"}}
CENTRALIZED = {"setting": "iid", "num_clients": 1}
ALPHAS = (0.02, 0.1, 0.5, 2.0, 4.0)
RATES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

PRETRAINED = {"one-class FedAvg": {"setting": "oneclass"},
              "one-class FedAvg, lr 0.1": {"setting": "oneclass", "lr": 0.1},
              "one-class FedAvg with FN": {"setting": "oneclass", "norm": "fn"},
              "centralized, lr 0.05": {**CENTRALIZED, "lr": 0.05}}
CLOSEUPS = (
    Study("figure2", "Local overfitting: five steps on class 0", "closeup", PRETRAINED, {"": {}}, {
        "pre-trained": (65, 69.5, 37, 25, 43, 49, 68.5, 73.5, 73.5, 62.5),
        "vanilla": (100, 6.5, 20, 2.5, 18, 10.5, 17.5, 23.5, 0, 1),
        "FN": (94, 48.5, 40.5, 13.5, 39, 35, 53, 61, 20.5, 28)}),
    Study("figure3", "Feature collapse: one client alone", "closeup", PRETRAINED, {"": {}}, {
        "‖w_1‖": 1.25, "other ‖w_c‖": 0.6, "feature norms": (118, 245), "σ_1": 1.9e3, "σ_2": 6.9,
        "ln(σ_100/σ_1)": {"FN": -5.6, "vanilla": -10.7}}),
)

PARTITIONS = Study("figure8", "Label counts of the clients", "partitions", {
    "1 class": {"setting": "oneclass"}, "2 classes": {"setting": "paper-2class"},
    "Dir(0.1)": {"setting": "paper-dir0.1"}}, {"": {}}, {},
    note="The paper's own counts are what --setting paper-2class and paper-dir0.1 are made of.")

FIGURES = (
    *CLOSEUPS, PARTITIONS,
    Study("figure4", "One class per client (CNN)", "curves", {
        **{label: {"setting": "oneclass", **own} for label, own in NORMS.items()},
        "centralized": {**CENTRALIZED, "batch_size": 320}}, {"": {}}, {
            "vanilla": (16.6, 23.8, 27.7, 26.5, 35.1, 37.5, 39.3, 41.1, 43.7, 42.9),
            "FN": (43.3, 55.8, 60.5, 61.7, 59.5, 65.8, 67.0, 62.2, 66.6, 71.3),
            "LN": (50.0, 54.5, 62.1, 65.0, 64.1, 67.4, 68.6, 67.7, 68.5, 72.5),
            "centralized": (40.8, 49.9, 59.8, 64.3, 69.0, 71.6, 72.9, 74.4, 76.6, 77.6)},
          rounds=4000, marks=tuple(range(400, 4001, 400)),
          note="A round is 10 batches of each of 10 clients, or 10 batches of 320 centrally. The paper's points are "
               "single evaluations of one run."),
    Study("figure5", "The whole range of label skew (CNN)", "points", NORMS, {
        f"{alpha:g}": {"setting": "dirichlet", "dirichlet_alpha": alpha} for alpha in ALPHAS}, {
            "vanilla": (62.3, 71.1, 78.0, 80.2, 80.3), "FN": (74.0, 76.5, 80.1, 80.9, 81.0),
            "LN": (75.1, 77.1, 81.0, 81.8, 81.8)}, axis="Dirichlet concentration β"),
    Study("figure6", "Centralized training (CNN)", "curves", {
        label: {**CENTRALIZED, "local_epochs": 1, "momentum": 0.9, "lr": 0.001, "eval_every": 1, **own}
        for label, own in NORMS.items()}, {"": {}}, dict.fromkeys(NORMS, (82.0,)), rounds=100, marks=(100,),
          note="A round is an epoch; momentum begins at 0 in each. The paper's three curves end at 81 to 83: 82 stands "
               "for them here."),
    Study("figure7", "Learning rates, one class per client (CNN)", "points", {
        label: {"setting": "oneclass", **own} for label, own in NORMS.items()}, {
            f"{lr:g}": {"lr": lr} for lr in RATES}, {
                "vanilla": (18.5, 28.4, 33.9, 50.3, 56.6, 10, 10), "FN": (52.3, 63.8, 65.5, 65.2, 66.2, 10, 10),
                "LN": (54.6, 63.7, 65.0, 69.9, 70.5, 10, 10)}, rounds=2000, axis="learning rate",
          note="The paper does not say after how many rounds; about 2 000 by the level of its points."),
)
