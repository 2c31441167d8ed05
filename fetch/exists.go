package fetch

import (
	"context"
	"errors"
	"io/fs"
)

// Exists asks a source whether it has a file, without reading it. The error says why
// that could not be found out.
func (c *Cache) Exists(ctx context.Context, raw string) (bool, error) {
	g := c.getter(Request{})
	defer g.close()
	u, err := g.admit(raw)
	if err != nil {
		return false, err
	}
	in, err := g.open(ctx, u, want{limit: c.maxSize()})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	in.Close() // only opened
	return true, nil
}
