package recipes

// What a version string that means no release may have meant. None of this decides what is installed: it only fills
// UnknownVersionError.Nearest.

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// nearest returns at most three version strings that mean a release and resemble spec, best first.
func (c *Catalogue) nearest(spec string) []string {
	if !strings.ContainsAny(spec, operatorBytes) {
		return c.nearestVersion(spec)
	}
	var near []string
	for condition := range strings.SplitSeq(spec, ",") {
		for _, name := range c.nearestVersion(condition) {
			if len(near) < 3 && !slices.Contains(near, name) {
				near = append(near, name)
			}
		}
	}
	return near
}

func (c *Catalogue) nearestVersion(spec string) []string {
	g := guess(spec)
	if len(g.numbers) == 0 {
		if r := c.newestFinal(nil); r == nil {
			return nil
		} else if distance(spec, "latest") > 2 {
			return []string{r.Version.String()}
		}
		return []string{"latest"}
	}
	known := c.like(g)
	if !g.freeThreaded {
		return known
	}
	var free, other []string
	for _, name := range known {
		series := guessed{numbers: guess(name).numbers[:2]} // what like returns for a free-threaded build has two at least
		if compareSeries(series.String(), firstFreeThreaded) >= 0 {
			free = append(free, name+"t")
		} else {
			other = append(other, name)
		}
	}
	if first, _ := parseSeries(firstFreeThreaded); free == nil {
		if s := c.series(first[0], first[1]); s != nil {
			free = append(free, s.ask()+"t")
		}
	}
	return append(free, other...)
}

// A guessed is what is left of a version string when everything that does not belong there is overlooked.
type guessed struct {
	numbers      []int  // at most three
	pre          string // "" or the mark of a pre-release
	freeThreaded bool
}

// String joins the numbers.
func (g guessed) String() string {
	var text []string
	for _, n := range g.numbers {
		text = append(text, strconv.Itoa(n))
	}
	return strings.Join(text, ".")
}

// guess reads what was probably meant: letters before the first digit, leading zeros, a fourth number and an unknown ending
// are overlooked.
func guess(spec string) guessed {
	var g guessed
	rest, freeThreaded := cutFreeThreaded(spec)
	if i := strings.IndexAny(rest, digits); i >= 0 {
		rest = rest[i:]
	}
	for len(g.numbers) < 3 {
		tail := strings.TrimLeft(rest, digits)
		number := rest[:len(rest)-len(tail)]
		n, err := strconv.Atoi(number)
		if err != nil || n > 1e6 {
			break
		}
		g.numbers = append(g.numbers, n)
		var more bool
		if rest, more = strings.CutPrefix(tail, "."); !more {
			if rest = strings.TrimLeft(tail, ".-_~"); scanPre(rest) == "" {
				g.pre = rest
			}
			break
		}
	}
	g.freeThreaded = freeThreaded
	return g
}

// like returns version strings that mean a release and resemble g, best first.
func (c *Catalogue) like(g guessed) []string {
	if len(g.numbers) == 1 {
		switch r := c.newestFinal(func(v Version) bool { return v.Major == g.numbers[0] }); {
		case r == nil:
			return c.likeSeries(g)
		case g.freeThreaded: // "3t": the series must be named
			return []string{r.Version.Series()}
		}
		return []string{g.String()}
	}
	s := c.series(g.numbers[0], g.numbers[1])
	if s == nil {
		return c.likeSeries(g)
	}
	if len(g.numbers) == 2 && g.pre == "" {
		return []string{s.ask()}
	}
	// The neighbours of the release asked for; only pre-releases have pre-releases for neighbours.
	want := Version{g.numbers[0], g.numbers[1], 0, g.pre}
	if len(g.numbers) == 3 {
		want.Micro = g.numbers[2]
	}
	var newer, older *Release
	for _, r := range s.Releases {
		if want.IsFinal() && !r.Version.IsFinal() {
			continue
		}
		switch order := r.Version.Compare(want); {
		case order == 0:
			return []string{r.Version.String()}
		case order > 0:
			newer = r
		case older == nil:
			older = r
		}
	}
	var names []string
	for _, r := range []*Release{newer, older} {
		if r != nil {
			names = append(names, r.Version.String())
		}
	}
	if names == nil {
		return []string{s.ask()}
	}
	return names
}

// likeSeries returns at most two series that are one keystroke away from g; if there are none, the oldest for what is older,
// and the newest that has a final release for the rest.
func (c *Catalogue) likeSeries(g guessed) []string {
	if len(c.Series) == 0 {
		return nil
	}
	want := Version{Major: g.numbers[0]}
	if len(g.numbers) > 1 {
		want.Minor = g.numbers[1]
	}
	text := guessed{numbers: g.numbers[:min(2, len(g.numbers))]}.String()
	var similar []*Series
	for _, s := range c.Series {
		if distance(text, s.Name) <= 1 {
			similar = append(similar, s)
		}
	}
	away := func(s *Series) int {
		n, _ := parseSeries(s.Name)
		return max(n[1]-want.Minor, want.Minor-n[1])
	}
	slices.SortStableFunc(similar, func(a, b *Series) int { return cmp.Compare(away(a), away(b)) })
	if len(similar) == 0 {
		end := c.Series[0]
		if oldest := c.Series[len(c.Series)-1]; compareSeries(want.Series(), oldest.Name) < 0 {
			end = oldest
		} else if r := c.newestFinal(nil); r != nil {
			end = r.Series
		}
		similar = append(similar, end)
	}
	var names []string
	for _, s := range similar[:min(2, len(similar))] {
		names = append(names, s.ask())
	}
	return names
}

// ask returns a version string for the series that means a release: its name, or its newest pre-release.
func (s *Series) ask() string {
	if s.Newest() == nil {
		return s.Releases[0].Version.String()
	}
	return s.Name
}

// distance counts the keystrokes between two texts: bytes added, left out, mistaken or swapped with their neighbour.
func distance(a, b string) int {
	const far = 64
	if len(a) > far || len(b) > far {
		return far
	}
	var d [far + 1][far + 1]int
	for i := 0; i <= len(a); i++ {
		for j := 0; j <= len(b); j++ {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			default:
				d[i][j] = 1 + min(d[i-1][j-1], d[i-1][j], d[i][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], 1+d[i-2][j-2])
			}
		}
	}
	return d[len(a)][len(b)]
}
