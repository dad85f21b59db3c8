// report.go: the tables, and the same figures as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

func (c *Comparison) table(out io.Writer) error {
	fmt.Fprintf(out, "%d services on loopback, each every %gs, %.0f s, one core each, side by side; metrics read once an interval\n\n", c.Services, c.Interval, c.Seconds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tPROBES\tFAILED\tSPANS\tCPU\tPROBES PER CPU-SECOND\t\tRSS\tPEAK\tPER TARGET\tGROWN PER TARGET\tHEAP")
	for i, f := range c.Figures {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%d\t%.2f s\t%.0f\t%.2f x\t%s\t%s\t%s\t%s\t%s\n", f.Name, f.Probes, f.Failed, f.Spans, f.CPU, f.PerCPU, c.Times[i],
			bytesOf(f.RSS), bytesOf(f.RSSPeak), bytesOf(f.PerService), bytesOf(f.Grown), bytesOf(f.Heap))
	}
	return w.Flush()
}

func (l *Load) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"services", fmt.Sprintf("%d, each every %gs; %.0f s measured", l.Services, l.Interval, l.Seconds)},
		{"until all were found OK", fmt.Sprintf("%.0f s, %.1f s of CPU, %d left", l.WarmSeconds, l.WarmCPU, l.Left)},
		{"probes", fmt.Sprintf("%.0f due, %.0f OK, %.0f not OK, %.0f missed", l.Due, l.Probes, l.Failed, l.Missed)},
		{"scheduling delay", fmt.Sprintf("p50 at most %gs, p99 at most %gs", l.LateP50, l.LateP99)},
		{"CPU", fmt.Sprintf("%.1f s, %.0f %% of one core, %.0f probes per CPU-second", l.CPU, 100*l.Core, l.PerCPU)},
		{"spans", fmt.Sprint(l.Spans)},
		{"memory", fmt.Sprintf("RSS %s, %s without services: %s a service; peak %s, heap %s", bytesOf(l.RSS), bytesOf(l.RSSAtRest),
			bytesOf(l.Grown), bytesOf(l.RSSPeak), bytesOf(l.Heap))},
		{"API requests before", requests(l.RequestsWarm)},
		{"API requests measured", requests(l.Requests)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

// requests lists the five most frequent.
func requests(by map[string]int) string {
	total := 0
	var names []string
	for name, n := range by {
		names, total = append(names, name), total+n
	}
	slices.SortFunc(names, func(a, b string) int { return by[b] - by[a] })
	text := fmt.Sprint(total)
	for i, name := range names[:min(5, len(names))] {
		text += fmt.Sprintf("%s%s %d", map[bool]string{true: ": ", false: ", "}[i == 0], name, by[name])
	}
	return text
}

func bytesOf(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10 || n <= -10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// writeJSON writes the figures to a file, or to out for "-".
func writeJSON(file string, out io.Writer, v any) error {
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("the figures as JSON: %w", err)
	}
	raw = append(raw, '\n')
	if file == "-" {
		_, err = out.Write(raw)
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}
