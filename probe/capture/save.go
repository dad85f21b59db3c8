// save.go: a Run on its way to disk. What is written was redacted.
package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"

	"probe/hops"
	"probe/probe/redact"
)

// Save writes a run into a directory that does not exist, is empty, or holds an earlier capture, which it replaces. The capture appears whole:
// it is built in a directory beside and moved; capture.yaml comes last. Files can be read by their owner only.
func Save(dir string, run *hops.Run) error {
	target, exists, err := prepare(dir)
	if err != nil {
		return err
	}
	files, err := render(run)
	if err != nil {
		return fmt.Errorf("capture of %s: %w", run.Ref, err)
	}
	parent, pattern := filepath.Dir(target), "."+filepath.Base(target)+".*"
	if exists { // inside, so that a directory that is a mount point works too
		parent, pattern = target, ".capture.*"
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("capture directory %s: %w", dir, err)
	}
	tmp, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return fmt.Errorf("capture directory %s: %w; give a directory that can be written with --save", dir, err)
	}
	defer os.RemoveAll(tmp) // nothing is there any more after a success
	if err := write(tmp, files); err != nil {
		return fmt.Errorf("capture directory %s: %w", dir, err)
	}
	if exists {
		err = replace(tmp, target)
	} else {
		err = os.Rename(tmp, target)
	}
	if err != nil {
		return fmt.Errorf("capture directory %s: %w", dir, err)
	}
	return nil
}

// topNames are what a capture may hold at its top; the last makes it one.
func topNames() []string {
	return []string{snapshotsDir, objectsDir, eventsDir, logsDir, observationsFile, spansFile, manifestFile}
}

// prepare says where to write, and refuses a directory that holds anything but a capture.
func prepare(dir string) (target string, exists bool, err error) {
	target, err = filepath.Abs(dir)
	if err != nil {
		return "", false, fmt.Errorf("capture directory %s: %w", dir, err)
	}
	entries, err := os.ReadDir(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target, false, nil
	case err != nil:
		return "", false, fmt.Errorf("capture directory %s: %w; give another one with --save", dir, err)
	case len(entries) == 0:
		return target, true, nil
	}
	for _, e := range entries {
		if !slices.Contains(topNames(), e.Name()) {
			return "", false, fmt.Errorf("capture directory %s holds %s, which is not part of a capture; give an empty or a new directory with --save", dir, e.Name())
		}
	}
	raw, err := os.ReadFile(filepath.Join(target, manifestFile))
	if err == nil {
		_, err = parseManifest(raw)
	}
	if err != nil {
		return "", false, fmt.Errorf("capture directory %s is neither empty nor a capture of this version (%w); give another one with --save", dir, err)
	}
	return target, true, nil
}

// replace moves the parts of a new capture over those of the old one.
func replace(tmp, target string) error {
	for _, name := range slices.Backward(topNames()) { // the old one stops being a capture first
		if err := os.RemoveAll(filepath.Join(target, name)); err != nil {
			return err
		}
	}
	for _, name := range topNames() {
		err := os.Rename(filepath.Join(tmp, name), filepath.Join(target, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// write puts files under a directory.
func write(dir string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(to, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// render gives the files of a capture by their path.
func render(run *hops.Run) (map[string][]byte, error) {
	clean, what := redact.Run(run)
	m := manifest{SchemaVersion: SchemaVersion, Service: clean.Ref, Started: clean.Started.UTC(), Ended: clean.Ended.UTC(), TraceID: clean.TraceID, SpanID: clean.SpanID,
		Reads: clean.Reads, Redactions: what, Warnings: clean.Warnings, Flow: clean.Flow}
	if clean.ReadTook != 0 {
		m.ReadTook = clean.ReadTook.String()
	}
	files := map[string][]byte{}
	for i := range clean.Snapshots {
		p, err := renderSnapshot(files, path.Join(snapshotsDir, strconv.Itoa(i)), &clean.Snapshots[i], maxLogBytes/len(clean.Snapshots))
		if err != nil {
			return nil, err
		}
		m.Snapshots = append(m.Snapshots, p)
	}
	if err := jsonLines(files, observationsFile, clean.Observations); err != nil {
		return nil, err
	}
	if err := jsonLines(files, spansFile, clean.Spans); err != nil {
		return nil, err
	}
	raw, err := yaml.Marshal(m)
	files[manifestFile] = raw
	return files, err
}

// renderSnapshot adds the files of one snapshot and gives what they do not tell.
func renderSnapshot(files map[string][]byte, dir string, s *hops.Snapshot, logBytes int) (part, error) {
	p := part{Time: s.Time.UTC(), Full: s.Full, Gaps: s.Gaps}
	for name, items := range objectFiles(s.Objects) {
		raw, err := list(items)
		if err != nil {
			return part{}, err
		}
		files[path.Join(dir, objectsDir, fileName(name))] = raw
	}
	events := make([]map[string]any, len(s.Events))
	for i, e := range s.Events {
		events[i] = eventTree(e, i)
	}
	if len(events) > 0 {
		raw, err := list(events)
		if err != nil {
			return part{}, err
		}
		files[path.Join(dir, eventsDir, "events.json")] = raw
	}
	for _, w := range logsOf(s.Lines, logBytes) {
		files[path.Join(dir, w.File)] = w.text()
		p.Logs = append(p.Logs, w.logFile)
	}
	return p, nil
}

// jsonLines adds a file with a JSON array, an entry a line; none for an empty one.
func jsonLines[T any](files map[string][]byte, name string, entries []T) error {
	if len(entries) == 0 {
		return nil
	}
	out := []byte("[")
	for i, e := range entries {
		raw, err := compact(e)
		if err != nil {
			return err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, '\n'), raw...)
	}
	files[name] = append(out, "\n]\n"...)
	return nil
}
