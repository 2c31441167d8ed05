package build

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"pybuild/build/run"
)

// jobsArg is how every command of a plan that can use several processes is told how many: make, regrtest and complete.py alike.
func jobsArg(n int) string { return "-j" + strconv.Itoa(n) }

// turn waits until the command may run, where builds share the processors, and changes it to use no more than its share. A make
// gets no -j of its own, but what is free from one moment to the next; what cannot ask for more gets what is free now, and keeps it.
// done is to be called when the command has ended.
//
// One thing escapes it, as it does -j: setup.py, up to 3.11, compiles extension modules with as many processes as there are CPUs
// when MAKEFLAGS name -j or a jobserver.
func (p *Plan) turn(ctx context.Context, c *run.Command) (done func() error, err error) {
	if p.Jobserver == nil {
		return func() error { return nil }, nil
	}
	at, most := slices.Index(c.Argv, jobsArg(p.jobs)), 1
	switch {
	case at < 0: // one process
	case c.Argv[0] == "make":
		c.Argv, c.Jobserver = slices.Delete(slices.Clone(c.Argv), at, at+1), p.Jobserver
	default:
		most = p.jobs
	}
	tokens, err := p.Jobserver.Acquire(ctx, most)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("waiting for a processor: %w", err)
		}
		return nil, err
	}
	if most > 1 {
		c.Argv = slices.Clone(c.Argv)
		c.Argv[at] = jobsArg(tokens.N())
	}
	return tokens.Release, nil
}
