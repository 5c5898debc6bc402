from analysis.plots.names import short_names


def test_what_all_names_share_is_dropped():
    found = short_names(
        [
            "uniform w4a8, ends w8a8, bias_correction",
            "uniform w4a8, ends w8a8, bias_correction:estimate=analytic",
        ]
    )
    assert found == ("bias_correction", "bias_correction:estimate=analytic")


def test_what_is_as_usual_is_dropped_where_names_stay_different():
    found = short_names(
        [
            "uniform w8a8, nearest",
            "uniform w4a8, ends w8a8, nearest",
            "uniform w4a8, ends w8a8, bias_correction",
        ]
    )
    assert found == ("uniform w8a8", "uniform w4a8", "uniform w4a8, bias_correction")


def test_names_that_would_become_equal_keep_what_tells_them_apart():
    names = ("uniform w4a8, nearest", "uniform w4a8, ends w8a8, nearest", "uniform w4a8")
    assert len(set(short_names(list(names)))) == 3


def test_a_long_name_loses_its_middle_and_stays_different():
    same = "a" * 40
    found = short_names([f"{same}x{same}", f"{same}y{same}", "b"], longest=10)
    assert len(set(found)) == 3
    assert found[2] == "b"
    assert short_names(["0123456789abc"], longest=9) == ("0123…9abc",)


def test_one_name_and_names_of_the_user_stay_as_they_are():
    assert short_names(["mine"]) == ("mine",)
    assert short_names(["nearest"]) == ("nearest",)
    assert short_names([]) == ()
    assert short_names(["mine", "mine (2)"]) == ("mine", "mine (2)")
