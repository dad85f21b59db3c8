package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// unpack extracts the captures into a folder of the test.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecords reads captures of a real cluster, each of one way to break a service at one moment, and compares what comes first.
func TestRecords(t *testing.T) {
	dir := unpack(t, "testdata/records.tar.gz")
	raw, err := os.ReadFile("testdata/records.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rules := hops.Rules()
	for line := range strings.Lines(string(raw)) {
		cells := append(strings.Split(strings.TrimRight(line, "\n"), "\t"), "", "")
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, want := cells[0], append([]string{cells[1]}, strings.Split(cells[2], ",")...)
		t.Run(name, func(t *testing.T) {
			run, err := explainFlags{}.load(context.Background(), streams{}, filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all := hops.Join(run.Snapshots)
			run.Flow = hops.Resolve(&all, run.Ref)
			v := hops.Diagnose(run.Facts(), all.Time, rules)
			first := "none"
			if at := slices.IndexFunc(v.Findings, func(f hops.Finding) bool { return f.Severity != hops.Note }); at >= 0 {
				first = v.Findings[at].ID
			}
			if !slices.Contains(want, first) {
				t.Errorf("first is %s, want %s; state %s", first, want, v.State)
			}
		})
	}
}
