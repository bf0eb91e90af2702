"""The dashboard in a real Chromium: what a person sees and clicks, checked against the command line.

Needs Debian's chromium, chromium-driver and python3-selenium. Pages are told apart by the texts that people read.
"""

import json
import os

import pytest
import support
from browser import SECONDS, By, Keys, browser, page, row  # noqa: F401  page is a fixture
from support import eventually


def test_deploy_watch_swap_roll_back(embedded, page):
    topic = embedded.topic("events")
    page.open("")
    page.sees("There is no processor yet")
    page.sees("live", "#live")
    embedded.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(150_000)) + "\n")
    embedded.deploy("features", support.features_sql(topic, right=False), "--wait")
    page.sees("features")
    page.sees("up to date")
    page.sees("v1 serves user_features")
    page.go("#/p/features/compare")
    page.sees("It takes two versions")
    page.go("#/")
    page.sees("v1 serves user_features")
    page.click("article h2 a")
    page.sees("Nothing to swap in")
    assert not page.find("#swap").is_enabled() and not page.find("#rollback").is_enabled()

    # v2 comes, is replayed and caught up, all seen without touching the page.
    page.driver.execute_script("""
        window.seen = [];
        new MutationObserver(() => {
          const pill = document.querySelector('.version[data-version="2"] .pill');
          if (pill && pill.textContent !== window.seen.at(-1)) window.seen.push(pill.textContent);
        }).observe(document.getElementById("main"), {subtree: true, childList: true, characterData: true});""")
    producer = support.Producer(embedded, topic, 200, first=150_000)
    embedded.deploy("features", support.features_sql(topic), "--swap", "manual")
    page.sees("ready", row(2))
    seen = page.driver.execute_script("return window.seen")
    order = ["planned", "replaying", "catching up", "ready"]
    assert seen[-1] == "ready" and seen == [state for state in order if state in seen], seen
    page.sees("100 % of the log", row(2))
    page.sees("partition 3", row(2))

    # The swap: checks, the comparison, the button, the receipt.
    page.click("#swap")
    page.sees("v2 has caught up (ready)", "dialog")
    page.sees("What differs between v1 and v2", "dialog")
    page.sees("differs: clicks in", "dialog")
    assert "differs: views" not in page.find("dialog").text
    assert embedded.status("features")["serving"] == 1
    page.find("dialog").send_keys(Keys.ESCAPE)  # nothing has happened
    eventually(lambda: not page.driver.find_elements(By.TAG_NAME, "dialog"), SECONDS, "the dialog is gone")
    assert page.driver.switch_to.active_element.get_attribute("id") == "swap"
    assert embedded.status("features")["serving"] == 1
    page.click("#swap")
    page.click("#go")
    page.sees("v2 serves since", "dialog")
    assert embedded.status("features")["serving"] == 2
    page.click("#cancel")
    page.sees("serving", row(2))
    page.sees("standby", row(1))

    page.click("#rollback")
    page.sees("Roll features back from v2 to v1", "dialog")
    page.click("#go")
    page.sees("v1 serves since", "dialog")
    page.click("#cancel")
    page.sees("standby, rolled back", row(2))
    assert embedded.status("features")["serving"] == 1
    producer.stop()

    page.click('nav.tabs a[href$="/compare"]')
    page.click("#go")
    page.sees("What differs between v1 and v2")

    page.click('nav.tabs a[href$="/history"]')
    page.sees("Receipts of 3 swaps")
    assert [row[1:4] for row in page.cells()] == [
        ["rollback", "dashboard", "v2 \u2192 v1"], ["swap", "dashboard", "v1 \u2192 v2"], ["swap, automatic", "kappa", "v1"]]
    assert page.complaints() == []


