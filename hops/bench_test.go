package hops_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"probe/hops"
)

// namespace is a captured namespace: one service with fifty pods, forty-nine of them well.
func namespace(b *testing.B, lines int) hops.Facts {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "serverless.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	s := hops.Snapshot{Time: when0}
	if err := loadObjects(&s, string(raw)); err != nil {
		b.Fatal(err)
	}
	for _, o := range s.Objects {
		if o.Source != hops.Pods {
			continue
		}
		for i := range 49 {
			copied := o
			copied.Name = fmt.Sprintf("%s-%d", o.Name, i)
			s.Objects = append(s.Objects, copied)
		}
		break
	}
	for i := range lines {
		s.Lines = append(s.Lines, hops.Line{Source: hops.ContainerLogs, Pod: "iris-predictor-00001-deployment-1-2", Container: "kserve-container", Number: i + 1,
			Text: fmt.Sprintf(`2026-01-01 11:59:59.%03d uvicorn.access INFO:     127.0.0.1:%d - "POST /v1/models/iris:predict HTTP/1.1" 200 OK`, i%1000, i)})
	}
	ref := hops.Ref{Namespace: "default", Name: "iris"}
	return hops.Facts{Ref: ref, Snapshots: []hops.Snapshot{s}, Flow: hops.Resolve(&s, ref)}
}

func BenchmarkDiagnose(b *testing.B) {
	rules := hops.Rules()
	for _, lines := range []int{0, 20000} {
		f := namespace(b, lines)
		b.Run(fmt.Sprintf("pods=50,lines=%d", lines), func(b *testing.B) {
			for b.Loop() {
				hops.Diagnose(f, when0, rules)
			}
		})
	}
}

func BenchmarkRules(b *testing.B) {
	for b.Loop() {
		hops.Rules()
	}
}

// BenchmarkRule shows which rule is slow on logs: go test -bench 'Rule/' -benchtime 3x.
func BenchmarkRule(b *testing.B) {
	f := namespace(b, 20000)
	for _, r := range hops.Rules() {
		b.Run(strings.ReplaceAll(r.ID, "/", "-"), func(b *testing.B) {
			for b.Loop() {
				hops.Ask(r, f, when0)
			}
		})
	}
}
