package install

// An expectation is how long a step should take, and, once it has ended, how long it took; both in seconds. One of which nothing is
// known expects 0.
type expectation struct {
	name           string
	expected, took float64
	ended          bool
}

// pacePrior is how many seconds must have gone as expected before what was measured counts as much: the first steps are short, and
// say little about a compiler.
const pacePrior = 10

// estimate says how many seconds are left of an installation. at is the index of the step that runs or comes next, elapsed how long
// it has run, and fraction how much of it was done after so many seconds as counted says, 0 where that is not known.
//
// What is to come is expected at the pace of what has been. Of the step that runs, the expectation counts less the more is done, and
// what was seen the more. A step that takes longer than it should and does not say how far it is always needs a little more.
func estimate(steps []expectation, at int, fraction, counted, elapsed float64) (left float64) {
	spent, expected := float64(pacePrior), float64(pacePrior)
	for _, s := range steps[:min(at, len(steps))] {
		if s.ended && s.expected > 0 {
			spent, expected = spent+s.took, expected+s.expected
		}
	}
	if at >= len(steps) {
		return 0
	}
	now := steps[at]
	if fraction > 0 && now.expected > 0 {
		spent, expected = spent+counted, expected+fraction*now.expected
	}
	pace := spent / expected
	for _, s := range steps[at+1:] {
		left += s.expected * pace
	}
	whole := now.expected * pace
	if fraction <= 0 {
		return left + max(whole-elapsed, whole/10)
	}
	rest := counted * (1 - fraction) / fraction // as was seen
	if now.expected > 0 {
		rest = (1-fraction)*(1-fraction)*whole + fraction*rest
	}
	return left + max(rest-(elapsed-counted), rest/10)
}
