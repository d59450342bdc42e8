import numpy as np
from invented import SPEEDS, invented_log, invented_scores

from mrcom.report import curves
from mrcom.report.curves import PANELS, Panel, draw_learning_curves, lines_of
from mrcom.report.targets import Target, targets_of

IN_TARGETS = [panel for panel in PANELS if panel.in_targets]


def shown(log, names=()):
    """Lines of every panel that a log has, by title."""
    found = {panel.title: lines_of(log, panel, dict(names)) for panel in PANELS}
    return {title: lines for title, lines in found.items() if lines}


def drawn(log, monkeypatch, tmp_path, targets=()):
    """The figure's plots by title, as they are just before they are written."""
    kept = []

    def keep(figure, pairs, draw=curves._draw_panels):
        draw(figure, pairs)
        kept.extend(axis for axis in figure.axes if axis.get_visible())

    monkeypatch.setattr(curves, "_draw_panels", keep)
    draw_learning_curves(tmp_path / "curves.png", log, targets)
    return {axis.get_title(): axis for axis in kept}


def test_a_panel_takes_the_values_of_its_stage_and_leaves_out_what_is_missing():
    lines = lines_of(invented_log(200), Panel("t", "train", ("actor/entropy",)), {})
    assert list(lines) == ["actor entropy"]
    assert lines["actor entropy"][:, 0].tolist() == list(range(40, 201, 20))  # 20 is null
    assert lines_of(invented_log(200), PANELS[0], {})["hopper"].shape == (7, 2)


def test_what_was_logged_again_takes_the_place_of_what_was_logged_first():
    log = invented_log(200)
    panel = Panel("t", "train", ("actor/entropy",))
    again = [dict(line) | {"actor/entropy": 7.0} for line in log if line.get("updates") == 60]
    lines = lines_of([*log, *again], panel, {})["actor entropy"]
    assert lines[:, 0].tolist() == list(range(40, 201, 20))
    assert lines[1, 1] == 7.0


def test_smoothing_is_a_mean_over_neighbours():
    np.testing.assert_allclose(curves._smoothed(np.array([1.0, 2, 6, 4]), 1), [1, 2, 6, 4])
    np.testing.assert_allclose(curves._smoothed(np.array([1.0, 2, 6, 4]), 2), [1.5, 3, 4, 5])


def test_nothing_is_called_a_dream_where_nothing_was_dreamt():
    dreamt, replayed = "behaviour: return of dreams", "behaviour: value of replayed steps"
    log = invented_log(100)
    assert list(shown(log)[dreamt]) == ["actor dreamt return", "critic value"]
    assert replayed not in shown(log)
    rename = {"actor/dreamt_return": "twin/value"}
    log = [{rename.get(name, name): value for name, value in line.items()} for line in log]
    assert dreamt not in shown(log)
    assert list(shown(log)[replayed]) == ["twin value", "critic value"]


def test_a_part_of_an_episode_has_a_line_of_its_own():
    record = {"stage": "collect", "env_steps": 60, "return/hopper/part1": 1.0}
    lines = lines_of([record | {"return/hopper/part2": 2.0}], PANELS[0], {})
    assert list(lines) == ["hopper part1", "hopper part2"]


def test_curves_of_targets_have_the_tables_names_and_count_the_steps_in_each():
    log = invented_log(100)
    targets = targets_of(invented_scores(episodes=1))[::2]
    hashes = [f"{number}fab82c119d0" for number in range(3)]
    names = {h: target.label for h, target in zip(hashes, targets, strict=True)}
    for panel in IN_TARGETS:
        lines = lines_of(log, panel, names)
        assert list(lines) == [f"{b} {v[0]:.2f} m/s, inside" for b, v in SPEEDS.items()]
        for points in lines.values():  # 6000, 12000 and 18000 over three targets
            assert points[:, 0].tolist() == [2000, 4000, 6000]
        assert next(iter(lines_of(log, panel, {}))) == "hopper [0fab]"


def test_a_curve_that_lies_on_another_is_dashed_and_no_other_is(monkeypatch, tmp_path):
    log = invented_log(400)
    for line in log:
        if line["stage"] == "train":
            line["loss/meta_state"] = line["loss/kl_stoch"]
    axis = drawn(log, monkeypatch, tmp_path)["world model: loss terms"]
    dashed = [line.get_label() for line in axis.get_lines() if line.is_dashed()]
    assert dashed == ["meta state"]
    assert axis.get_legend().get_title().get_text() == "dashed: lies on another"


def test_panels_of_targets_share_their_scale_and_colours(monkeypatch, tmp_path):
    targets = [Target("2fab82c119d0", "cheetah", 3.2, True)]
    log = [line for line in invented_log(100) if line["stage"] != "sac"]
    for line in invented_log(100):  # the control was not tried in the first target
        if line["stage"] == "sac":
            log.append({k: v for k, v in line.items() if not k.startswith("return/hopper")})
    plots = drawn(log, monkeypatch, tmp_path, targets)
    ours, control = (plots[panel.title] for panel in IN_TARGETS)
    assert ours.get_ylim() == control.get_ylim()
    colours = [
        {line.get_label(): line.get_color() for line in axis.get_lines()}
        for axis in (ours, control)
    ]
    assert list(colours[0]) == ["hopper [0fab]", "walker [1fab]", "cheetah 3.20 m/s, inside"]
    assert colours[1] == {name: colours[0][name] for name in list(colours[0])[1:]}


def test_no_legend_covers_a_curve(monkeypatch, tmp_path):
    for title, axis in drawn(invented_log(100), monkeypatch, tmp_path).items():
        if axis.get_legend() is not None:
            box = axis.get_legend().get_window_extent()
            assert box.x0 >= axis.get_window_extent().x1, title
