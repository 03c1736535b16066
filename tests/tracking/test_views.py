import json
import re

from eocontrast.tracking.views import MAIN_METRIC, VIEWS, view_tags


def test_description_links_to_every_view() -> None:
    tags = view_tags("7")
    described = tags.pop("mlflow.note.content")
    linked = re.findall(r"#/experiments/7/runs\?\S*viewStateShareKey=(\w+)", described)
    assert linked == list(VIEWS)
    assert set(tags) == {f"mlflow.sharedViewState.{key}" for key in linked}
    stages = json.loads(tags.pop("mlflow.sharedViewState.stages"))["selectedColumns"]
    assert {"metrics.`seconds`", "tags.`hardware`", "tags.`torch`"} <= set(stages)
    for view in tags.values():
        columns = json.loads(view)["selectedColumns"]
        assert f"metrics.`{MAIN_METRIC}`" in columns
        shown = {column.split("`")[1] for column in columns if column.startswith("params.")}
        assert {"arm", "init", "inputs", "fraction", "seed"} <= shown
