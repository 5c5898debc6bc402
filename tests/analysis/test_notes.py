from analysis.notes import left_out, sorted_notes


def test_what_is_left_out_is_named_once_per_reason():
    notes = [
        n.text for n in left_out("equalized", {"a": "no reader", "b": "last", "c": "no reader"})
    ]
    assert notes == ["Not equalized: `a`, `c`: no reader.", "Not equalized: `b`: last."]


def test_what_was_done_comes_before_what_was_left_out():
    left = next(left_out("absorbed", {"a": "it is padded"})).text
    done, kept = sorted_notes([left, "6 pairs equalized.", left, "Nothing else."])
    assert done == ("6 pairs equalized.", "Nothing else.")
    assert kept == (left,)
