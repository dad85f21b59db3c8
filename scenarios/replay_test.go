package scenarios

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A recording is at most so large, in bytes, as it is and compressed.
const (
	maxRecording  = 400_000
	maxCompressed = 60_000
	minRecordings = 20 // so that a change of the layout cannot make the test find none
)

// TestReplay diagnoses every recording anew: the verdict is still the one that the scenario expects.
func TestReplay(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range all {
		for name, expect := range s.looks() {
			dir := filepath.Join(s.Name, recordedDir, name)
			if _, err := os.Stat(dir); err != nil {
				continue
			}
			seen++
			t.Run(s.Name+"/"+name, func(t *testing.T) {
				t.Parallel()
				run, err := Replay(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, why := range expect.compare(&run) {
					t.Error(why)
				}
			})
		}
	}
	if seen < minRecordings {
		t.Errorf("%d recordings, expected at least %d", seen, minRecordings)
	}
}

// TestRecordingsBelong finds recordings of looks that no scenario has.
func TestRecordingsBelong(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range all {
		for name := range s.looks() {
			known[filepath.Join(s.Name, recordedDir, name)] = true
		}
	}
	for _, dir := range recordings(t) {
		if !known[dir] {
			t.Errorf("%s: no scenario has this look", dir)
		}
	}
}

// recordings are the folders of all recordings of scenarios.
func recordings(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("*", recordedDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(dir)), "scenario.yaml")); err == nil {
			out = append(out, dir)
		}
	}
	return out
}

// secrets are texts that no recording may hold: what the project's own store is opened with, and the shapes of tokens and keys.
func secrets(t *testing.T) *regexp.Regexp {
	t.Helper()
	raw, err := os.ReadFile("kind.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	if err := yaml.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	parts := []string{`(?i)bearer [a-z0-9._-]{8}`, `eyJhbGciOi`, `-----BEGIN [A-Z ]*PRIVATE KEY`}
	for _, name := range []string{"STORE_KEY", "STORE_SECRET"} {
		if len(values[name]) < 8 {
			t.Fatalf("kind.yaml: %s is not there", name)
		}
		parts = append(parts, regexp.QuoteMeta(values[name]))
	}
	return regexp.MustCompile(strings.Join(parts, "|"))
}

// TestRecordingsAreSmallAndHoldNoSecret looks at every file of every recording.
func TestRecordingsAreSmallAndHoldNoSecret(t *testing.T) {
	secret := secrets(t)
	for _, dir := range recordings(t) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		tw := tar.NewWriter(z)
		size := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			size += len(raw)
			if found := secret.Find(raw); found != nil {
				t.Errorf("%s holds %.12q...", path, found)
			}
			if err := tw.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(raw))}); err != nil {
				return err
			}
			_, err = tw.Write(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		tw.Close()
		z.Close()
		if size > maxRecording || packed.Len() > maxCompressed {
			t.Errorf("%s: %d bytes, %d compressed; at most %d and %d", dir, size, packed.Len(), maxRecording, maxCompressed)
		}
	}
}
