"""The rest of the dashboard in a real Chromium: comparing with a condition, groups, canary, limits, disk, archives, and a
table that is followed as it changes."""

import os

import support
from browser import page, row  # noqa: F401  page is a fixture
from support import eventually

COUNTS = ("%sCREATE TABLE events (user_id text, event_type text) WITH (topic = '%s', format = 'json');\n"
          "CREATE MATERIALIZED VIEW %s AS SELECT user_id, count(*)%s AS n FROM events GROUP BY user_id;\n")
SAID = ("CREATE TABLE said (user_id text) WITH (topic = 'said', key = 'user_id');\n"
        "INSERT INTO said SELECT user_id FROM events WHERE user_id = 'u3';\n")
GROUP = "SET swap.in_group = 'shop';\n"


def produced(platform, topic, count=2000, partitions=2):
    platform.topic(topic, partitions)
    platform.produce(topic, support.events_lines(count, users=20), "--key", "user_id")


def test_compare_with_a_condition_and_messages(embedded, page):
    produced(embedded, "events")
    embedded.topic("said", 1)
    embedded.deploy("counts", COUNTS % ("", "events", "counts", "") + SAID, "--wait")
    embedded.deploy("counts", COUNTS % ("", "events", "counts", " + 5") + SAID, "--swap", "manual")
    embedded.wait("counts", 2, "caught-up")
    page.open("#/p/counts/compare")
    page.fill("#where", "user_id = 'u3'")
    page.click("#exact")
    page.click("#records")
    page.click("#go")
    page.sees("What differs between v1 and v2")
    page.sees("1 changed, 0 only in v1, 0 only in v2, 0 equal")
    figures = dict(zip(["column", "rows", "mean", "median", "p90", "p99", "most"], page.cells()[0]))
    assert figures["column"] == "n" and figures["rows"] == "1" and figures["mean"] == "5" and figures["most"] == "5"
    n = next(r["n"] for r in embedded.scan("counts") if r["user_id"] == "u3")
    assert page.cells()[1][:4] == ["user_id u3", "n", str(n), str(n + 5)]
    page.fill("#where", "nope = 1")
    page.click("#go")
    page.sees("where:1:1", "main .error")
    assert page.has("nope = 1", "main .error")  # with the line and the caret below it

    # What it would have sent; and what is told of corrections, as it happens.
    page.go("#/p/counts")
    page.sees("would send to said: ", row(2))
    page.click('nav.tabs a[href$="/messages"]')
    page.sees("sends to said: ")
    page.fill("#version", 2)
    page.sees("would send to said: ")
    said = embedded.json("outbox", "counts", 2, "--limit", 200)["messages"]  # as many as the page shows
    eventually(lambda: [cells[:3] for cells in page.cells()] == [
        [f"events/{m['partition']} @ {m['offset']}", "said", "u3"] for m in said], 20, "the messages are shown")
    page.sees("kappa corrections counts")
    page.click('nav.tabs a[href$="/history"]')
    page.sees("counts v2 is ready", ".events")
    assert embedded.http("POST", "/v1/processors/counts/corrected", {
        "version": 1, "epoch": 1, "replaced": 3, "added": 2, "retracted": 1, "who": "ann"})[0] == 200
    page.sees("was corrected by ann: 3 replaced, 2 added, 1 retracted", ".events")


