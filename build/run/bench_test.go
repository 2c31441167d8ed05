package run

import "testing"

// What a confinement costs: the difference between the two, for each command.
func BenchmarkRun(b *testing.B) {
	for _, mode := range modes {
		b.Run(mode.name, func(b *testing.B) {
			c := mode.confinement(b)
			for b.Loop() {
				if err := Run(b.Context(), Command{Argv: []string{"/bin/true"}, Confine: c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
