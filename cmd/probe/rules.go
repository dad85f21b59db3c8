// rules.go: `probe rules [ID]`: the catalogue of failure modes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"probe/hops"
)

// ruleJSON is one rule in `-o json`. The form only grows.
type ruleJSON struct {
	ID       string     `json:"id"`
	Hop      hops.Hop   `json:"hop"`
	Title    string     `json:"title"`
	Means    string     `json:"means"`
	Fix      string     `json:"fix"`
	Looks    hops.Looks `json:"looks"`
	Needs    []string   `json:"needs"`
	Explains []string   `json:"explains"`
}

func newRules(s streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "rules [ID]",
		Short: "List the failure modes that are known, or say all about one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "markdown"}, output) {
				return usage("--output %q: text, json or markdown", output)
			}
			rules := hops.Rules()
			if len(args) == 1 {
				at := slices.IndexFunc(rules, func(r hops.Rule) bool { return r.ID == args[0] })
				if at < 0 {
					return usage("no rule has the id %q%s", args[0], similar(rules, args[0]))
				}
				rules = rules[at : at+1]
			}
			switch {
			case output == "json":
				return rulesJSON(s.out, rules)
			case output == "markdown":
				return rulesMarkdown(s.out, rules)
			case len(args) == 1:
				return ruleText(s.out, rules[0])
			}
			return rulesTable(s.out, rules)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or markdown")
	return cmd
}

// similar names the ids that share a word with the one that was asked for.
func similar(rules []hops.Rule, id string) string {
	var near []string
	for _, r := range rules {
		for word := range strings.SplitSeq(id, "-") {
			if len(word) > 2 && slices.Contains(strings.Split(r.ID, "-"), word) && !slices.Contains(near, r.ID) {
				near = append(near, r.ID)
			}
		}
	}
	if len(near) == 0 {
		return ": `probe rules` lists them"
	}
	return ": did you mean " + strings.Join(near, ", ") + "?"
}

func rulesJSON(w io.Writer, rules []hops.Rule) error {
	out := struct {
		SchemaVersion string     `json:"schemaVersion"`
		Rules         []ruleJSON `json:"rules"`
	}{SchemaVersion: "probe/v1"}
	for _, r := range rules {
		j := ruleJSON{ID: r.ID, Hop: r.Hop, Title: r.Title, Means: r.Means, Fix: r.Fix, Looks: r.Looks, Needs: []string{}, Explains: []string{}}
		for _, n := range r.Needs {
			j.Needs = append(j.Needs, string(n))
		}
		j.Explains = append(j.Explains, r.Explains...)
		out.Rules = append(out.Rules, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func rulesTable(w io.Writer, rules []hops.Rule) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tHOP\tTITLE")
	for _, r := range rules {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.ID, r.Hop, r.Title)
	}
	return t.Flush()
}

func ruleText(w io.Writer, r hops.Rule) error {
	var needs []string
	for _, n := range r.Needs {
		needs = append(needs, string(n))
	}
	rows := [][2]string{{"id", r.ID}, {"hop", string(r.Hop)}, {"what", r.Title}, {"means", r.Means}, {"fix", r.Fix}, {"in status", r.Looks.Status},
		{"at the client", r.Looks.Client}, {"in logs", r.Looks.Logs}, {"looks at", strings.Join(needs, ", ")}, {"explains", strings.Join(r.Explains, ", ")}}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	return t.Flush()
}

// rulesMarkdown is the catalogue that lies in the repository, beside the rules.
func rulesMarkdown(w io.Writer, rules []hops.Rule) error {
	var b strings.Builder
	b.WriteString("# The failure modes\n\nWritten by `probe rules -o markdown`; a test keeps it and the rules together.\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "\n## %s\n\n%s (hop `%s`). %s\n\n", r.ID, sentence(r.Title), r.Hop, r.Means)
		for _, row := range [][2]string{{"In status", r.Looks.Status}, {"At the client", r.Looks.Client}, {"In logs", r.Looks.Logs}, {"Fix", r.Fix}} {
			if row[1] != "" {
				fmt.Fprintf(&b, "- %s: %s\n", row[0], row[1])
			}
		}
		var needs []string
		for _, n := range r.Needs {
			needs = append(needs, string(n))
		}
		fmt.Fprintf(&b, "- Looks at: %s\n", strings.Join(needs, ", "))
		if len(r.Explains) > 0 {
			fmt.Fprintf(&b, "- Explains: %s\n", strings.Join(r.Explains, ", "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sentence begins a text with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