def test_a_group_moves_together(embedded, page):
    produced(embedded, "events")
    for name in ("pa", "pb"):
        embedded.deploy(name, COUNTS % (GROUP, "events", "of_" + name, ""), "--wait")
    embedded.deploy("pa", COUNTS % (GROUP, "events", "of_pa", " + 1"), "--swap", "manual")
    embedded.wait("pa", 2, "caught-up")
    page.open("")
    page.sees("group shop")
    page.go("#/p/pa")
    page.sees("changes over and back together with pb")
    page.click("#swap")
    page.sees("pb is of the group shop, and has no version newer than v1", "dialog")
    page.click("#go")
    page.sees("no version newer than v1", "dialog .error")
    embedded.deploy("pb", COUNTS % (GROUP, "events", "of_pb", " + 1"), "--swap", "manual")
    page.sees("pb changes over with it, to v2", "dialog")  # the checks follow what happens
    page.click("#go")
    page.sees("and with it pb v2", "dialog")
    page.click("#cancel")
    assert {p["name"]: p["serving"] for p in embedded.json("status")["processors"]} == {"pa": 2, "pb": 2}
    page.go("#/")
    page.sees("pb v2 serves instead of v1", ".events")
    page.go("#/p/pa/history")
    page.sees("v1 \u2192 v2, with pb")
    page.go("#/p/pa")
    page.click("#rollback")
    page.sees("pb goes back with it, from v2 to v1", "dialog")
    page.click("#alone")
    page.click("#go")
    page.sees("v1 serves since", "dialog")
    assert not page.has("and with it", "dialog")
    page.click("#cancel")
    assert {p["name"]: p["serving"] for p in embedded.json("status")["processors"]} == {"pa": 1, "pb": 2}
    assert all("409" in entry["message"] for entry in page.complaints())  # the swap that was refused


def test_canary(embedded, page):
    produced(embedded, "events")
    embedded.deploy("counts", COUNTS % ("", "events", "counts", ""), "--wait")
    page.open("#/p/counts")
    page.sees("v1 serves counts")
    assert not page.has("Canary")
    embedded.deploy("counts", COUNTS % ("", "events", "counts", " + 5"), "--swap", "manual")
    page.sees("v2 is ready: a share of the keys")
    page.click("#canary")
    page.click('dialog [data-share="100"]')
    page.click("#go")
    page.sees("100 % of the keys are read from v2", "dialog")
    page.click("#cancel")
    assert embedded.status("counts")["canary"]["share"] == 100
    for user in range(5):
        status, body, _ = embedded.http("GET", f"/v1/tables/counts/rows/u{user}")
        assert status == 200 and body["version"] == 2
    eventually(lambda: page.driver.execute_script(
        "return [...document.querySelectorAll('dl.facts dd')].slice(0, 2).map(d => d.textContent).join()") == "0,5",
        30, "five reads differed")
    assert "5 of 5 reads differ" in embedded.run("status", "counts").stdout
    page.click("#canary")
    page.fill("#share", 0)
    page.click("#go")
    page.sees("All keys are read from the version that serves", "dialog")
    page.click("#cancel")
    assert embedded.status("counts")["canary"] is None


def test_limit_and_disk(embedded, page):
    produced(embedded, "events", 4000)
    embedded.deploy("counts", COUNTS % ("", "events", "counts", ""), "--wait")
    embedded.run("replay", "counts", "--limit", "10/s", "--swap", "manual")
    page.open("#/p/counts")
    page.sees("limited to 10 records/s", row(2))
    page.click(row(2) + ' [data-action="limit"]')
    page.sees("It is limited to 10 records/s", "dialog")
    page.fill("#limit-records", "fast")
    page.click("#go")
    page.sees("is no number above zero", "dialog .error")
    page.fill("#limit-records", 20)
    page.fill("#limit-freshness", 5000)
    page.click("#go")
    page.sees("limited to 20 records/s, freshness p99 \u2264 5000 ms", "dialog .done")
    page.click("#cancel")
    limit = embedded.version("counts", 2)["limit"]
    assert limit["records_per_second"] == 20 and limit["freshness_ms"] == 5000
    page.sees("limited to 20 records/s", row(2))
    page.click(row(2) + ' [data-action="limit"]')
    page.fill("#limit-records", "")
    page.fill("#limit-freshness", "")
    page.click("#go")
    page.sees("reads as fast as it can", "dialog .done")
    page.click("#cancel")
    page.sees("ready", row(2) + " .pill")

    page.go("#/")
    page.sees("Versions take")
    page.sees("without a budget")


