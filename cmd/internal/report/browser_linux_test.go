package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var browserDir = flag.String("browser", "", "open the page in headless Chromium (Debian's chromium and chromium-driver), and write screenshots into this `DIR`, an absolute path")

// matrix makes a matrix as people run it: most cells pass, some fail for the same reason, one was expected to, one was not run.
// Each has a log of that many bytes.
func matrix(distributions, pythons, profiles []string, log int) (cells []Cell) {
	steps := []struct {
		name         string
		seconds, cpu float64
	}{{"resolve", 0.002, 0.002}, {"check", 1.4, 1.3}, {"fetch", 2.6, 0.4}, {"verify", 0.2, 0.2}, {"unpack", 2.3, 2.1}, {"configure", 21, 19}, {"compile", 118, 226}, {"train", 49, 93}, {"stage", 5.3, 7.4}, {"inspect", 3, 2.6}, {"commit", 0.6, 0.5}}
	const command = "gcc -c -fno-strict-overflow -Wsign-compare -DNDEBUG -O3 -Wall -std=c11 -I./Include/internal -I. -I./Include -DPy_BUILD_CORE -o Objects/object-%d.o Objects/object-%d.c\n"
	var compiled strings.Builder
	for i := 0; compiled.Len() < log; i++ {
		fmt.Fprintf(&compiled, command, i, i)
	}
	for _, distribution := range distributions {
		for _, python := range pythons {
			for _, profile := range profiles {
				c := Cell{Distribution: distribution, Python: python, Profile: profile, State: Passed, Size: int64(54<<20 + len(cells)%7<<18), Log: compiled.String()}
				ends := len(steps)
				switch n := len(cells) % 12; {
				case n == 4 || n == 11:
					c.State, c.Reason, c.Status, c.Size, ends = Failed, "compile: Modules/_ssl.c:1234: error: 'SSL_OP_IGNORE_UNEXPECTED_EOF' undeclared (first use in this function)", 6, 0, 7
					c.Excerpt = "Modules/_ssl.c: In function '_ssl__SSLContext_impl':\nModules/_ssl.c:1234:16: error: 'SSL_OP_IGNORE_UNEXPECTED_EOF' undeclared (first use in this function)\n 1234 |     options |= SSL_OP_IGNORE_UNEXPECTED_EOF;\n      |                ^~~~~~~~~~~~~~~~~~~~~~~~~~~~\nmake: *** [Makefile:3122: Modules/_ssl.o] Error 1\n"
					c.LogPath = "/var/cache/pybuild/logs/20250601T101500-" + python + "-4711/compile.log"
				case n == 6:
					c.State, c.Reason, c.Status, c.Size, ends = Failed, "check: the disk has 512 MiB left, and 900 MiB are needed", 4, 0, 2
				case n == 9:
					c.State, c.Reason, c.Status, c.Size, ends = ExpectedFailure, "its OpenSSL is too new for this series: compile: error: 'EVP_MD_size' undeclared", 6, 0, 7
				case n == 8:
					c.State, c.Size, c.Log, ends = NotRun, 0, "", 0
				case n%3 == 2:
					c.Missing = []string{"gdbm", "tkinter"}
				}
				pace := 1 + float64(len(cells)%5)/10
				for i, s := range steps[:ends] {
					step := Step{s.name, round(c.Seconds), round(s.seconds * pace), round(s.cpu * pace), Passed}
					if i == ends-1 && c.State != Passed {
						step.State = Failed
					}
					c.Steps, c.Seconds = append(c.Steps, step), round(c.Seconds+step.Seconds)
				}
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// write makes a page, in which old is replaced by new, and returns its file.
func write(t *testing.T, r *Report, old, new string) string {
	t.Helper()
	var page bytes.Buffer
	if err := HTML(r, &page); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	if old != "" && !strings.Contains(text, old) {
		t.Fatalf("there is no %s in the page", old)
	}
	if old != "" {
		text = strings.ReplaceAll(text, old, new)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// fits finds what makes people scroll sideways.
func fits(b *browser) (problems []string) {
	var width int
	if b.run(&width, `return innerWidth`); width != b.width {
		problems = append(problems, fmt.Sprintf("a window %d wide shows a page %d wide", b.width, width))
	}
	var more []string
	b.run(&more, `
		const page = document.scrollingElement, found = []
		if (page.scrollWidth > page.clientWidth) found.push("the page scrolls sideways")
		for (const e of document.querySelectorAll("main *, header *")) {
			const box = e.getBoundingClientRect()
			if (box.width > 0 && box.right > page.clientWidth + 1 && !e.closest(".wide, .skip") && !e.classList.contains("unseen")) found.push(e.localName + " is cut off")
		}
		return found`)
	return append(problems, more...)
}

// contrasts finds text that is hard to read: less than 4.5 to 1 to what is behind it, as WCAG 2 computes it.
func contrasts(b *browser) (problems []string) {
	b.run(&problems, `
		const channels = (colour) => { const n = colour.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n }
		const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
			const x = c[i] / 255
			return sum + weight * (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
		}, 0)
		const found = new Set()
		for (let node, walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); node = walk.nextNode();) {
			const e = node.parentElement
			if (!node.data.trim() || !e.checkVisibility()) continue
			let back = null
			for (let at = e; at && !back; at = at.parentElement) {
				const c = channels(getComputedStyle(at).backgroundColor)
				if (c[3] == 1) back = c
				else if (c[3] > 0) found.add("what is behind " + e.localName + " shines through")
			}
			const pair = [light(channels(getComputedStyle(e).color)), light(back)].sort((x, y) => y - x)
			const ratio = (pair[0] + 0.05) / (pair[1] + 0.05)
			if (ratio < 4.5) found.add(e.localName + "." + e.className + " has a contrast of " + ratio.toFixed(1))
		}
		return [...found]`)
	return problems
}

// silent finds what the browser complains of, and whom the page talks to.
func silent(b *browser) (problems []string) {
	for _, e := range b.log("browser") {
		if e.Level == "WARNING" || e.Level == "SEVERE" {
			problems = append(problems, e.Level+": "+e.Message)
		}
	}
	var here string
	b.run(&here, `return location.href.split("#")[0]`)
	for _, e := range b.log("performance") {
		var event struct {
			Message struct {
				Method string
				Params struct{ Request struct{ URL string } }
			}
		}
		if err := json.Unmarshal([]byte(e.Message), &event); err != nil {
			b.t.Fatal(err)
		}
		if url := event.Message.Params.Request.URL; event.Message.Method == "Network.requestWillBeSent" && url != here && url != "about:blank" {
			problems = append(problems, "a request to "+url)
		}
	}
	var resources []string
	b.run(&resources, `return performance.getEntriesByType("resource").map(e => "a resource " + e.name)`)
	return append(problems, resources...)
}

// speaks finds what leaves a screen reader without words.
func speaks(b *browser) (problems []string) {
	for selector, role := range map[string]string{
		"body > header": "banner", "main": "main", "section": "region", ".wide": "region", "pre": "region", "table": "table", "thead th": "columnheader", "tbody th": "rowheader",
		"h1, h2, h3, h4": "heading", "a": "link", "summary": "DisclosureTriangle",
	} {
		for _, e := range b.elements(selector) {
			var about struct {
				Visible bool
				Cell    string // that a link leads to
			}
			b.run(&about, `
				const e = arguments[0], cell = document.querySelector(e.getAttribute("href") || "none")?.closest(".cell")
				return {visible: e.checkVisibility(), cell: cell?.querySelector("h3")?.textContent ?? ""}`, map[string]string{element: e})
			if !about.Visible {
				continue
			}
			if got := b.role(e); got != role {
				problems = append(problems, fmt.Sprintf("%s is a %s, not a %s", selector, got, role))
			}
			switch name := b.name(e); {
			case name == "" && role != "main" && role != "banner":
				problems = append(problems, selector+" has no name")
			case !strings.Contains(name, about.Cell):
				problems = append(problems, fmt.Sprintf("link %q does not say %q", name, about.Cell))
			}
		}
	}
	slices.Sort(problems)
	var more []string
	b.run(&more, `
		const found = []
		if (document.querySelectorAll("main").length != 1) found.push("there is not one main part")
		if (document.documentElement.lang != "en") found.push("the page has no language")
		let level = 0
		for (const e of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
			const next = Number(e.localName[1])
			if (next > level + 1) found.push(e.localName + " follows level " + level)
			level = next
		}
		const ids = [...document.querySelectorAll("[id]")].map(e => e.id)
		for (const id of new Set(ids)) if (ids.filter(other => other == id).length > 1) found.push("two are called " + id)
		return found`)
	return append(problems, more...)
}

// keyboard goes through the page with the tab key, which must stop at everything that can be used, the link that skips first, and
// be seen where it stops.
func keyboard(b *browser) (problems []string) {
	var want []string
	const say = `const say = (e) => e.localName + " " + (e.getAttribute("href") || e.getAttribute("aria-labelledby") || e.textContent.trim());`
	b.run(&want, say+`return [...document.querySelectorAll("a[href], summary, [tabindex='0']")].filter(e => e.checkVisibility()).map(say)`)
	if want[0] != "a #cells" {
		problems = append(problems, "the first stop is not the skip link")
	}
	for _, stop := range want {
		b.press(tab)
		var at struct {
			Name         string
			Seen, Inside bool
		}
		b.run(&at, say+`
			const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect()
			return {
				name: say(e), seen: e.matches(":focus-visible") && style.outlineStyle == "solid" && parseFloat(style.outlineWidth) >= 2,
				inside: box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
			}`)
		if at.Name != stop {
			return append(problems, fmt.Sprintf("stops at %q, not %q", at.Name, stop))
		}
		if !at.Seen {
			problems = append(problems, stop+" cannot be seen to have the focus")
		}
		if !at.Inside {
			problems = append(problems, stop+" is outside the window")
		}
	}
	return problems
}

// opens uses the keys of links and summaries.
func opens(b *browser) (problems []string) {
	expect := func(what, script string) {
		var ok bool
		if b.run(&ok, "return Boolean("+script+")"); !ok {
			problems = append(problems, what)
		}
	}
	b.run(nil, `document.querySelector(".grid a.failed").focus()`)
	b.press(enter)
	expect("Enter on the link to a cell: it is not open", `document.getElementById("cell-5").closest("details")?.open`)
	expect("Enter on the link to a cell: its head is not in the window", `(box => box.top >= 0 && box.bottom < innerHeight)(document.querySelectorAll(".cell > summary")[4].getBoundingClientRect())`)
	b.press(tab)
	expect("Tab after that does not go on in the cell", `document.getElementById("cell-5").contains(document.activeElement)`)
	b.run(nil, `document.querySelector(".cell > summary").focus()`)
	for _, key := range []struct{ name, key string }{{"Enter", enter}, {"Space", space}} {
		b.press(key.key)
		expect(key.name+" on a summary: nothing is opened", `document.querySelector(".cell").open`)
		b.press(key.key)
		expect(key.name+" on a summary again: nothing is closed", `!document.querySelector(".cell").open`)
	}
	return problems
}

// fluent measures a page of 300 cells, each with a log. Times are told, not judged, but for those at which nobody would wait.
func fluent(b *browser) {
	var distributions []string
	for i := range 20 {
		distributions = append(distributions, fmt.Sprintf("distribution-%d", i+1))
	}
	cells := matrix(distributions, []string{"3.9.2", "3.10.18", "3.11.2", "3.12.11", "3.13.5"}, []string{"quick", "release", "debug"}, 40<<10)
	if len(cells) != 300 {
		b.t.Fatalf("%d cells", len(cells))
	}
	file := write(b.t, New("pybuild", cells...), "", "")
	info, err := os.Stat(file)
	if err != nil {
		b.t.Fatal(err)
	}
	b.show(wide)
	b.open(file)
	type figure struct {
		Name         string
		Milliseconds float64
	}
	var figures []figure
	b.run(&figures, `
		const page = performance.getEntriesByType("navigation")[0], paint = performance.getEntriesByName("first-contentful-paint")[0].startTime
		const tasks = await new Promise(done => {
			new PerformanceObserver((list) => done(list.getEntries())).observe({type: "longtask", buffered: true})
			setTimeout(() => done([]), 1000)
		})
		const figures = [
			{name: "first paint", milliseconds: paint}, {name: "loaded", milliseconds: page.loadEventEnd},
			{name: "interactive: painted, and the last task above 50 ms over", milliseconds: Math.max(paint, ...tasks.map(e => e.startTime + e.duration))},
		]
		const frame = () => new Promise(requestAnimationFrame)
		const scroll = async (name) => {
			const height = document.scrollingElement.scrollHeight
			let last = 0, worst = 0, frames = 0
			for (scrollTo(0, 0); scrollY + innerHeight < height - 1; frames++) {
				scrollBy(0, 250)
				const now = await frame()
				if (last > 0) worst = Math.max(worst, now - last)
				last = now
			}
			figures.push({name: name + ": longest of " + frames + " frames through " + height + " pixels", milliseconds: worst})
		}
		const act = async (name, f) => {
			await frame()
			const start = performance.now()
			f()
			await frame(); await frame()
			figures.push({name, milliseconds: performance.now() - start})
		}
		await scroll("scrolling")
		await act("a link to the last cell, until it is painted", () => document.querySelector("a[href='#cell-300']").click())
		await act("opening its log", () => document.querySelector("#cell-300 .log").open = true)
		await act("opening all that failed", () => document.querySelectorAll(".cell:has(> summary .failed)").forEach(e => e.open = true))
		await scroll("scrolling with these open")
		return figures`)
	b.t.Logf("300 cells: %.1f MiB", float64(info.Size())/(1<<20))
	for _, f := range figures {
		b.t.Logf("%s: %.0f ms", f.Name, f.Milliseconds)
		if f.Milliseconds > 10_000 {
			b.t.Errorf("%s: %.0f ms", f.Name, f.Milliseconds)
		}
	}
	for _, problem := range silent(b) {
		b.t.Error(problem)
	}
}

// Screens of which more than one test speaks.
var (
	wide   = screen{"wide", 1600, "screen", "light"}
	dark   = screen{"wide-dark", 1600, "screen", "dark"}
	narrow = screen{"narrow", 360, "screen", "light"}
)

// A check finds what is wrong with the page that is open.
type check struct {
	name string
	find func(*browser) []string
}

// TestBrowser opens pages in a real browser, and looks at them as people and their tools do. The faults show that each check can
// fail.
func TestBrowser(t *testing.T) {
	if *browserDir == "" {
		t.Skip("needs Chromium; ask for it with -browser DIR, where screenshots are written")
	}
	if !filepath.IsAbs(*browserDir) {
		t.Fatalf("-browser %s is not an absolute path", *browserDir)
	}
	if err := os.MkdirAll(*browserDir, 0o755); err != nil {
		t.Fatal(err)
	}
	debian := New("pybuild", matrix([]string{"debian-11", "debian-12", "debian-13", "debian-testing"}, []string{"3.9.2", "3.11.2", "3.13.5"}, []string{"quick"}, 20<<10)...)
	const title = "pybuild on Debian GNU/Linux 12 (bookworm)"
	b := openBrowser(t)
	t.Run("looks", func(t *testing.T) {
		b := b.of(t)
		for _, page := range []struct {
			name string
			*Report
		}{{"matrix", debian}, {"one", New(title, debian.Cells[3])}, {"one-failed", New(title, debian.Cells[4])}, {"empty", New("pybuild")}} {
			file := write(t, page.Report, "", "")
			for _, s := range []screen{
				wide, dark, narrow,
				{"narrow-dark", 360, "screen", "dark"},
				{"very-narrow", 320, "screen", "light"},
				{"print", 794, "print", "light"}, // A4
			} {
				checks := []check{{"fits", fits}, {"contrasts", contrasts}, {"silent", silent}}
				if s == narrow { // what is said is the same on all
					checks = append(checks, check{"speaks", speaks})
				}
				look := func(name string) {
					for _, c := range checks {
						for _, problem := range c.find(b) {
							t.Errorf("%s: %s: %s", name, c.name, problem)
						}
					}
					b.screenshot(filepath.Join(*browserDir, name+".png"))
				}
				b.show(s)
				b.open(file)
				look(page.name + "-" + s.name)
				if page.Report == debian { // again with a cell open that has everything, its log too
					b.run(nil, `const cell = document.getElementById("cell-5").closest("details")
						for (const e of [cell, ...cell.querySelectorAll("details")]) e.open = true`)
					look(page.name + "-" + s.name + "-open")
				}
			}
		}
	})
	t.Run("keyboard", func(t *testing.T) {
		b := b.of(t)
		b.show(wide)
		for _, c := range []check{{"keyboard", keyboard}, {"opens", opens}} {
			b.open(write(t, debian, "", ""))
			for _, problem := range c.find(b) {
				t.Errorf("%s: %s", c.name, problem)
			}
		}
	})
	const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>`
	for _, row := range []struct {
		name     string
		find     func(*browser) []string
		on       screen
		old, new string
		want     string
	}{
		{"something is too wide", fits, wide, "<h1>", `<h1 style="width: 2000px">`, "the page scrolls sideways"},
		{"a table does not scroll", fits, narrow, ".wide { overflow-x: auto;", ".wide {", "the page scrolls sideways"},
		{"something is cut off", fits, wide, "<h1>", `<h1 style="width: 2000px; contain: paint; position: fixed">`, "h1 is cut off"},
		{"not made for phones", fits, narrow, "width=device-width", "width=980", "a window 360 wide shows a page 980 wide"},
		{"pale", contrasts, wide, "--passed: #116329", "--passed: #4c9a63", "a.passed has a contrast of 3.1"},
		{"pale in the dark", contrasts, dark, "--failed: #ffb1a8", "--failed: #a04040", "a.failed has a contrast of 2.1"},
		{"see-through", contrasts, wide, "--passed-plate: #dafbe1", "--passed-plate: #dafbe180", "what is behind a shines through"},
		{"script", silent, wide, "<main>", `<main><script>alert(1)</script>`, "Content Security Policy"},
		{"warning", silent, wide, policy, `<script>console.warn("planted")</script>`, `WARNING: `},
		{"error", silent, wide, policy, `<script>console.error("planted")</script>`, `"planted"`},
		{"picture", silent, wide, policy, `<img alt="" src="http://127.0.0.1:9/x.png"/>`, "a request to http://127.0.0.1:9/x.png"},
		{"picture that is forbidden", silent, wide, "<main>", `<main><img alt="" src="http://127.0.0.1:9/x.png"/>`, "Content Security Policy"},
		{"link without words", speaks, wide, `<a class="skip" href="#cells">Skip to the cells</a>`, `<a class="skip" href="#cells"></a>`, "a has no name"},
		{"links that need their table", speaks, wide, `<span class="unseen">: debian`, `<span class="unseen" aria-hidden="true">: debian`, `s" does not say "debian-13, Python 3.9.2, quick"`},
		{"region without a name", speaks, wide, `aria-labelledby="profile-0"`, "", ".wide has no name"},
		{"a table for looks", speaks, wide, `<table class="grid">`, `<table class="grid" role="presentation">`, "table is a "},
		{"headers that are none", speaks, wide, `<th scope="row">debian-11</th>`, `<th scope="row" role="cell">debian-11</th>`, "tbody th is a cell, not a rowheader"},
		{"no landmark", speaks, wide, "<main>", `<main role="none">`, "main is a "},
		{"no main part", speaks, wide, "main>", "div>", "there is not one main part"},
		{"levels", speaks, wide, "<h3>", "<h4>", "h4 follows level 2"},
		{"no language", speaks, wide, ` lang="en"`, "", "the page has no language"},
		{"twice", speaks, wide, `id="cell-2"`, `id="cell-1"`, "two are called cell-1"},
		{"a stop is left out", keyboard, wide, `<a class="failed" href="#cell-5">`, `<a tabindex="-1" class="failed" href="#cell-5">`, "stops at"},
		{"no skip link", keyboard, wide, `<a class="skip" href="#cells">`, `<a class="skip">`, "the first stop is not the skip link"},
		{"focus cannot be seen", keyboard, wide, ":focus-visible { outline: 3px solid var(--bar);", ":focus-visible { outline: none;", "cannot be seen to have the focus"},
		{"focus is outside the window", keyboard, wide, ".skip:focus { left: 1rem;", ".skip:focus {", "is outside the window"},
		{"a link that opens nothing", opens, wide, `href="#cell-5"`, `href="#cells"`, "Enter on the link to a cell: it is not open"},
		{"a summary that does nothing", opens, wide, `<details class="cell">`, `<div class="cell">`, "Enter on a summary: nothing is opened"},
	} {
		t.Run("fault/"+row.name, func(t *testing.T) {
			b := b.of(t)
			b.show(row.on)
			b.open(write(t, debian, row.old, row.new))
			if found := strings.Join(row.find(b), "\n"); !strings.Contains(found, row.want) {
				t.Errorf("found %q, want %q", found, row.want)
			}
		})
	}
	t.Run("fluent", func(t *testing.T) { fluent(b.of(t)) })
}
