"""Configurations, and the flags that are made from them."""

import subprocess
import sys

import pytest
from absl import flags

from trainers.config import (
    AblationConfig,
    DemoConfig,
    EvaluateConfig,
    PittsConfig,
    RetrievalConfig,
    SfMConfig,
    TableConfig,
)
from trainers.config.flags import define_flags, parse
from trainers.config.recipes import RECIPES, RETRIEVAL_RECIPES

CONFIGS = [PittsConfig, RetrievalConfig, SfMConfig, TableConfig, AblationConfig, DemoConfig, EvaluateConfig]


def test_every_setting_is_a_flag_with_its_default_and_meaning():
    for config in CONFIGS:
        made = define_flags(config)
        assert sorted(made) == sorted(config().names)
        for name in config().names:
            assert made[name].help, (config, name)
            given, _ = parse(config, [])
            assert getattr(given, name) in (getattr(config(), name), _listed(getattr(config(), name)))


def _listed(value):
    return [str(one) for one in value] if isinstance(value, tuple) else value


def test_flags_of_programs_may_be_made_side_by_side_and_again():
    one, _ = parse(PittsConfig, ["--root=a", "--output=b", "--epochs=3", "--image_size=48,64", "--nokeep_untrained"])
    other, _ = parse(RetrievalConfig, ["--dataset=a", "--output=b", "--epochs=4"])
    assert (one.epochs, one.image_size, one.keep_untrained, other.epochs) == (3, (48, 64), False, 4)
    assert one.given == {"root", "output", "epochs", "image_size", "keep_untrained"}


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (PittsConfig, ["--rot=a"], "Unknown command line flag 'rot'. Did you mean: root"),
        (PittsConfig, ["--epochs=-1"], "epochs=-1"),
        (PittsConfig, ["--mining=some"], "should be one of <random"),
        (RetrievalConfig, ["--longer_side=3"], "longer_side=3"),
    ],
)
def test_wrong_flags_are_named(config, arguments, message):
    with pytest.raises(flags.Error, match=message):
        parse(config, arguments)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PittsConfig(output="run"), "`root` must be given: Dataset: "),
        (PittsConfig(root="a", output="b", epochs=-1), "`epochs` must be at least 0. Received: epochs=-1"),
        (PittsConfig(root="a", output="b", kernel="flat"), "`kernel` must be one of .*Received: kernel='flat'"),
        (RetrievalConfig(output="run"), "`dataset` must be given"),
        (AblationConfig(root="a", output="b", seeds=("1", "x")), "`seeds` must be whole numbers. Received: seeds=1,x"),
    ],
)
def test_wrong_settings_are_named_whoever_gives_them(config, message):
    with pytest.raises(ValueError, match=message):
        config.check()


def test_recipe_gives_the_values_of_settings_that_are_left_open():
    given, _ = parse(PittsConfig, ["--recipe=few_photos", "--epochs=30", "--mining=random", "--root=a", "--output=b"])
    config = given.completed(RECIPES["few_photos"].given_settings)
    assert (config.epochs, config.mining) == (30, "random")  # given, though as the defaults
    assert (config.train_from, config.optimizer, config.dim) == ("conv5_3", "adam", 128)
    assert (config.clusters, config.select_by) == (64, 5)
    assert config.given == given.given
    assert not {"output", "resume", "store"} & config.recorded().keys()


def test_every_recipe_can_be_named():
    for config, recipes in ((PittsConfig, RECIPES), (RetrievalConfig, RETRIEVAL_RECIPES)):
        assert define_flags(config)["recipe"].parser.enum_values == list(recipes)
        assert all(isinstance(recipe, config) for recipe in recipes.values())


def test_run_records_what_it_computes_as_earlier_versions_did():
    recorded = PittsConfig(root="a", output="b", image_size=(48, 64), augment=("flip=1",)).recorded()
    assert (recorded["image_size"], recorded["augment"]) == (["48", "64"], ["flip=1"])
    assert PittsConfig().completed(recorded).image_size == (48, 64)
    published = RetrievalConfig(dataset="lists.pkl", output="b")
    assert (published.recorded()["positive"], published.settings().positive) == ("pairs", "pairs")
    assert published.settings().queries_per_epoch is None
    assert not {"ground_truth", "test_images", "pca_images"} & published.recorded().keys()


def test_help_and_wrong_flags_answer_without_tensorflow():
    """In one process, which then tells what it has imported."""
    script = """
import runpy, sys
for module in ("pitts", "retrieval_sfm", "retrieval_table", "sfm", "ablation", "demo", "evaluate"):
    for argument in ("--help", "--nonsense=1"):
        sys.argv = [module, argument]
        try:
            runpy.run_module(f"trainers.{module}", run_name="__main__")
        except SystemExit as end:
            print(end.code, file=sys.stderr)
assert not {"tensorflow", "keras"} & sys.modules.keys(), "imported"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("python -m trainers.") >= 7
    assert "--[no]resume" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("trainers.") and "Unknown command line flag 'nonsense'" in line for line in lines)