def test_pause_resume_abort_and_a_refusal(embedded, page):
    topic = embedded.topic("events")
    embedded.produce(topic, support.events_lines(1000), "--key", "user_id")
    embedded.deploy("features", support.features_sql(topic, right=False), "--wait")
    embedded.deploy("features", support.features_sql(topic), "--swap", "manual")
    page.open("#/p/features")
    page.sees("ready", row(2))
    for action, state in (("pause", "paused"), ("resume", "ready")):
        page.click(f'{row(2)} [data-action="{action}"]')
        page.click("#go")
        page.sees("v2 is paused" if state == "paused" else "v2 goes on", "dialog")
        page.click("#cancel")
        page.sees(state, row(2) + " .pill")
        assert embedded.version("features", 2)["state"] == state

    embedded.run("limit", "features", 2, "500/s,freshness=50ms")
    page.sees("limited to 500 records/s, freshness p99 \u2264 50 ms", row(2))

    # Somebody else aborts it while the dialog is open: the answer is a sentence.
    page.click("#swap")
    page.sees("What differs", "dialog")
    embedded.run("abort", "features", 2)
    page.sees("v2 is aborted", "dialog")
    page.click("#go")
    page.sees("What to do:", "dialog .error")
    assert "v2" in page.find("dialog .error").text and embedded.status("features")["serving"] == 1
    page.click("#cancel")

    embedded.run("replay", "features", "--swap", "manual")
    page.sees("ready", row(3))
    page.click(f'{row(3)} [data-action="abort"]')
    page.click("#go")
    page.sees("v3 is aborted", "dialog")
    page.click("#cancel")
    page.sees("aborted", row(3))
    assert embedded.version("features", 3)["state"] == "aborted"


EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">'


def test_records_are_text(embedded, page):
    topic = embedded.topic("events", 1)
    good = {"id": 9007199254740993, "note": EVIL}
    embedded.produce(topic, [json.dumps(good), json.dumps({"id": EVIL, "note": "x"}), EVIL])
    embedded.deploy("p", f"CREATE TABLE events (id bigint, note text) WITH (topic='{topic}', format='json');\n"
                    "CREATE MATERIALIZED VIEW notes AS SELECT id, note, count(*) AS n FROM events GROUP BY id, note;",
                    "--wait")

    def harmless():
        assert page.driver.execute_script("return window.hacked") is None
        assert page.driver.find_elements(By.CSS_SELECTOR, "main script, main img") == []

    page.open("#/p/p/dead")
    page.sees("2 of them")
    page.sees("<script>window.hacked = 1</script>", "tbody")
    harmless()
    page.go("#/topics")
    page.sees("1 partition")
    page.click("main h2 a")
    page.sees("0 @ 2")
    page.sees("onerror=", "tbody")
    page.sees("9007199254740993", "tbody")
    harmless()
    page.go("#/sql")
    page.sees("notes")
    field = page.find("#text")
    field.send_keys("SELECT id, note, 0.1 + 0.2 AS f, null AS empty FROM notes", Keys.CONTROL, Keys.ENTER)
    page.sees("1 row in")
    assert page.cells() == [["9007199254740993", EVIL, "0.30000000000000004", "null"]]
    page.sees("read from p v1 (epoch 1)")
    harmless()
    assert page.complaints() == []

    field.clear()
    field.send_keys("SELECT nope FROM notes")
    page.click("#run")
    page.sees("nope", ".error")

    # Even markup that got into the page would not run.
    page.driver.execute_script("document.getElementById('main').innerHTML = arguments[0]", EVIL)
    eventually(page.complaints, SECONDS, "the browser says that the policy forbids it")
    assert page.driver.execute_script("return window.hacked") is None


def test_layout(embedded, page):
    """No page is wider than the window, at 360 and 1280 px, in light and dark; names may be long."""
    topic = embedded.topic("events-with-a-long-name-that-has-no-place-to-break-" + "x" * 40)
    embedded.produce(topic, support.events_lines(500) + ['{"user_id": "u1", "event_time": "' + "y" * 900 + '"}'], "--key", "user_id")
    name = "features-" + "z" * 60
    embedded.deploy(name, support.features_sql(topic, right=False), "--wait")
    embedded.deploy(name, support.features_sql(topic), "--swap", "manual")
    page.open("")
    for width, dark in ((360, True), (1280, False)):
        page.size(width, dark)
        for hash_, text in (("#/", "v1 serves"), (f"#/p/{name}", "Versions over time"), (f"#/p/{name}/history", "Receipts"),
                            (f"#/p/{name}/compare", "Compare"), (f"#/p/{name}/messages", "There is none"),
                            (f"#/p/{name}/dead", "1 of them"), (f"#/p/{name}/late", "There is none"), ("#/topics", topic),
                            ("#/topics/" + topic, "0 @"), ("#/sql", "user_features"), ("#/nowhere", "no such page")):
            page.go(hash_)
            page.sees(text)
            assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width, (width, hash_)
        page.go(f"#/p/{name}")
        page.click("#swap")
        page.sees("What differs", "dialog")
        box = page.find("dialog").rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, box
        page.click("#cancel")
    assert page.complaints() == []
    for hash_ in ("", "/compare", "/messages", "/dead"):
        page.go("#/p/nowhere" + hash_)
        page.sees("There is no processor")
    page.go("#/p/nowhere")
    page.sees("There is no processor")
    assert page.driver.execute_script("return document.querySelector('.pill').checkVisibility()") is False


