// report.go: a summary as a table, as JSON and as JUnit XML.
package scenarios

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"probe/hops"
	"probe/probe/redact"
)

// Table prints one line a scenario, then what did not pass and why.
func Table(w io.Writer, s *Summary) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SCENARIO\tMODE\tEXPECTED\tGOT\tTIME TO DETECT\tRESULT")
	for i := range s.Results {
		r := &s.Results[i]
		mode, got, detected := r.Scenario.Mode, "-", "-"
		if mode == "" {
			mode = "(healthy)"
		}
		if len(r.Looks) > 0 {
			v := r.Got()
			got = verdictWords(&v, &r.Scenario.Expect)
		}
		if r.Status == Passed {
			detected = r.Detected.Round(time.Second).String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Scenario.Name, mode, &r.Scenario.Expect, got, detected, r.Status)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i := range s.Results {
		r := &s.Results[i]
		for _, why := range r.Why {
			fmt.Fprintf(w, "%s %s: %s\n", r.Scenario.Name, r.Status, redact.String(why))
		}
	}
	for _, err := range s.Left {
		fmt.Fprintf(w, "left behind: %s\n", redact.String(err.Error()))
	}
	_, err := fmt.Fprintf(w, "%d passed, %d drifted, %d broken, %d skipped, %d not run, in %s\n", s.Count(Passed), s.Count(Drifted), s.Count(Broken),
		s.Count(Skipped), s.Count(NotRun), s.Took.Round(time.Second))
	return err
}

func verdictWords(v *hops.Verdict, e *Expect) string {
	return words(string(v.State), v.Step.Hop, e.first(v), v.Asleep)
}

// The JSON form. It only grows.
type (
	jsonSummary struct {
		SchemaVersion string       `json:"schemaVersion"`
		Results       []jsonResult `json:"results"`
		Left          []string     `json:"left,omitempty"`
		Seconds       float64      `json:"seconds"`
	}
	jsonResult struct {
		Name    string     `json:"name"`
		Title   string     `json:"title"`
		Mode    string     `json:"mode,omitempty"`
		Shared  bool       `json:"shared,omitempty"`
		Status  Status     `json:"status"`
		Why     []string   `json:"why,omitempty"`
		Looks   []jsonLook `json:"looks,omitempty"`
		Seconds float64    `json:"seconds"`
		// DetectedSeconds is from the breakage to the expected verdict; null when it did not come.
		DetectedSeconds *float64 `json:"detectedSeconds"`
	}
	jsonLook struct {
		Name     string     `json:"name"`
		Expected Expect     `json:"expected"`
		Got      jsonGot    `json:"got"`
		Why      []string   `json:"why,omitempty"`
		Seen     []jsonSeen `json:"seen,omitempty"`
	}
	jsonSeen struct {
		AfterSeconds float64 `json:"afterSeconds"`
		Verdict      string  `json:"verdict"`
	}
	jsonGot struct {
		State   hops.State `json:"state"`
		Hop     hops.Hop   `json:"hop,omitempty"`
		ID      string     `json:"id,omitempty"`
		Asleep  bool       `json:"asleep,omitempty"`
		Status  int        `json:"status,omitempty"`
		Summary string     `json:"summary,omitempty"`
	}
)

