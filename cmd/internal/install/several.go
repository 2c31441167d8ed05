package install

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/fetch"
	"pybuild/recipes"
)

// An Order asks for one installation.
type Order struct {
	Release *recipes.Selection
	Options Options
}

// InstallAll makes sure that all that is ordered is installed, as Install does for one. What can be found out early is looked at
// for one after the other, and whatever has to be asked is asked then; the rest happens at the same time for as many as the
// memory takes, or for one where no Jobserver shares out the processors. One that fails does not stop the others. ended is told of
// each, by its place in orders, as soon as it has ended, and never of two at once. The error is about what they have in common.
func (in *Installer) InstallAll(ctx context.Context, orders []Order, ended func(n int, result *Result, err error)) (err error) {
	var locked prefixes
	defer func() { err = errors.Join(err, locked.unlock()) }()

	installers, tracks, ready := make([]*Installer, len(orders)), make([]*tracker, len(orders)), make([]*installation, len(orders))
	for n, o := range orders {
		each := *in
		each.Reporter = named{in.Reporter, o.Release.String()}
		installers[n], tracks[n] = each.track(o.Release, o.Options)
		defer tracks[n].stop()
		if ctx.Err() != nil {
			ended(n, nil, context.Cause(ctx))
			continue
		}
		i, err := installers[n].prepare(ctx, o.Release, o.Options, &locked)
		if err != nil || i.there != nil {
			ended(n, i.there, err)
			continue
		}
		if err := rivals(ready[:n], i); err != nil {
			i.site.leave()
			ended(n, nil, err)
			continue
		}
		ready[n] = i
	}

	turns := make(chan struct{}, in.atOnce(orders))
	failed := make([]bool, len(orders))
	var mu sync.Mutex // of ended
	var all sync.WaitGroup
	for n, i := range ready {
		if i == nil {
			continue
		}
		all.Go(func() {
			var result *Result
			var err error
			select {
			case turns <- struct{}{}:
				result, err = installers[n].carryOut(ctx, i, tracks[n])
				<-turns
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
			failed[n] = err != nil
			mu.Lock()
			defer mu.Unlock()
			ended(n, result, err)
		})
	}
	all.Wait()
	// Only now: what one made and does not need, another may have counted on.
	for n, i := range slices.Backward(ready) {
		if i != nil && failed[n] {
			i.site.leave()
		}
	}
	return nil
}

// rivals returns a *prefix.ConflictError when an installation wants names that one before it is about to get: which of the two
// comes first to its end must not decide.
func rivals(before []*installation, i *installation) error {
	conflict := &prefix.ConflictError{Prefix: i.options.Prefix, Owners: map[string]string{}}
	for _, b := range before {
		if b == nil || b.options.Prefix != i.options.Prefix {
			continue
		}
		theirs := claim(b.release, b.options)
		for _, file := range claim(i.release, i.options).Files {
			if slices.Contains(theirs.Files, file) {
				conflict.Paths = append(conflict.Paths, file)
				conflict.Owners[file] = theirs.Name
			}
		}
	}
	if len(conflict.Paths) == 0 {
		return nil
	}
	slices.Sort(conflict.Paths)
	conflict.Paths = slices.Compact(conflict.Paths)
	return conflict
}

// atOnce is for how many builds the memory suffices, each with a process as large as its profile knows, and one at least.
func (in *Installer) atOnce(orders []Order) int {
	if in.Jobserver == nil {
		return 1
	}
	left, _ := host.Memory(in.Root)
	if left == 0 {
		return len(orders) // it cannot be known
	}
	n := 0
	for _, o := range orders {
		if left -= int64(o.Options.Profile.Memory) << 20; left < 0 {
			break
		}
		n++
	}
	return max(n, 1)
}

// named says of every message which version it is about.
type named struct {
	Reporter
	version string
}

func (r named) Warn(text string)   { r.Reporter.Warn(r.version + ": " + text) }
func (r named) Note(text string)   { r.Reporter.Note(r.version + ": " + text) }
func (r named) Detail(text string) { r.Reporter.Detail(r.version + ": " + text) }

// An installation is one that nothing stands in the way of, as far as that can be known before anything is fetched.
type installation struct {
	there   *Result // it is there already, and nothing else is set
	release *recipes.Selection
	options Options
	sources []fetch.Source
	target  *lockedPrefix
	site    *site
	took    time.Duration // until now
}

// prefixes are those that one call of the program has locked. All are unlocked together, the last one first: a directory that was
// made for one may lie in one that was made for another.
type prefixes struct{ list []*lockedPrefix }

// A lockedPrefix keeps other processes out, and with its own lock the installations of this process from each other.
type lockedPrefix struct {
	*prefix.Prefix
	mu sync.Mutex
}

// lock locks a prefix that is not locked yet.
func (p *prefixes) lock(in *Installer, dir string) (*lockedPrefix, error) {
	for _, l := range p.list {
		if l.Dir() == dir {
			return l, nil
		}
	}
	target, err := in.lock(dir)
	if err != nil {
		return nil, err
	}
	l := &lockedPrefix{Prefix: target}
	p.list = append(p.list, l)
	return l, nil
}

func (p *prefixes) unlock() (err error) {
	for _, l := range slices.Backward(p.list) {
		err = errors.Join(err, l.Unlock())
	}
	return err
}
