package recipes

import (
	"fmt"
	"slices"
	"strings"

	goversion "github.com/hashicorp/go-version"
)

// firstFreeThreaded is the first series that can be built without the global interpreter lock.
const firstFreeThreaded = "3.13"

// A Selection is the release that a version string means, and whether the free-threaded build of it was asked for.
type Selection struct {
	*Release
	FreeThreaded bool
}

// String returns the version string that means exactly this selection: "3.13.5", "3.13.5t".
func (s *Selection) String() string {
	if s.FreeThreaded {
		return s.Version.String() + "t"
	}
	return s.Version.String()
}

// Executable is the name of the interpreter: python3.13, python3.13t. Its directories below lib and include have the same.
func (s *Selection) Executable() string {
	if s.FreeThreaded {
		return "python" + s.Series.Name + "t"
	}
	return "python" + s.Series.Name
}

// An UnknownVersionError reports a version string that means no release.
type UnknownVersionError struct {
	Spec    string   // as it was given
	Reason  string   // a short fact
	Nearest []string // version strings that do mean a release, and may have been meant; best first; not part of the message
}

func (e *UnknownVersionError) Error() string {
	return fmt.Sprintf("unknown version %q: %s", e.Spec, e.Reason)
}

// Resolve finds the release that a version string means.
//
//	3.13.5         exactly that release
//	3.15.0rc2      a pre-release, which nothing else ever means
//	3.13           the newest final release of the series
//	3, latest      the newest final release
//	>=3.11,<3.13   the newest final release that satisfies every condition; operators are = != > < >= <= and ~>
//	3.13t, 3.13.5t the free-threaded build, from 3.13 on
//
// The error is an *UnknownVersionError.
func (c *Catalogue) Resolve(spec string) (*Selection, error) {
	r, freeThreaded, reason := c.lookUp(spec)
	if reason != "" {
		return nil, &UnknownVersionError{Spec: spec, Reason: reason, Nearest: c.nearest(spec)}
	}
	return &Selection{r, freeThreaded}, nil
}

func (c *Catalogue) lookUp(spec string) (r *Release, freeThreaded bool, reason string) {
	if strings.ContainsAny(spec, operatorBytes) {
		r, reason = c.satisfying(spec)
		return r, false, reason
	}
	if spec == "latest" {
		if r = c.newestFinal(nil); r == nil {
			return nil, false, "no final release is known"
		}
		return r, false, ""
	}
	text, freeThreaded := cutFreeThreaded(spec)
	numbers, pre, reason := scan(text)
	if reason != "" {
		return nil, false, reason
	}
	if len(numbers) == 1 {
		switch r = c.newestFinal(func(v Version) bool { return v.Major == numbers[0] }); {
		case r == nil:
			return nil, false, c.strange(numbers)
		case freeThreaded:
			return nil, false, "a free-threaded build is of one series"
		}
		return r, false, ""
	}
	s := c.series(numbers[0], numbers[1])
	if s == nil {
		return nil, false, c.strange(numbers)
	}
	if freeThreaded && compareSeries(s.Name, firstFreeThreaded) < 0 {
		return nil, false, "free-threaded builds exist from " + firstFreeThreaded + " on"
	}
	if len(numbers) == 2 {
		if r = s.Newest(); r == nil {
			return nil, false, "the series has no final release yet"
		}
		return r, freeThreaded, ""
	}
	if r = s.Release(Version{numbers[0], numbers[1], numbers[2], pre}); r == nil {
		return nil, false, "no such release is known"
	}
	return r, freeThreaded, ""
}

// strange says what is wrong with numbers that belong to no series.
func (c *Catalogue) strange(numbers []int) string {
	if n := len(c.Series); n > 0 {
		oldest, _ := parseSeries(c.Series[n-1].Name)
		if slices.Compare(numbers[:min(2, len(numbers))], oldest[:min(2, len(numbers))]) < 0 {
			return fmt.Sprintf("older than %s, the oldest series that is known", c.Series[n-1].Name)
		}
	}
	return "no such series is known"
}

// cutFreeThreaded takes the t off a version string that ends in one; "latest" ends in another.
func cutFreeThreaded(spec string) (text string, freeThreaded bool) {
	text, freeThreaded = strings.CutSuffix(spec, "t")
	if !freeThreaded || text == "" || !strings.Contains(digits, text[len(text)-1:]) {
		return spec, false
	}
	return text, true
}

// SeriesOf returns the series that the version belongs to, nil when it is not known.
func (c *Catalogue) SeriesOf(v Version) *Series { return c.series(v.Major, v.Minor) }

func (c *Catalogue) series(major, minor int) *Series {
	for _, s := range c.Series {
		if n, _ := parseSeries(s.Name); n == [2]int{major, minor} {
			return s
		}
	}
	return nil
}

// newestFinal returns the newest final release that is accepted; nil accepts all.
func (c *Catalogue) newestFinal(accept func(Version) bool) *Release {
	for _, s := range c.Series {
		for _, r := range s.Releases {
			if r.Version.IsFinal() && (accept == nil || accept(r.Version)) {
				return r
			}
		}
	}
	return nil
}

// operatorBytes are what tells a constraint from a version. Not all of them make an operator that exists.
const operatorBytes = "<>=!~^"

// satisfying finds the newest final release that satisfies a constraint. go-version compares, but is shown only what scan has
// read: by itself it takes v3.12.1 and 03.012 for versions.
func (c *Catalogue) satisfying(spec string) (r *Release, reason string) {
	var conditions goversion.Constraints
	for condition := range strings.SplitSeq(spec, ",") {
		condition = strings.TrimSpace(condition)
		operand := strings.TrimLeft(condition, operatorBytes)
		operator := condition[:len(condition)-len(operand)]
		operand = strings.TrimSpace(operand)
		switch operator {
		case "=", "!=", ">", "<", ">=", "<=", "~>":
		case "":
			return nil, fmt.Sprintf("condition %q has no operator", condition)
		default:
			return nil, fmt.Sprintf("no such operator as %q", operator)
		}
		if _, _, reason := scan(operand); reason != "" {
			return nil, fmt.Sprintf("condition %q: %s", condition, reason)
		}
		parsed, err := goversion.NewConstraint(operator + operand)
		if err != nil {
			return nil, fmt.Sprintf("condition %q: %v", condition, err)
		}
		conditions = append(conditions, parsed...)
	}
	r = c.newestFinal(func(v Version) bool {
		parsed, err := goversion.NewVersion(v.String())
		return err == nil && conditions.Check(parsed)
	})
	if r == nil {
		return nil, "no final release satisfies it"
	}
	return r, ""
}
