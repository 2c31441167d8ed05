package install

import "slices"

// A curve says how much of a step's time had gone when so much of it was done: at the end of each part but the last of curveParts
// even ones. Targets are not alike: in a recorded build the first half of them took six tenths of the time. nil is a straight line.
type curve []float64

const curveParts = 16

// at is how much of the time has gone when so much is done, both from 0 to 1.
func (c curve) at(done float64) float64 {
	if c == nil {
		return done
	}
	part := min(int(done*curveParts), curveParts-1)
	from, to := 0.0, 1.0
	if part > 0 {
		from = c[part-1]
	}
	if part < curveParts-1 {
		to = c[part]
	}
	return from + (to-from)*(done*curveParts-float64(part))
}

// valid says whether it is one that grows from 0 to 1.
func (c curve) valid() bool {
	return len(c) == curveParts-1 && slices.IsSorted(c) && c[0] >= 0 && c[len(c)-1] <= 1
}

// pass takes down that so much was done after so many seconds, and returns the longer curve, which is in seconds until over ends it.
func (c curve) pass(done, seconds float64) curve {
	for part := int(done * curveParts); len(c) < min(part, curveParts-1); {
		c = append(c, seconds)
	}
	return c
}

// over ends a curve of a step that took so many seconds.
func (c curve) over(seconds float64) curve {
	if len(c) == 0 || seconds <= 0 {
		return nil
	}
	whole := make(curve, 0, curveParts-1)
	for _, s := range c {
		whole = append(whole, min(1, s/seconds))
	}
	for len(whole) < curveParts-1 {
		whole = append(whole, 1)
	}
	return whole
}
