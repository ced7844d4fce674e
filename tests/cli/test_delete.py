"""`delete` deletes what it names, whatever else waits to be deleted."""

from __future__ import annotations

from place import Place, entry


def test_many_that_wait_to_be_pruned_do_not_stop_the_one_that_is_named(place: Place) -> None:
    place.write("a.yaml", *(entry(f"n{number}") for number in range(7)), entry("keep"))
    place.apply()
    place.write("a.yaml", entry("keep"))
    place.apply()
    place.run("delete", "Entry/n1", "--yes")
    assert place.there().keys() == {"keep", "n0", "n2", "n3", "n4", "n5", "n6"}
    assert place.run("delete", "Entry/n1", "--yes", code=64).err.startswith("error: there is no Entry/n1")
