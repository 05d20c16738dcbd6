"""Tables of measured displacements."""

import numpy as np
import pytest

from dolfinx_admat import MaterialError
from dolfinx_admat.laboratory import read_field_data


@pytest.fixture
def table(tmp_path):
    def write(text):
        file = tmp_path / "field.csv"
        file.write_text(text)
        return file

    return write


def test_one_step(table):
    data = read_field_data(table("# camera 1\nx,y,ux,uy\n1,0,0.1,0.2\n0,0,0.3,\n"))
    assert data.points.tolist() == [[1, 0], [0, 0]]
    assert data.values.tolist() == [[[0.1, 0.2], [0.3, 0.0]]]
    assert data.weights.tolist() == [[[1, 1], [1, 0]]] and data.components == (0, 1)
    assert data.times.tolist() == [0.0]


def test_steps_weights_gaps_and_names(table):
    file = table(
        "t,X [mm],Y [mm],Z [mm],V,w,note\n"
        "0.5,1,2,3,0.1,2,1\n0.5,4,5,6,nan,2,1\n"
        "0.7,4,5,6,0.4,1,1\n"  # the other point is a gap
        "1.5,4,5,6,0.5,0,1\n1.5,1,2,3,0.6,,1\n1.5,7,8,9,0.7,3,1\n"
    )
    names = {"x": "X [mm]", "y": "Y [mm]", "z": "Z [mm]", "uy": "V", "time": "t", "weight": "w"}
    data = read_field_data(file, names, scale=0.1)
    assert np.allclose(data.points, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], rtol=1e-15)
    assert data.times.tolist() == [0.5, 0.7, 1.5] and data.components == (1,)
    assert np.allclose(data.values[..., 0], [[0.01, 0, 0], [0, 0.04, 0], [0, 0, 0.07]], rtol=1e-15)
    assert data.weights[..., 0].tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 3]]
    assert (data.known == (data.weights > 0)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,u\n0,0,1\n", "got columns x, y; expected x, y .and z., at least one of ux"),
        ("x,ux\n0,1\n", "got columns x, ux; expected"),
        ("x,y,ux,uz\n0,0,1,1\n", "a column uz but no z"),
        ("x,y,ux,time,step\n0,0,1,1,1\n", "both time and step"),
        ("x,y,ux\n0,a,1\n", "'a'; expected numbers"),
        ("x,y,ux\n0,,1\n", "row 1: a coordinate is missing"),
        ("x,y,ux,time\n0,0,1,1\n0,0,1,\n", "row 2: time is missing"),
        ("x,y,ux,step\n0,0,1,1\n0,0,1,2\n1,0,1,1\n", "row 3: time decreases; sort rows"),
        ("x,y,ux,weight\n0,0,1,1\n1,0,1,-1\n", "row 2: the weight is negative"),
        ("x,y,ux\n0,0,inf\n", "row 1: a displacement is infinite"),
        ("x,y,ux\n0,0,1\n1,0,1\n0,0,2\n", "row 3: the point was there already"),
        ("x,y,ux\n0,0,\n", "nothing but gaps"),
        ("x,y,ux\n0,0\n", "row 1 has 2 values, expected 3"),
        ("x,y,ux\n", "got 1 lines"),
    ],
)
def test_wrong_tables(text, message, table):
    with pytest.raises(MaterialError, match=message):
        read_field_data(table(text))


def test_wrong_names(table, tmp_path):
    file = table("x,y,ux\n0,0,1\n")
    with pytest.raises(MaterialError, match="no column 'U'; it has x, y, ux"):
        read_field_data(file, {"ux": "U"})
    with pytest.raises(MaterialError, match=r"columns are for x, y, z, .*; got 'u'"):
        read_field_data(file, {"u": "ux"})
    with pytest.raises(MaterialError, match="there is no such file"):
        read_field_data(tmp_path / "none.csv")
