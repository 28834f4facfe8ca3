"""Every exercise: the right answer passes, and each wrong one is refused with the hint that says what it means."""

import pytest
from right_and_wrong import RIGHT, WRONG

from minigrok.lessons.answers import AnswerError, check
from minigrok.lessons.child import findings
from minigrok.lessons.findings import FaultError
from minigrok.lessons.texts import lessons


def broken(tmp_path, number, text, suffix=".py"):
    """Return the laws that an answer breaks, each with its hint, or the three parts of why it cannot be checked."""
    path = tmp_path / f"answer{suffix}"
    path.write_text(text)
    try:
        return [f"{each.law} {each.hint}" for each in findings(number, path) if not each.holds]
    except FaultError as fault:
        return [" ".join(fault.args)]


def test_there_are_twelve_lessons_in_order():
    assert [lesson.number for lesson in lessons()] == list(range(1, 13))


@pytest.mark.parametrize("number", RIGHT)
def test_the_right_answer_passes(tmp_path, number):
    assert broken(tmp_path, number, RIGHT[number]) == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.lesson}: {wrong.name}")
def test_a_wrong_answer_is_refused_with_its_hint(tmp_path, wrong):
    assert wrong.old in RIGHT[wrong.lesson]
    found = broken(tmp_path, wrong.lesson, RIGHT[wrong.lesson].replace(wrong.old, wrong.new))
    assert any(wrong.law in each and wrong.hint in each for each in found), found


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: str(lesson.number))
def test_the_file_to_fill_in_is_no_answer(tmp_path, lesson):
    assert broken(tmp_path, lesson.number, lesson.exercise.START, lesson.exercise.SUFFIX)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("while True: pass", "still running"),
        ("raise ValueError(3)", "ValueError"),
        ("import missing_module", "missing_module"),
        ("import os; os._exit(3)", "without a result"),
    ],
)
def test_an_answer_that_cannot_be_checked_is_an_error_in_three_parts(tmp_path, text, words):
    path = tmp_path / "answer.py"
    path.write_text(text)
    with pytest.raises(AnswerError) as error:
        check(11, path, 8.0)
    assert words in f"{error.value.required} {error.value.got} {error.value.do}"
