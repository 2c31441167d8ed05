package main

import (
	"fmt"
	"slices"
	"strings"
)

// markdown renders everything as tables, with what must be known to read them.
func (r *Results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.caption())
	if built := r.built(); len(built) > 0 {
		r.pairTable(&b)
		r.caseTable(&b, built)
	}
	if len(r.Samples) > 0 {
		r.speedTables(&b)
	}
	return b.String()
}

// caption says what was measured, and on what.
func (r *Results) caption() string {
	text := fmt.Sprintf("CPython %s, %d jobs", r.Version, r.Jobs)
	for _, part := range []string{r.Machine.Processor, r.Machine.Memory, r.Machine.System, r.Machine.Compiler} {
		if part != "" {
			text += "; " + cell(part)
		}
	}
	text += "."
	if len(r.Runs) > 0 && r.Root {
		text += " Started by root: builds by hand run as root, pybuild's confined as an unprivileged user."
	}
	return text + "\n"
}

// cell takes from a text what would end a cell of a table.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s) }

func (r *Results) pairTable(b *strings.Builder) {
	head := "| wall time | pair | ratio: median [min–max] | cores busy | rounds |\n|---|---|---|---|---|\n"
	for _, p := range pairs {
		ratios := r.ratios(p)
		if len(ratios) == 0 {
			continue
		}
		s := spread(ratios)
		fmt.Fprintf(b, "%s| %s | `%s` / `%s` | %.2f [%.2f–%.2f] | %.2f / %.2f | %d |\n", head, p.what, p.of, p.to, s.Median, s.Min, s.Max,
			spread(r.of(p.of, cores)).Median, spread(r.of(p.to, cores)).Median, len(ratios))
		head = ""
	}
	if head == "" {
		b.WriteString("\n")
	}
}

func cores(r Run) float64 { return r.CPU / r.Wall }

func (r *Results) caseTable(b *strings.Builder, built []Case) {
	const mib = 1 << 20
	b.WriteString("Medians of each case. Memory is that of the largest process; disk is what is installed, and the most that it and the build directory took.\n\n" +
		"| case | what | wall s | CPU s | cores busy | memory MiB | pybuild's own: memory MiB, CPU | disk MiB, at most |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range built {
		median := func(figure func(Run) float64) float64 { return spread(r.of(c.Name, figure)).Median }
		own := ""
		if c.Own {
			own = fmt.Sprintf("%.0f, %.1f %%", median(func(r Run) float64 { return float64(r.OwnMemory) / mib }), median(func(r Run) float64 { return 100 * r.OwnCPU / r.CPU }))
		}
		fmt.Fprintf(b, "| `%s` | %s | %.1f | %.1f | %.2f | %.0f | %s | %.0f, %.0f |\n", c.Name, cell(c.Summary), median(wall), median(func(r Run) float64 { return r.CPU }), median(cores),
			median(func(r Run) float64 { return float64(r.Memory) / mib }), own,
			median(func(r Run) float64 { return float64(r.Disk) / mib }), median(func(r Run) float64 { return float64(r.Peak) / mib }))
	}
	b.WriteString("\n")
}

// speedPairs are the comparisons of interpreters that are worth a line each, besides those with the first.
var speedPairs = []pair{
	{"", "lto", "by-hand"},
	{"", "lto", "python-build"},
	{"", "lto", "pgo-by-hand"},
	{"", "lto", "lto-by-hand"},
	{"", "pgo", "pgo-by-hand"},
	{"", "native", "lto"},
}

// measured are the interpreters that have run programs.
func (r *Results) measured() (measured []Interpreter) {
	for _, i := range r.Interpreters {
		if slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Interpreter == i.Name }) {
			measured = append(measured, i)
		}
	}
	return measured
}

func (r *Results) speedTables(b *strings.Builder) {
	all := r.measured()
	if len(all) == 0 {
		return
	}
	first := all[0]
	fmt.Fprintf(b, "Speed of the interpreters: the geometric mean over all programs of the smallest CPU times, `%s` = 1, more is faster; in brackets the slowest and the fastest single round.\n\n", cell(first.Name))
	b.WriteString("| interpreter | version | speed |\n|---|---|---|\n")
	columns := map[string]map[string]float64{}
	for _, i := range all {
		s, programs, ok := r.speedOf(i.Name, first.Name)
		if !ok {
			continue
		}
		columns[i.Name] = programs
		fmt.Fprintf(b, "| `%s` | %s | %.2f [%.2f–%.2f] |\n", cell(i.Name), cell(i.Version), s.Mean, s.Min, s.Max)
	}
	r.speedPairTable(b, all)
	b.WriteString("\n| program |")
	for _, i := range all {
		fmt.Fprintf(b, " `%s` |", cell(i.Name))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, program := range r.programs() {
		fmt.Fprintf(b, "| %s |", cell(program))
		for _, i := range all {
			if ratio, ok := columns[i.Name][program]; ok {
				fmt.Fprintf(b, " %.2f |", ratio)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
}

// speedPairTable has the pairs that both ran, and what pybuild made against what the distribution has of the same series.
func (r *Results) speedPairTable(b *strings.Builder, all []Interpreter) {
	list := slices.Clone(speedPairs)
	for _, i := range all {
		if !strings.HasPrefix(i.Name, distribution) {
			continue
		}
		for _, own := range all {
			if !strings.HasPrefix(own.Name, distribution) && own.series() == i.series() {
				list = append(list, pair{"", own.Name, i.Name})
			}
		}
	}
	head := "\n| pair | speed |\n|---|---|\n"
	for _, p := range list {
		if s, _, ok := r.speedOf(p.of, p.to); ok {
			fmt.Fprintf(b, "%s| `%s` / `%s` | %.2f [%.2f–%.2f] |\n", head, cell(p.of), cell(p.to), s.Mean, s.Min, s.Max)
			head = ""
		}
	}
}

// programs are those that have run, in the order in which they did.
func (r *Results) programs() (names []string) {
	for _, s := range r.Samples {
		if !slices.Contains(names, s.Program) {
			names = append(names, s.Program)
		}
	}
	return names
}