def test_clean_up(embedded, page):
    """What nobody needs is listed, and goes when the button is pressed; the page says what the disk holds then."""
    produced(embedded, "events")
    embedded.deploy("counts", COUNTS % ("", "events", "counts", ""), "--wait")
    page.open("#/")
    page.sees("Nothing of it is over")
    assert not page.driver.execute_script("return document.querySelector('#clean').checkVisibility()")
    # A snapshot whose processor has no version left, and a plugin that no version names.
    gone = "gone-" + "z" * 60
    embedded.deploy(gone, COUNTS % ("", "events", "of_gone", ""), "--swap", "manual")
    embedded.wait(gone, 1, "caught-up")
    made = embedded.json("snapshot", gone, 1)
    embedded.run("abort", gone, 1)
    embedded.run("drop", gone, 1)
    plugin = os.path.join(embedded.data, "plugins", "0" * 32 + ".so")
    os.makedirs(os.path.dirname(plugin), exist_ok=True)
    with open(plugin, "wb") as file:
        file.write(b"x" * 5000)
    os.utime(plugin, (1, 1))
    page.open("#/topics")
    page.open("#/")
    page.sees("That nobody needs any more: 1 snapshot, 1 plugin")
    for width, dark in ((360, True), (1280, False), (360, False), (1280, True)):
        page.size(width, dark)
        page.click("#clean")
        page.sees(f"snapshot {made['id']} of {gone}", "dialog")
        page.sees("its processor has no version left", "dialog")
        page.sees("plugin " + "0" * 32 + ".so", "dialog")
        box = page.find("dialog").rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, box
        inside = page.driver.execute_script("const d = document.querySelector('dialog'); return [d.scrollWidth, d.clientWidth]")
        assert inside[0] <= inside[1], (width, inside)
        page.click("#cancel")
    assert os.path.exists(plugin)  # asked, and left
    page.click("#clean")
    page.click("#go")
    page.sees("Removed: 1 snapshot, 1 plugin", "dialog .done")
    page.click("#cancel")
    page.sees("Nothing of it is over")
    assert not os.path.exists(plugin) and embedded.json("gc", "--dry-run")["snapshots_used"]["count"] == 0
    assert embedded.json("status")["processors"][0]["serving"] == 1
    assert page.complaints() == []


def test_archive_of_a_topic(embedded, page):
    produced(embedded, "events", 1000, partitions=1)
    embedded.topic("other")
    page.open("#/topics")
    page.sees("not archived")
    embedded.run("topic", "set", "events", "archive=on")
    eventually(lambda: embedded.json("archive", "ls", "events")["topics"][0]["partitions"][0]["to"] == 1000, 60, "it is archived")
    page.open("#/topics/events")
    page.sees("Archive: archived, 1000 records")
    page.click("main summary")
    cells = page.cells()[0]
    assert cells[:4] == ["0", "0", "1000", "1000"], cells
    eventually(lambda: embedded.http("GET", "/v1/archive")[:2] == (200, embedded.json("archive", "ls")), 20, "both say the same")
    page.go("#/topics/events/0@990")  # the way from a record that is named elsewhere
    page.sees("0 @ 990")
    assert not page.has("0 @ 989")


