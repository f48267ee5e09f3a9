"""The page in another language."""

import json
import re
from html import unescape

import httpx
import pytest

from ovseg_demo.errors import OvsegError
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, PROPOSING, WAITING
from ovseg_demo.ui.api import SEGMENT
from ovseg_demo.ui.assets import ASSETS, fill_html, fill_script, read_assets
from ovseg_demo.ui.background_task import Progress
from ovseg_demo.ui.language.texts import FOLDER, known_languages, load_texts
from ovseg_demo.ui.options import read_options
from ovseg_demo.ui.status_text import LOADING, progress_label
from tests.ui.serving import serve_page

ENGLISH = json.loads((FOLDER / "en.json").read_text(encoding="utf-8"))
MADE_BY_PYTHON = (
    "advice.",
    "viewer.side_adapted",
    "viewer.side_no_prompts",
    "viewer.side_unadapted",
    "progress.",
    "status.",
    "licence.weights",
    "advanced.ready",
    "advanced.not_",
    "advanced.size_",
    "advanced.seconds",
    "notice.grid",
    "notice.finer",
    "notice.own_grid",
    "notice.answered_by",
    "notice.small",
    "notice.drawn",
    "notice.foreign",
    "notice.use",
    "notice.download",
    "notice.operator",
)
"""Texts that the page gets only with a map or with a model of the catalogue."""

PAPER = "Open-Vocabulary Semantic Segmentation with Mask-adapted CLIP"


def save(folder, language, texts):
    (folder / f"{language}.json").write_text(json.dumps(texts), encoding="utf-8")
    return folder


@pytest.fixture
def quoted(tmp_path):
    """A language whose every text is the English one in « »."""
    texts = {group: {key: f"«{text}»" for key, text in entries.items()} for group, entries in ENGLISH.items()}
    return load_texts("quoted", save(tmp_path, "quoted", texts))


def strings(value):
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from strings(entry)


def without_comments(text):
    return re.sub(r"/\*.*?\*/|^\s*//.*?$|\s// .*?$", "", text, flags=re.DOTALL | re.MULTILINE)


def test_every_text_of_the_page_comes_from_the_language_file(quoted):
    with serve_page(texts=quoted) as server:
        page = httpx.get(server.url).text
        config = httpx.get(f"{server.url}/config").json()
    endpoint = next(event for event in config["dependencies"] if event["api_name"] == SEGMENT)
    of_programs = {*endpoint["inputs"], *endpoint["outputs"]}
    components = [entry for entry in config["components"] if entry["id"] not in of_programs]
    content = unescape(without_comments("\n".join(strings(components))))
    content = re.sub(r"<(/?)(b|em|code)>", "", content)
    assert quoted["header.description"] in page
    own = re.sub("«[^»]*»", "", content).replace(PAPER, "")
    for key, text in load_texts().by_key.items():
        text = re.sub(r"<(/?)(b|em|code)>", "", text)
        if not key.startswith((*MADE_BY_PYTHON, "header.description")):
            assert f"«{text}»" in content, key
        if " " in text:
            assert text not in own, key
    assert "{{" not in content


def test_the_status_line_speaks_the_language(quoted):
    for stage in (LOADING, WAITING, PROPOSING, EMBEDDING_REGIONS, DRAWING):
        assert progress_label(Progress(stage, 0, 1), "sam", quoted) == f"«{stage}»"
        assert progress_label(Progress(stage, 0, 1), "sam", load_texts()) == stage
    label = progress_label(Progress("Checking x.pth", 1_000_000, 4_000_000), "sam", quoted)
    assert label == "«Checking x.pth» 1 / 4 MB"


@pytest.mark.parametrize("path", sorted(ASSETS.rglob("*.*")), ids=lambda path: path.name)
def test_no_placeholder_is_left_in_an_asset(path):
    assert "{{" not in read_assets(str(path.relative_to(ASSETS)))


def test_a_text_is_data_in_html_and_in_scripts(tmp_path):
    texts = {**ENGLISH, "chips": {**ENGLISH["chips"], "not_found": '"<script>&</script> <b>no</b>'}}
    texts = load_texts("odd", save(tmp_path, "odd", texts))
    html = fill_html('<p title="{{chips.not_found}}"></p>', texts)
    assert html == '<p title="&quot;&lt;script&gt;&amp;&lt;/script&gt; <b>no</b>"></p>'
    script = fill_script('say("{{chips.not_found}}");', texts)
    assert "<" not in script
    assert json.loads(script.removeprefix("say(").removesuffix(");")) == texts["chips.not_found"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: texts["viewer"].pop("cancel"), r"missing viewer\.cancel, unknown none"),
        (lambda texts: texts["viewer"].update(stop="Halt"), r"missing none, unknown viewer\.stop"),
        (lambda texts: texts["status"].update(in_use="in use"), r'"status\.in_use" .* other placeholders'),
        (
            lambda texts: texts["status"].update(in_use="{count in use"),
            r'"status\.in_use" .* other placeholders',
        ),
        (lambda texts: texts["viewer"].update(cancel=1), r'"viewer\.cancel" .* is 1'),
        (lambda texts: texts.update(viewer="Cancel"), "is no language file"),
    ],
)
def test_a_language_file_has_the_keys_and_placeholders_of_the_english_one(tmp_path, change, message):
    texts = json.loads(json.dumps(ENGLISH))
    change(texts)
    with pytest.raises(OvsegError, match=message):
        load_texts("new", save(tmp_path, "new", texts))


def test_the_operator_chooses_a_language(capsys):
    assert "en" in known_languages()
    assert read_options([], {"OVSEG_LANGUAGE": "en"}).page.texts == load_texts()
    with pytest.raises(SystemExit):
        read_options(["--language", "tlh"], {})
    assert 'no language "tlh" of the page; choose one of en' in capsys.readouterr().err


def test_every_language_file_can_be_used():
    for language in known_languages():
        assert load_texts(language).language == language
