"""Forecasts frame by frame: what is drawn, from where, and what is written beside it."""

import numpy as np
import pytest
from darts import TimeSeries

from darts_mim import Grid, frames_to_series, series_to_frames
from darts_mim.plotting import plot_frames
from tests.plotting.conftest import MINUS, bars, cells, drawn, labels, limits, rows


def steps(row):
    return [ax.get_title().replace(MINUS, "-") for ax in row]


def names(figure):
    return [row[0].get_ylabel().replace("\n", " ") for row in rows(figure)]


class TestRows:
    def test_they_are_context_truth_forecast_and_difference(self, series):
        figure = plot_frames(series[:4], series[4:7], series[4:7] * 2.0, value_label="rain [mm]")
        context, truth, forecast, difference = rows(figure)
        assert [drawn(row) for row in (context, truth)] == [[1, 2, 3], [4, 5, 6]]
        assert [drawn(row) for row in (forecast, difference)] == [[8, 10, 12], [4, 5, 6]]
        assert (steps(context), steps(truth)) == (["t-2", "t-1", "t"], ["t+1", "t+2", "t+3"])
        assert steps(forecast) == ["", "", ""]
        assert names(figure) == ["Context", "Truth", "Forecast", "Absolute difference"]
        # context and truth set the colours; an arrow says that the forecast goes beyond
        assert (limits(truth[0]), limits(difference[0])) == ((1.0, 6.0), (0.0, 6.0))
        assert [ax._colorbar.extend for ax in bars(figure)] == ["max", "neither"]
        assert labels(bars(figure)) == ["rain [mm]", f"|forecast {MINUS} truth| [mm]"]

    def test_an_unknown_future_has_two(self, series):
        figure = plot_frames(series[:4], None, series[4:7], channel="wind")
        assert (names(figure), labels(bars(figure))) == (["Context", "Forecast"], ["wind"])
        assert drawn(rows(figure)[1]) == [104, 105, 106]
        assert limits(rows(figure)[1][0]) == (101.0, 106.0)

    def test_models_have_a_row_each_and_rows_can_be_chosen(self, series):
        forecasts = {"MIM": series[4:7] * 0.5, "persistence": series[4:7] * 0.0 + 3.0}
        order = ["difference", "truth", "forecast"]
        figure = plot_frames(series[:4], series, forecasts, rows=order, signed=True)
        assert names(figure) == ["MIM difference", "persistence difference", "Truth", *forecasts]
        assert [drawn(row) for row in rows(figure)[:2]] == [[-2, -2.5, -3], [-1, -2, -3]]
        assert {limits(ax) for row in rows(figure)[:2] for ax in row} == {(-3.0, 3.0)}
        figure = plot_frames(series[:4], series, forecasts, rows=["difference"], difference_vmax=2)
        assert limits(rows(figure)[0][0]) == (0.0, 2.0)
        assert labels(bars(figure)) == [f"|forecast {MINUS} truth|"]

    def test_steps_count_from_the_end_of_the_context(self, series):
        context, truth, *_ = rows(plot_frames(series[:4], series, series[6:8]))
        assert (drawn(context), steps(context)) == ([2, 3], ["t-1", "t"])
        assert (drawn(truth), steps(truth)) == ([6, 7], ["t+3", "t+4"])
        frames = series_to_frames(series)
        dated = frames_to_series(frames, start="2016-01-31", freq="ME")
        assert steps(rows(plot_frames(dated[:4], dated, dated[6:8]))[1]) == ["t+3", "t+4"]
        assert drawn(rows(plot_frames(dated, dated, dated[6:8]))[0]) == [4, 5]

    def test_only_some_frames_are_drawn_where_asked_or_where_there_are_many(self, series):
        context, truth, *_ = rows(plot_frames(series[:6], series[6:], series[6:], every=2))
        assert (steps(context), drawn(truth)) == (["t-4", "t-2", "t"], [7, 9, 11])
        long = frames_to_series(np.zeros((60, 1, 3, 4), np.float32))
        (few,) = rows(plot_frames(long[:30], long, long[30:], rows=["truth"]))
        assert steps(few) == [f"t+{step}" for step in range(3, 31, 3)]
        (many,) = rows(plot_frames(long[:30], long, long[30:], rows=["truth"], every=1))
        written = [step for step in steps(many) if step]
        assert (len(many), written[-1]) == (30, "t+30")  # the last one has its label always
        assert 5 < len(written) < 20

    def test_a_distribution_is_drawn_as_its_median(self, series):
        future = series[4:6]
        samples = future.with_values(future.all_values() + np.array([-3.0, 0.0, 1.0]))
        for forecast in (samples, samples.quantile([0.1, 0.5, 0.9])):
            figure = plot_frames(series[:4], future, forecast, channel=1)
            assert drawn(rows(figure)[2]) == [104, 105]
            assert names(figure)[2] == "Forecast (median)"

    def test_a_series_without_a_grid_is_a_cell_for_each_component_and_colours_can_be_set(self):
        series = TimeSeries.from_values(np.arange(12.0).reshape(6, 2))
        look = {"channel": 1, "vmin": -5, "vmax": 5, "cmap": "gray"}
        forecast = rows(plot_frames(series[:3], None, series[3:], **look))[1]
        assert (drawn(forecast), limits(forecast[0])) == ([7, 9, 11], (-5, 5))
        assert forecast[0].collections[0].get_cmap().name == "gray"