def test_many(embedded, page):
    """Many partitions and versions leave the plots near; the rest is there when it is asked for."""
    topic = embedded.topic("events", 20)
    embedded.produce(topic, support.events_lines(2000, users=1000), "--key", "user_id")
    sql = (f"CREATE TABLE events (user_id text) WITH (topic = '{topic}', key = 'user_id');\n"
           "CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS n FROM events GROUP BY user_id;\n")
    embedded.deploy("counts", sql, "--wait")
    for _ in range(8):
        embedded.run("replay", "counts", "--wait")
    embedded.run("replay", "counts", "--swap", "manual", "--wait")
    page.size(360, True)
    page.open("#/p/counts")
    page.sees("2 older versions that are over")
    for number, seen in ((10, True), (9, True), (8, True), (3, True), (2, False), (1, False)):
        assert page.driver.execute_script(
            "return document.querySelector(arguments[0]).checkVisibility()", row(number)) is seen, number
    page.click("#older summary")
    page.sees("retired", row(1))
    assert not page.has("partition 0", row(10))
    page.click(row(10) + " summary")
    page.sees("partition 19", row(10))
    clipped = page.driver.execute_script("""
        return [...document.querySelectorAll(arguments[0] + " .parts > span")]
          .filter(span => span.scrollWidth > span.clientWidth).map(span => span.textContent)""", row(10))
    assert clipped == []
    page.click("#swap")
    page.sees("are the same in every row", "dialog")
    assert page.driver.execute_script(
        "const box = document.querySelector('dialog .inside'); return box.scrollWidth - box.clientWidth") == 0
    page.click("#cancel")

    # A table of more rows than are followed leads to some of them.
    page.go("#/t/counts")
    page.sees("Changes come here")
    page.click('main a[href="#/sql"]')
    page.sees("100 rows in")


def test_server_away(embedded, page):
    """What stands on the page is not taken for the truth when the server is gone; back again, all is read anew."""
    topic = embedded.topic("events")
    embedded.produce(topic, support.events_lines(200), "--key", "user_id")
    embedded.deploy("features", support.features_sql(topic), "--wait")
    page.open("#/")
    page.sees("up to date")
    assert not page.find("#stale").is_displayed()
    embedded.kill()
    page.sees("The server does not answer since", "#stale")
    page.driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert page.find("#stale").rect["y"] >= page.driver.execute_script("return scrollY")  # in sight
    page.go("#/topics")
    page.sees("The server does not answer.")
    assert page.driver.execute_script("return scrollY") == 0  # a new page begins at the menu
    embedded.args = [*embedded.args, "--http", page.address]
    embedded.up()
    page.sees(topic)
    assert not page.find("#stale").is_displayed() and page.find("#live").text == "live"


def test_page_and_other_sites(embedded):
    """What the server says to the browser; needs no browser."""
    status, text, headers = embedded.http("GET", "/")
    assert status == 200 and text.startswith("<!doctype html>")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    for name in sorted(os.listdir(os.path.join(support.ROOT, "serve", "dashboard"))):
        status, text, headers = embedded.http("GET", "/dashboard/" + name)
        with open(os.path.join(support.ROOT, "serve", "dashboard", name)) as file:
            assert status == 200 and text == file.read(), name
        assert headers["Content-Type"].split("/")[0] in ("text", "image")
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text, name
        assert "innerHTML" not in text and "eval(" not in text, name
    assert embedded.http("GET", "/dashboard/..%2Fhttp.c")[0] == 404
    status, answer, _ = embedded.http("POST", "/v1/sql", {"sql": "SELECT 1"}, {"Origin": "http://evil.example"})
    assert status == 403 and answer["error"]["hint"]


