"""Each plot draws what it is given, returns its axes, and refuses what does not fit."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from iqa_lab import plots


@pytest.fixture
def axes():
    """Axes without a window, in the book's style; matplotlib's own settings come back afterwards."""
    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    with matplotlib.rc_context():
        plots.set_style()
        yield plt.subplots()[1]
        plt.close("all")
    plt.switch_backend(backend)


def test_the_style_fits_the_column_and_has_one_marker_for_each_colour(axes):
    assert axes.figure.get_size_inches()[0] * axes.figure.dpi == 700
    assert len(plots.MARKERS) == len(plots.COLOURS) == len(set(plots.COLOURS))
    assert axes.plot([0, 1])[0].get_color() == plots.COLOURS[0]


def test_figures_are_drawn_without_a_warning(axes, recwarn):
    plots.plot_map(np.eye(5), axes, title="map")
    plots.plot_images([np.zeros((8, 12))] * 5, list("abcde"))
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    assert not recwarn.list


def test_images_are_drawn_in_order_with_their_values(axes):
    gray, colour = np.full((4, 6), 0.5), np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    drawn = plots.plot_images([gray, colour, gray], ["one", "two", "three"], columns=2)
    assert [axis.get_title() for axis in drawn] == ["one", "two", "three"]
    assert len(drawn[0].figure.axes) == 3  # the empty place of the 2 x 2 grid is gone
    np.testing.assert_array_equal(drawn[1].images[0].get_array(), colour / 255)
    assert drawn[0].images[0].get_clim() == (0, 1)  # mid-gray is not stretched to black or white
    assert drawn[0].figure.get_size_inches()[0] == plots.WIDTH


def test_images_can_be_drawn_on_given_axes(axes):
    assert plots.plot_images([np.ones((4, 4, 3))], axes=[axes])[0] is axes


@pytest.mark.parametrize("images, options, message", [
    ([], {}, "Expected images"),
    ([np.ones((1, 3, 8, 8))], {}, "permute"),
    ([np.ones((8, 8, 4))], {}, r"\(H, W, 3\)"),
    ([np.ones((0, 8))], {}, r"\(H, W\)"),
    ([np.full((8, 8), 1.5)], {}, "plot_map"),
    ([np.full((8, 8), np.nan)], {}, r"\[0, 1\]"),
    ([np.ones((8, 8))], {"titles": ["a", "b"]}, "got 1 and 2"),
    ([np.ones((8, 8))] * 2, {"axes": [None]}, "got 1 axes and 2 images"),
])
def test_images_that_do_not_fit_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        plots.plot_images(images, **options)


def test_a_map_has_its_limits_and_a_colour_bar(axes):
    values = np.array([[0.0, 1.0], [2.0, np.nan]])
    assert plots.plot_map(values, axes, title="error", limits=(-1, 4), cmap="gray") is axes
    assert axes.images[0].get_clim() == (-1, 4) and axes.images[0].get_cmap().name == "gray"
    assert axes.get_title() == "error" and len(axes.figure.axes) == 2


def test_a_map_without_limits_spans_its_values(axes):
    plots.plot_map([[3.0, 1.0], [2.0, np.nan]], axes)
    assert axes.images[0].get_clim() == (1, 3)


def test_a_map_of_four_axes_is_refused(axes):
    with pytest.raises(ValueError, match="one channel"):
        plots.plot_map(np.ones((1, 1, 8, 8)), axes)


def test_a_histogram_is_a_density_of_all_samples(axes):
    samples = np.concatenate([np.linspace(-1, 1, 800), np.full(200, 9.0)])
    assert plots.plot_histogram(samples, axes, limits=(-1, 1), label="mine") is axes
    heights, edges, _ = axes.patches[0].get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(0.8)
    assert axes.get_legend_handles_labels()[1] == ["mine"]


def test_a_second_histogram_has_another_colour_and_a_curve_that_of_its_histogram(axes):
    for shift in (0, 1):
        plots.plot_histogram(np.random.RandomState(0).randn(3, 40) + shift, axes, curve=np.cos)
    colours = [patch.get_edgecolor() for patch in axes.patches]
    assert colours[0] != colours[1] and [line.get_color() for line in axes.lines] == colours
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.cos(axes.lines[0].get_xdata()))


@pytest.mark.parametrize("samples", [[], [0.0, np.nan], [np.inf, 1.0]])
def test_samples_that_are_not_finite_are_refused(axes, samples):
    with pytest.raises(ValueError, match="finite samples"):
        plots.plot_histogram(samples, axes)


def test_a_scatter_plot_has_groups_error_bars_and_a_curve(axes):
    scores, opinions, groups = np.arange(4.0), np.arange(4.0) ** 2, ["a", "b", "a", "b"]
    assert plots.plot_scatter(scores, opinions, axes, groups=groups, deviations=np.ones(4), curve=np.square) is axes
    first, second = axes.containers
    np.testing.assert_array_equal(first.lines[0].get_xydata(), [[0, 0], [2, 4]])
    np.testing.assert_array_equal(second.lines[2][0].get_segments(), [[[1, 0], [1, 2]], [[3, 8], [3, 10]]])
    assert first.lines[0].get_marker() != second.lines[0].get_marker()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    curve = axes.lines[-1]
    assert (curve.get_xdata()[[0, -1]] == [0, 3]).all() and (curve.get_ydata() == curve.get_xdata() ** 2).all()


def test_a_plain_scatter_plot_has_all_points_and_no_legend(axes):
    plots.plot_scatter([3, 1, 2], [1, 2, 3], axes)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[3, 1], [1, 2], [2, 3]])
    assert axes.get_legend() is None


@pytest.mark.parametrize("scores, opinions, options", [
    ([], [], {}), ([1, 2], [1, 2, 3], {}), ([[1], [2]], [1, 2], {}), ([1, 2], [1, 2], {"groups": ["a"]}),
    ([1, 2], [1, 2], {"deviations": [1, 2, 3]}),
])
def test_a_scatter_plot_refuses_different_lengths(axes, scores, opinions, options):
    with pytest.raises(ValueError, match="one value per image"):
        plots.plot_scatter(scores, opinions, axes, **options)


def test_levels_are_ticks_and_every_line_has_its_own_marker(axes):
    assert plots.plot_levels([1, 2, 5], [[1, 2, 3], [3, 2, 1]], axes, labels=["up", "down"]) is axes
    assert list(axes.get_xticks()) == [1, 2, 5]
    assert axes.lines[0].get_marker() != axes.lines[1].get_marker()
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 3], [2, 2], [5, 1]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["up", "down"]


def test_one_line_needs_no_second_axis_and_no_label(axes):
    plots.plot_levels([1, 2], [5, 6], axes)
    assert len(axes.lines) == 1 and axes.get_legend() is None


@pytest.mark.parametrize("levels, values, labels", [
    ([1, 2], [1, 2, 3], []), ([[1, 2]], [1, 2], []), ([1, 2], [[1, 2], [3, 4]], ["a"]),
    ([1, 2], np.ones((1, 1, 2)), []),
])
def test_levels_that_do_not_fit_are_refused(axes, levels, values, labels):
    with pytest.raises(ValueError, match="one value per level"):
        plots.plot_levels(levels, values, axes, labels=labels)


def test_boxes_stand_in_the_order_of_their_labels_with_the_median_of_their_samples(axes):
    samples = [np.arange(11.0), np.arange(11.0) + 5, [3.0]]
    plots.plot_boxes(samples, ["a", "b", "c"], axes)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c", "b", "a"]  # from below
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_color() == plots.COLOURS[1]]
    assert medians == [3, 10, 5]
    for bad in ([[1.0]], [[], [1.0], [2.0]], [[np.nan], [1.0], [2.0]]):
        with pytest.raises(ValueError, match="finite samples"):
            plots.plot_boxes(bad, ["a", "b", "c"], axes)


def test_a_matrix_of_outcomes_says_them_in_signs_too(axes):
    plots.plot_matrix([[0, 1], [-1, 0]], ["x", "y"], axes)
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "", (1, 0): "+", (0, 1): "\N{MINUS SIGN}", (1, 1): ""}
    for bad in ([[0, 1]], [[0, 2], [-2, 0]]):
        with pytest.raises(ValueError, match="1, 0 and -1"):
            plots.plot_matrix(bad, ["x", "y"], axes)


def test_roc_curves_are_drawn_as_given_beside_the_diagonal(axes):
    plots.plot_rocs([([0, 0.2, 1], [0, 0.9, 1])], ["m"], axes)
    assert np.array_equal(axes.lines[1].get_ydata(), [0, 0.9, 1]) and axes.lines[0].get_linestyle() == ":"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["m"]
    with pytest.raises(ValueError, match="equal length"):
        plots.plot_rocs([([0, 1], [0, 0.5, 1])], ["m"], axes)