// JSON prints the summary for programs.
func JSON(w io.Writer, s *Summary) error {
	out := jsonSummary{SchemaVersion: "probe/drill/v1", Results: []jsonResult{}, Seconds: s.Took.Seconds()}
	for i := range s.Results {
		out.Results = append(out.Results, jsonOf(&s.Results[i]))
	}
	for _, err := range s.Left {
		out.Left = append(out.Left, redact.String(err.Error()))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func jsonOf(r *Result) jsonResult {
	out := jsonResult{Name: r.Scenario.Name, Title: r.Scenario.Title, Mode: r.Scenario.Mode, Shared: r.Scenario.Shared, Status: r.Status,
		Why: redacted(r.Why), Seconds: r.Took.Seconds()}
	if r.Status == Passed {
		d := r.Detected.Seconds()
		out.DetectedSeconds = &d
	}
	for i := range r.Looks {
		l := &r.Looks[i]
		v := &l.Run.Verdict
		var seen []jsonSeen
		for _, s := range l.Seen {
			seen = append(seen, jsonSeen{AfterSeconds: s.After.Seconds(), Verdict: s.Verdict})
		}
		out.Looks = append(out.Looks, jsonLook{Seen: seen, Name: l.Name, Expected: l.Expect, Why: redacted(l.Why), Got: jsonGot{State: v.State, Hop: v.Step.Hop,
			ID: l.Expect.first(v), Asleep: v.Asleep, Status: outsideStatus(&l.Run), Summary: redact.String(v.Summary)}})
	}
	return out
}

func redacted(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, redact.String(s))
	}
	return out
}

// The JUnit form, as test reporters read it.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"` // seconds
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Time    string     `xml:"time,attr"`
		Failure *junitText `xml:"failure,omitempty"`
		Error   *junitText `xml:"error,omitempty"`
		Skipped *junitText `xml:"skipped,omitempty"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit prints the summary for test reporters. What did not run counts as an error: nothing is known of it.
func JUnit(w io.Writer, s *Summary) error {
	out := junitSuite{Name: "probe drill", Tests: len(s.Results), Failures: s.Count(Drifted), Errors: s.Count(Broken) + s.Count(NotRun),
		Skipped: s.Count(Skipped), Time: seconds(s.Took)}
	for i := range s.Results {
		r := &s.Results[i]
		c := junitCase{Class: "probe.drill", Name: r.Scenario.Name, Time: seconds(r.Took)}
		why := redacted(r.Why)
		text := &junitText{Message: string(r.Status), Text: strings.Join(why, "\n")}
		if len(why) > 0 {
			text.Message = why[0]
		}
		switch r.Status {
		case Drifted:
			c.Failure = text
		case Broken, NotRun:
			c.Error = text
		case Skipped:
			c.Skipped = text
		}
		out.Cases = append(out.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// Describe says what a scenario would do, line by line.
func Describe(w io.Writer, s *Scenario, lacks string) {
	fmt.Fprintf(w, "%s: %s\n", s.Name, s.Title)
	if lacks != "" {
		fmt.Fprintf(w, "  would be skipped: %s\n", lacks)
	}
	if s.Shared {
		fmt.Fprintln(w, "  breaks what other services use too (shared)")
	}
	fmt.Fprintf(w, "  make namespace %s%s\n", prefix, s.Name)
	for _, m := range s.Base {
		fmt.Fprintf(w, "  apply %s, wait until InferenceService %s is OK\n", m, s.Service)
	}
	for _, a := range s.Inject {
		fmt.Fprintf(w, "  %s\n", &a)
	}
	if s.Starting != nil {
		fmt.Fprintf(w, "  probe, expect %s\n", s.Starting)
	}
	fmt.Fprintf(w, "  probe for at most %s, expect %s\n", s.Settle.Duration, &s.Expect)
	if s.Later != nil {
		for _, a := range s.Later.Do {
			fmt.Fprintf(w, "  %s\n", &a)
		}
		fmt.Fprintf(w, "  probe for at most %s, expect %s\n", s.Later.Settle.Duration, &s.Later.Expect)
	}
	fmt.Fprintln(w, "  undo all, delete the namespace")
}

// String is the action in a few words.
func (a *Action) String() string {
	switch {
	case a.Apply != "":
		return "apply " + a.Apply
	case a.Scale != nil:
		return fmt.Sprintf("scale %s to %d", a.touches(), a.Scale.Replicas)
	case a.Delete != nil:
		return fmt.Sprintf("delete %s", a.Delete)
	case a.Patch != nil:
		return fmt.Sprintf("patch %s", &a.Patch.Object)
	case a.Wait != "":
		return "wait " + a.Wait
	}
	return "wait until " + strings.ReplaceAll(string(a.Until), "-", " ")
}