class TestMissingCells:
    def test_masked_cells_and_missing_values_are_hatched_in_every_row(self, field):
        values = field.all_values().copy()
        values[5] = np.nan
        figure = plot_frames(field[:4], field.with_values(values), field[4:7])
        is_hidden = np.arange(12).reshape(3, 4) == 9
        for number, row in enumerate(rows(figure)):
            for frame, ax in enumerate(row):
                is_missing = is_hidden | (frame == 1 and number in (1, 3))
                np.testing.assert_array_equal(np.ma.getmaskarray(cells(ax)), is_missing)
                assert ax.collections[0].get_cmap().get_bad()[3] == 0.0
                assert ax.patch.get_hatch()

    def test_a_mask_that_only_one_series_knows_holds_for_all(self, field):
        plain = frames_to_series(series_to_frames(field), start="2020-01-01", freq="MS")
        panels = rows(plot_frames(plain[:4], field[4:7], plain[4:7]))
        assert panels[0][0].get_xlim() == (95.0, 135.0)
        assert cells(panels[2][0]).mask[2, 1]


class TestRedGreenBlue:
    def test_three_channels_are_drawn_as_colours(self):
        frames = np.random.default_rng(0).random((6, 3, 4, 5), dtype=np.float32)
        clip = frames_to_series(frames, mask=np.arange(20).reshape(4, 5) > 0)
        figure = plot_frames(clip[:3], clip, clip[3:] * 2.0, channel="rgb")
        _, truth, forecast, difference = rows(figure)
        expected = np.moveaxis(frames[3], 0, -1)
        np.testing.assert_array_equal(cells(truth[0])[1:, :, :3], expected[1:])
        assert (cells(truth[0])[0, 0, 3], cells(truth[0])[0, 1, 3]) == (0.0, 1.0)
        assert cells(forecast[0]).max() == 1.0
        found = cells(difference[0])
        np.testing.assert_allclose(found[1:], expected.mean(axis=-1)[1:], rtol=1e-6)
        assert (found.mask[0, 0], len(bars(figure))) == (True, 1)
        with pytest.raises(ValueError, match=r'`channel="rgb"` needs .* in \[0, 1\].* to 25'):
            plot_frames(clip[:3] * 255.0, None, clip[3:], channel="rgb")


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"channel": -1}, r"`channel` must be .*, got -1"),
            ({"channel": "snow"}, r"`channel` must be one of .*'rain', 'wind'.*, got 'snow'"),
            ({"channel": "rgb"}, r'`channel="rgb"` needs three channels .*got 2'),
            ({"every": 4}, "`every` must be at most 3, .*got 4"),
            ({"cmap": "grau"}, "'grau' is not a valid value for cmap"),
            ({"vmin": 9.0}, "range of colours is empty, 9 to 6: `vmin` must be below"),
            ({"difference_vmax": 0.0}, "empty, 0 to 0: .* `difference_vmax` positive"),
            ({"rows": "truth"}, "`rows` must be a list of .*, got 'truth'"),
            ({"actual": None, "rows": ["truth"]}, "`rows` must be .* need `actual`"),
            ({"forecast": "reversed"}, r"`forecast` must lie on the cells of .*, with 'lat'"),
            ({"forecast": "other grid"}, r"one grid, got .*'forecast': \(.*\(2, 7, 5\)\)"),
            ({"forecast": "slower"}, r"one frequency .*'forecast': \('2'"),
            ({"forecast": "later"}, r"`forecast` \(8 to 11\) must share time steps"),
            ({"history": "late"}, "`history` must begin before .* step 4, got 4 to 6"),
            ({"forecast": "empty"}, "must hold a finite value"),
            ({"forecast": {"MIM": 3}}, r"`forecast\['MIM'\]` must be a TimeSeries, got int"),
        ],
    )
    def test_they_name_the_argument(self, series, field, options, message):
        lat, lon = Grid.from_series(field).coordinates.values()
        turned = {"coordinates": {"lat": lat[::-1], "lon": lon}, "channel_names": ["sst"]}
        values = series_to_frames(field)
        others = {
            "late": series[4:7],
            "other grid": frames_to_series(np.zeros((12, 2, 7, 5), np.float32))[4:],
            "slower": frames_to_series(np.zeros((4, 2, 5, 7), np.float32), start=4, freq=2),
            "later": series[8:],
            "empty": series[4:7] * np.nan,
            "reversed": frames_to_series(values, start="2020-01-01", freq="MS", **turned)[4:],
        }
        given = {"history": series[:4], "actual": series[4:7], "forecast": series[4:7]}
        if options.get("forecast") == "reversed":
            given = {"history": field[:4], "actual": field[4:7]}
        for name, value in options.items():
            given[name] = others.get(value, value) if isinstance(value, str) else value
        with pytest.raises(TypeError if "TimeSeries" in message else ValueError, match=message):
            plot_frames(**given)