def test_a_table_as_it_changes(embedded, page):
    produced(embedded, "events")
    sql = COUNTS + "CREATE VIEW users_of AS SELECT n, count(*) AS users FROM counts GROUP BY n;"
    embedded.deploy("counts", sql % ("", "events", "counts", ""), "--wait")
    page.open("#/tables")
    page.sees("user_id (key), n")
    page.click("main h2 a")
    page.sees("20 rows, 0 changes since you look")
    held = {user: int(n) for user, n in page.cells()}
    assert held == {r["user_id"]: r["n"] for r in embedded.scan("counts")}
    embedded.produce("events", [{"user_id": "u3", "event_type": "click"}, {"user_id": "new", "event_type": "click"}], "--key", "user_id")
    page.sees("21 rows, 2 changes since you look")
    assert dict(page.cells()) == {r["user_id"]: str(r["n"]) for r in embedded.scan("counts")}
    # Across a swap, and with a condition that rows come under and leave.
    page.fill("#where", "n < 10")
    page.click("#follow")
    page.sees("1 row, 0 changes")
    assert page.cells() == [["new", "1"]]
    embedded.deploy("counts", sql % ("", "events", "counts", " + 5"), "--wait")
    page.sees("v2 was swapped in for v1")
    page.sees("1 row, 1 change")
    assert page.cells() == [["new", "6"]]
    embedded.produce("events", [{"user_id": "new", "event_type": "click"}] * 5, "--key", "user_id")
    page.sees("0 rows, ")
    page.fill("#where", "")
    page.fill("#key", "u3")
    page.click("#follow")
    page.sees("1 row, 0 changes")
    page.fill("#where", "nope = 1")
    page.click("#follow")
    page.sees("nope = 1", "main .error")
    # One of many rows: its changes, the newest first.
    embedded.produce("events", [{"user_id": f"many{i}", "event_type": "click"} for i in range(700)], "--key", "user_id")
    support.applied_everything(embedded, "counts", 2, "events")
    page.fill("#where", "")
    page.fill("#key", "")
    page.click("#follow")
    page.sees("more than 300 rows")
    page.sees("Changes come here")
    # The stream may be opened behind what is produced now: until it tells of one.
    number = [0]

    def told():
        embedded.produce("events", [{"user_id": "many7", "event_type": "click"}], "--key", "user_id")
        number[0] += 1
        return page.has('"user_id": "many7"', "tbody")
    eventually(told, 60, "the change is shown", every=0.5)
    assert page.cells()[0][1] == "+" and number[0] < 100

    # A view: all of its rows.
    def as_scanned():
        return sorted(page.cells()) == sorted([str(r["n"]), str(r["users"])] for r in embedded.scan("users_of"))
    support.applied_everything(embedded, "counts", 2, "events")
    page.open("#/t/users_of")
    page.sees(" rows, 0 changes since you look")
    assert as_scanned() and not page.driver.find_element("id", "where").is_displayed()
    embedded.produce("events", [{"user_id": "newest", "event_type": "click"}], "--key", "user_id")
    support.applied_everything(embedded, "counts", 2, "events")
    eventually(as_scanned, 60, "the view is as it is")


def test_layout_of_the_rest(embedded, page):
    topic = "events-with-a-long-name-that-has-no-place-to-break-" + "x" * 40
    table = "a_table_with_a_name_that_is_long_" + "y" * 25
    produced(embedded, topic, 500)
    embedded.run("topic", "set", topic, "archive=on")
    for name in ("first-" + "z" * 50, "other-" + "z" * 50):
        embedded.deploy(name, COUNTS % (GROUP, topic, table + name[0], ""), "--wait")
    embedded.deploy(name, COUNTS % (GROUP, topic, table + name[0], " + 5"), "--swap", "manual")
    embedded.wait(name, 2, "caught-up")
    embedded.run("canary", name, "50%")
    eventually(lambda: embedded.json("archive", "ls")["topics"], 60, "there is an archive")
    page.open("")
    for width, dark in ((360, True), (1280, False), (360, False), (1280, True)):
        page.size(width, dark)
        for hash_, text in (("#/", "Versions take"), (f"#/p/{name}", "50 % of the keys"), ("#/tables", table),
                            (f"#/t/{table}{name[0]}", "20 rows"), ("#/topics", "archived"), (f"#/topics/{topic}", "Archive: archived")):
            page.go(hash_)
            page.sees(text)
            assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width, (width, hash_)
        page.go(f"#/p/{name}/compare")
        page.click("#go")
        page.sees("What differs between")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width, width
        page.go(f"#/p/{name}")
        for button in ("#canary", "#swap"):
            page.click(button)
            page.sees("", "dialog")
            box = page.find("dialog").rect
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, box
            page.click("#cancel")
    assert page.complaints() == []
