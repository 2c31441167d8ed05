package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// times are what a machine has learnt about the installations of one series with one profile: how long the steps took, in seconds,
// how much they had to do, in the units of [build.Progress], and how evenly that went. They only shape what is told: what is wrong
// with them costs a bad estimate, and no more.
type times struct {
	Seconds map[string]float64 `json:"seconds"`
	Counts  map[string]int64   `json:"counts"`
	Curves  map[string]curve   `json:"curves"`
}

// What times may be, in bytes of their file and for each value.
const (
	maxTimes   = 16 << 10
	maxSeconds = 7 * 24 * 3600
	maxCount   = 1e6
)

// readTimes reads what is known, which is nothing where the file is not there, or not what write wrote.
func readTimes(name string) times {
	nothing := times{Seconds: map[string]float64{}, Counts: map[string]int64{}, Curves: map[string]curve{}}
	file, err := os.Open(name)
	if err != nil {
		return nothing
	}
	data, err := io.ReadAll(io.LimitReader(file, maxTimes+1))
	if errors.Join(err, file.Close()) != nil || len(data) > maxTimes {
		return nothing
	}
	var t times
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&t) != nil || t.Seconds == nil || t.Counts == nil || t.Curves == nil {
		return nothing
	}
	for _, s := range t.Seconds {
		if s < 0 || s > maxSeconds {
			return nothing
		}
	}
	for _, n := range t.Counts {
		if n <= 0 || n > maxCount {
			return nothing
		}
	}
	for _, c := range t.Curves {
		if !c.valid() {
			return nothing
		}
	}
	return t
}

// write keeps the times as a whole. Of two processes that do so at the same time the last has its way.
func (t times) write(name string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(name, append(data, '\n'), 0o644)
}
