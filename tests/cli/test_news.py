"""What a load says while it is under way comes to the terminal at once, and once."""

from __future__ import annotations

from pathlib import Path

from harness.cli.news import News


def test_each_sentence_of_the_load_itself_is_passed_on_once(tmp_path: Path) -> None:
    log, said = tmp_path / "locust.log", list[str]()
    log.write_text("harness: said before\n")
    news = News(log, said.append)
    with log.open("a") as file:
        file.write("a table of Locust's\nharness: load process 1 is lost\nharness: not yet wh")
    news.pass_on()
    assert said == ["load process 1 is lost"]
    with log.open("a") as file:
        file.write("ole\n")
    news.pass_on()
    news.tell("load process 1 is lost")
    assert said == ["load process 1 is lost", "not yet whole"]
