package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// A chart is horizontal bars from zero, in groups, with whiskers.
type chart struct {
	title, description string
	groups             []group
	format             string // of a figure
}

type group struct {
	name string
	bars []bar
}

// A bar is drawn at its value, with a whisker from low to high.
type bar struct {
	name             string
	value, low, high float64
	own              bool // pybuild's
}

// buildChart draws the wall seconds of every case.
func (r *Results) buildChart() string {
	c := chart{
		title:       fmt.Sprintf("Building CPython %s: seconds, less is better", r.Version),
		description: "Median wall seconds of each case; the line at the end of a bar goes from the fastest to the slowest round.",
		format:      "%.0f s",
	}
	for _, k := range r.built() {
		if len(c.groups) == 0 || c.groups[len(c.groups)-1].name != k.Group {
			c.groups = append(c.groups, group{name: k.Group})
		}
		g, s := &c.groups[len(c.groups)-1], spread(r.of(k.Name, wall))
		name := k.Name
		if k.Summary == pythonBuildByHand {
			name = pythonBuildByHand // not the thing itself
		}
		g.bars = append(g.bars, bar{name, s.Median, s.Min, s.Max, k.Own})
	}
	return c.draw()
}

// speedChart draws how fast the interpreters are.
func (r *Results) speedChart() string {
	all := r.measured()
	c := chart{
		title:       "Speed of the interpreters, more is better",
		description: "Geometric mean over all programs, relative to the first interpreter; the line goes from the slowest to the fastest round.",
		format:      "%.2f",
		groups:      []group{{}},
	}
	for _, i := range all {
		if s, _, ok := r.speedOf(i.Name, all[0].Name); ok {
			c.groups[0].bars = append(c.groups[0].bars, bar{i.Name + " " + i.Version, s.Mean, s.Min, s.Max, strings.HasPrefix(i.Version, r.Version) && ownCase(i.Name)})
		}
	}
	return c.draw()
}

// ownCase says that pybuild builds the case.
func ownCase(name string) bool {
	for _, c := range cases(setting{}) {
		if c.Name == name {
			return c.Own
		}
	}
	return false
}

// The measures of a chart, in pixels of its own width, which is that of a README.
const (
	chartWidth  = 830
	labels      = 240 // where the bars begin
	room        = 70  // behind the longest bar, for its figure
	barHeight   = 18
	barDistance = 26
	headHeight  = 34
)

// draw renders the chart. It says light or dark as the reader's system does, and every figure in words.
func (c chart) draw() string {
	most, height := 0.0, headHeight
	for _, g := range c.groups {
		height += barDistance * len(g.bars)
		if g.name != "" {
			height += headHeight
		}
		for _, b := range g.bars {
			most = max(most, b.value, b.high)
		}
	}
	height += 10
	scale := (chartWidth - labels - room) / max(most, math.SmallestNonzeroFloat64)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="title desc">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s%s</desc>\n", escape(c.title), escape(c.description), escape(c.inWords()))
	b.WriteString(`<style>
text { font: 13px sans-serif; fill: #1f2328 }
.title { font-weight: bold; font-size: 15px }
.group { font-style: italic }
.paper { fill: #ffffff }
.other { fill: #afb8c1 }
.own { fill: #2f81f7 }
.whisker { stroke: #1f2328; stroke-width: 1.5; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.paper { fill: #0d1117 }
.other { fill: #484f58 }
.whisker { stroke: #e6edf3 }
}
</style>
<rect class="paper" width="100%" height="100%"/>
`)
	fmt.Fprintf(&b, `<text class="title" x="10" y="22">%s</text>`+"\n", escape(c.title))
	y := headHeight
	for _, g := range c.groups {
		if g.name != "" {
			fmt.Fprintf(&b, `<text class="group" x="10" y="%d">%s</text>`+"\n", y+22, escape(g.name))
			y += headHeight
		}
		for _, k := range g.bars {
			class := "other"
			if k.own {
				class = "own"
			}
			middle := y + barHeight/2
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-10, middle+5, escape(k.name))
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, labels, y, k.value*scale, barHeight)
			low, high := labels+k.low*scale, labels+k.high*scale
			if high-low >= 1 {
				fmt.Fprintf(&b, `<path class="whisker" d="M%.1f %d V%d M%.1[1]f %[4]d H%.1[5]f M%.1[5]f %[2]d V%[3]d"/>`+"\n", low, middle-4, middle+4, middle, high)
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", max(high, labels+k.value*scale)+6, middle+5, fmt.Sprintf(c.format, k.value))
			y += barDistance
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// inWords are the figures for who cannot see the bars.
func (c chart) inWords() string {
	var b strings.Builder
	for _, g := range c.groups {
		for i, k := range g.bars {
			switch {
			case i > 0:
				b.WriteString(",")
			case g.name != "":
				b.WriteString(" " + strings.ToUpper(g.name[:1]) + g.name[1:] + ":")
			}
			fmt.Fprintf(&b, " %s "+c.format, k.name, k.value)
		}
		b.WriteString(".")
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