def test_policy_held_and_overruled(embedded, page):
    topic = embedded.topic("events")
    embedded.produce(topic, support.events_lines(2000), "--key", "user_id")
    embedded.deploy("features", support.features_sql(topic, right=False), "--wait")
    embedded.deploy("features", support.features_sql(topic), "--swap", "manual", "--set", "swap.max_changed=0")
    page.open("#/p/features")
    page.sees("policy: ", row(2))
    page.sees("swap.max_changed = 0", row(2))
    page.sees("ready", row(2))
    page.click("#swap")
    page.sees("Its policy is checked first", "dialog")
    page.sees("What differs", "dialog")
    assert not page.find("#force").is_displayed()
    page.click("#go")
    page.sees("swap.max_changed", "dialog .error")
    assert embedded.status("features")["serving"] == 1
    page.click("#force")
    page.click("#go")
    page.sees("takes a reason", "dialog .error")
    page.find("#reason").send_keys("the drift is the fix")
    page.click("#go")
    page.sees("v2 serves since", "dialog")
    page.click("#cancel")
    assert embedded.status("features")["serving"] == 2
    page.click('nav.tabs a[href$="/history"]')
    page.sees("swap, forced")
    page.click("tbody summary")
    page.sees("reason the drift is the fix")
    page.sees("policy overruled: ")


@pytest.fixture
def guarded(tmp_path):
    """A platform that asks for tokens, with a table; guarded.tokens has those of a reader and of an operator."""
    access = str(tmp_path / "access")
    platform = support.Platform(str(tmp_path), args=["--access", access])
    platform.tokens = {name: platform.json("access", "add", name, "--role", roles, "--access", access)["token"]
                       for name, roles in (("rita", "read"), ("olga", "read,operate"))}
    with platform.up():
        topic = platform.topic("events", 1)
        platform.run("produce", topic, "--key", "user_id", stdin="\n".join(support.events_lines(200)) + "\n")
        platform.deploy("features", support.features_sql(topic), "--wait")
        platform.run("replay", "features", "--swap", "manual", "--wait")
        yield platform


def test_token(guarded, tmp_path):
    """Asked for once, kept in the tab; a role that is missing is said; receipts name the person; live goes on."""
    def sign_in(page, token):
        page.sees("This server asks for a token", "dialog.token")
        page.find("#token").send_keys(token)
        page.click("#token-go")

    with browser(guarded, tmp_path) as page:
        page.open("#/p/features")
        page.sees("This server asks for a token", "dialog.token")
        assert len(page.driver.find_elements(By.CSS_SELECTOR, "dialog")) == 1  # however much was asked for
        assert "v1 serves" not in page.text() and not page.find("#out").is_displayed()
        page.find("#token").send_keys("two words" + Keys.ENTER)
        page.sees("A token is one word", "#token-said")
        page.find("#token").clear()
        page.find("#token").send_keys("kappa_" + "0" * 64 + Keys.ENTER)
        page.sees("The server does not know this token", "dialog.token")
        sign_in(page, guarded.tokens["rita"])
        page.sees("live", "#live")
        page.sees("ready", row(2))
        assert page.driver.find_elements(By.CSS_SELECTOR, "dialog") == []
        page.go("#/sql")
        page.go("#/p/features")
        page.click("#swap")
        page.click("#go")
        page.sees("rita lacks the role operate", "dialog")
        page.click("#cancel")
        page.driver.refresh()  # this tab knows it still
        page.sees("ready", row(2))
        assert page.driver.execute_script("return document.cookie") == ""
        assert guarded.tokens["rita"] not in page.driver.page_source

        page.click("#out")
        sign_in(page, guarded.tokens["olga"])
        page.click("#swap")
        page.click("#go")
        page.sees("serves", "#done")
        assert guarded.json("history", "features")["receipts"][0]["who"] == "olga"
        page.click("#cancel")

        guarded.run("access", "remove", "olga")  # in the midst of it: asked again
        page.sees("The server does not know this token", "dialog.token")
        sign_in(page, guarded.tokens["rita"])
        page.sees("live", "#live")
        assert all("401" in entry["message"] or "403" in entry["message"] for entry in page.complaints())
