"""The page for all eyes and hands: axe-core's rules, sizes of targets, and keys in place of a mouse."""

from __future__ import annotations

from axe_playwright_python.base import AXE_SCRIPT

from tests.browser.test_hands import drop
from tests.browser.test_page import PROMPT, choose, click_image
from tests.ui.colour_world import landscape, save_image

SCREENS = {"desktop": {"width": 1400, "height": 900}, "phone": {"width": 390, "height": 844}}

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
    # It also complains of what scrolls under a panel; SMALL_TARGETS asks more of each control itself.
    "rules": {"target-size": {"enabled": False}},
}

SMALL_TARGETS = """() => {
    const controls = "button, a[href], select, textarea, input, [role=slider], label.option";
    return [...document.querySelectorAll(`.gradio-container :is(${controls})`)]
        .filter(node => node.checkVisibility({ visibilityProperty: true }))
        .filter(node => !node.closest("p, footer, .toast-wrap")) // links in text, and Gradio's own
        .map(node => node.closest("label") ?? (node.matches(".divider") ? node.firstElementChild : node))
        .map(node => [node, node.getBoundingClientRect()])
        .filter(([, box]) => box.width > 1 && Math.min(box.width, box.height) < 24)
        .map(([node, box]) => `${node.className || node.id || node.tagName}: ${box.width} × ${box.height}`);
}"""


RUN = """([parts, rules]) => axe.run(parts ?? document, rules)"""

SWITCH = """isDark => {
    if (document.body.classList.contains("dark") !== isDark) document.querySelector(".theme").click();
    for (const change of document.getAnimations()) if (change instanceof CSSTransition) change.finish();
}"""


def problems(page, state: str, *parts: str) -> list[str]:
    """What is wrong on the page or in parts of it, light and dark, on a desktop and on a phone."""
    found = []
    for screen, size in SCREENS.items():
        page.set_viewport_size(size)
        for theme in ("light", "dark"):
            where = f"{state}, {theme}, {screen}"
            page.evaluate(SWITCH, theme == "dark")
            for one in page.evaluate(RUN, [list(parts) or None, RULES])["violations"]:
                found += [
                    f"{where}: {one['id']} ({one['impact']}) {node['target']} {node['failureSummary']}"
                    for node in one["nodes"]
                ]
        found += [f"{where}: small {target}" for target in page.evaluate(SMALL_TARGETS)]
    page.set_viewport_size(SCREENS["desktop"])
    page.evaluate("scrollTo(0, 0)")
    return found


def test_axe_finds_nothing_in_any_state(open_page, tmp_path):
    page = open_page(reduced_motion="reduce")
    page.evaluate(AXE_SCRIPT)
    page.locator("#image .source-selection").wait_for()
    found = problems(page, "empty")

    choose(page, "Landscape")
    page.mouse.move(5, 5)
    found += problems(page, "map")

    page.locator(".more summary").click()
    found += problems(page, "formats", ".viewer-foot")
    page.locator(".more summary").click()

    click_image(page, 0.3, 0.5)
    page.locator(".why .bar").first.wait_for()
    page.locator("#advanced button").first.click()
    page.locator("#distractors label", has_text="Own names").click()
    page.locator("#own-distractors textarea").wait_for()
    found += problems(page, "why, advanced", ".viewer", "#controls")

    page.locator(".tune").first.click()
    page.locator(".least input").wait_for()
    found += problems(page, "least score", ".viewer")

    page.locator("[role=tab][data-mode=compare]").click()
    found += problems(page, "compare", ".viewer")
    page.locator("[role=tab][data-mode=masks]").click()
    found += problems(page, "masks", ".viewer")

    page.locator("body").press("p")
    drop(page, save_image(tmp_path / "next.tif", landscape()), ".stage")
    page.locator(".queued").wait_for()
    found += problems(page, "present")
    page.locator(".leave").click()

    page.locator(PROMPT).fill("x" * 101)
    page.locator(".problem").wait_for()
    page.locator("#submit").click()
    page.locator(".status.failed").wait_for()
    page.locator(".toast-body").first.wait_for()
    found += problems(page, "error", ".toast-wrap", "#main")

    page.locator(PROMPT).fill("red, green")
    page.locator("#camera .go-live").click()
    page.locator(".live-rate", has_text="frames a second").wait_for()
    found += problems(page, "live", "#camera", "#main")
    assert not found, "\n".join(found)


def test_arrow_keys_go_from_tab_to_tab(open_page):
    page = open_page()
    choose(page, "Landscape")
    mode = page.locator("[role=tab][data-mode]")
    assert mode.evaluate_all("tabs => tabs.map(tab => tab.tabIndex)") == [0, -1, -1]
    mode.first.focus()
    ways = {"ArrowLeft": "masks", "Home": "map", "ArrowRight": "compare", "End": "masks"}
    for key, expected in ways.items():
        page.keyboard.press(key)
        page.locator(f".viewer[data-mode={expected}]").wait_for()
        assert page.evaluate("document.activeElement.dataset.mode") == expected
    assert mode.evaluate_all("tabs => tabs.map(tab => tab.tabIndex)") == [-1, -1, 0]


def test_who_wants_little_motion_sees_little(open_page):
    page = open_page(reduced_motion="reduce")
    style = """([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"""
    assert page.evaluate(style, ["#gallery .card", "transitionDuration"]) == "0s"
    page.locator(".work-bar").evaluate("bar => bar.classList.add('endless')")
    assert page.evaluate(style, [".work-bar", "animationDuration"]) == "4s"
