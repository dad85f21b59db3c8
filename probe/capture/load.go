// load.go: a capture on its way back. The folder may come from a stranger: nothing outside it is opened, and everything is bounded.
package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"probe/hops"
)

// Bounds of what is read of one folder.
const (
	maxFile      = 32 << 20 // bytes of a file with objects, events or observations
	maxLogFile   = 64 << 20 // bytes of a log; of a longer one the end is read
	maxFiles     = 2000
	maxSnapshots = 100
	maxNotes     = 50
)

// Load reads a capture. notes name, in the user's words, files that were not or not wholly read. With an *AmbiguousError the run is whole except
// for its Ref: set it and go on. A *NotCaptureError says that the folder has another layout.
func Load(dir string) (run hops.Run, notes []string, err error) { return LoadAs(dir, dir) }

// LoadAs is Load for a folder that its user knows by another name: that of the archive that was unpacked there.
func LoadAs(dir, name string) (run hops.Run, notes []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return hops.Run{}, nil, fmt.Errorf("capture %s: %w; give a directory that was written with --save", name, err)
	}
	defer root.Close()
	l := &loader{root: root}
	run, err = l.load(name)
	return run, l.said(), err
}

// loader is one folder being read.
type loader struct {
	root  *os.Root
	files int // opened so far
	notes []string
	more  int // notes that are not among them
}

func (l *loader) note(format string, args ...any) {
	if len(l.notes) >= maxNotes {
		l.more++
		return
	}
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *loader) said() []string {
	if l.more > 0 {
		return append(l.notes, fmt.Sprintf("and %d more", l.more))
	}
	return l.notes
}

func (l *loader) load(dir string) (hops.Run, error) {
	m, found, err := l.manifest()
	if err != nil {
		return hops.Run{}, fmt.Errorf("capture %s: %w", dir, err)
	}
	run := m.run()
	for i, at := range l.snapshots() {
		var p *part
		if i < len(m.Snapshots) {
			p = &m.Snapshots[i]
		}
		run.Snapshots = append(run.Snapshots, l.snapshot(at, p))
	}
	l.decode(observationsFile, &run.Observations)
	l.decode(spansFile, &run.Spans)
	if !found && len(run.Snapshots) == 0 && len(run.Observations) == 0 {
		return hops.Run{}, &NotCaptureError{Dir: dir, Within: l.within()}
	}
	slices.SortStableFunc(run.Snapshots, func(a, b hops.Snapshot) int { return a.Time.Compare(b.Time) })
	if n := len(run.Snapshots); !found && n > 0 {
		run.Started, run.Ended = run.Snapshots[0].Time, run.Snapshots[n-1].Time
	}
	if run.Ref == (hops.Ref{}) {
		run.Ref, err = refOf(dir, run.Snapshots)
	}
	return run, err
}

// manifest reads capture.yaml; found is false when there is none.
func (l *loader) manifest() (m manifest, found bool, err error) {
	if _, err := l.root.Lstat(manifestFile); errors.Is(err, fs.ErrNotExist) {
		return manifest{}, false, nil
	}
	raw, err := l.read(manifestFile)
	if err != nil {
		return manifest{}, true, err
	}
	m, err = parseManifest(raw)
	return m, true, err
}

// snapshots lists the folders of the snapshots in their order: "." for one that lies at the top. Entries that belong to no capture are noted.
func (l *loader) snapshots() []string {
	var out []string
	top := false
	for _, e := range l.list(".") {
		switch e.Name() {
		case manifestFile, observationsFile, spansFile:
		case snapshotsDir:
			out = l.numbered()
		case objectsDir, eventsDir, logsDir:
			top = true
		default:
			l.note("%s: not part of a capture", e.Name())
		}
	}
	if top {
		out = append(out, ".")
	}
	return out
}

// numbered lists snapshots/0, snapshots/1 ...
func (l *loader) numbered() []string {
	var numbers []int
	for _, e := range l.list(snapshotsDir) {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 0 || strconv.Itoa(n) != e.Name() {
			l.note("%s: not a snapshot", path.Join(snapshotsDir, e.Name()))
			continue
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	if len(numbers) > maxSnapshots {
		l.note("%s: only the first %d of %d snapshots were read", snapshotsDir, maxSnapshots, len(numbers))
		numbers = numbers[:maxSnapshots]
	}
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = path.Join(snapshotsDir, strconv.Itoa(n))
	}
	return out
}

// within names the folders inside that are captures.
func (l *loader) within() []string {
	var out []string
	for _, e := range l.list(".") {
		for _, part := range []string{manifestFile, objectsDir, eventsDir, snapshotsDir} {
			if _, err := l.root.Stat(path.Join(e.Name(), part)); err == nil && len(out) < maxNotes {
				out = append(out, e.Name())
				break
			}
		}
	}
	return out
}

// snapshot reads one snapshot; p is what capture.yaml says of it, nil for nothing.
func (l *loader) snapshot(dir string, p *part) hops.Snapshot {
	var s hops.Snapshot
	unknown := map[string]int{}
	for _, sub := range []string{objectsDir, eventsDir} {
		for _, e := range l.list(path.Join(dir, sub)) {
			l.objects(&s, path.Join(dir, sub, e.Name()), unknown)
		}
	}
	for _, kind := range sortedKeys(unknown) {
		l.note("%s: %d of kind %s, which no rule reads", path.Join(dir, objectsDir), unknown[kind], kind)
	}
	var listed []logFile
	if p != nil {
		listed = p.Logs
	}
	l.logs(&s, dir, listed)
	if p != nil {
		s.Time, s.Full, s.Gaps = p.Time, p.Full, p.Gaps
	}
	if s.Time.IsZero() {
		s.Time = newest(&s)
	}
	return s
}

// objects reads one file of objects, events or both.
func (l *loader) objects(s *hops.Snapshot, file string, unknown map[string]int) {
	switch fileExt(file) {
	case ".json", ".yaml", ".yml":
	default:
		l.note("%s: neither JSON nor YAML", file)
		return
	}
	raw, err := l.read(file)
	if err != nil {
		l.note("%v", err)
		return
	}
	trees, err := parseObjects(raw)
	if err != nil {
		l.note("%s: only %d objects could be read: %v", file, len(trees), err)
	}
	for _, tree := range trees {
		o, err := objectOf(tree, path.Base(file))
		switch {
		case err != nil:
			l.note("%s: %v", file, err)
		case o.Kind == "Event":
			s.Events = append(s.Events, hops.ParseEvent(&o))
		case o.Source == "":
			unknown[o.Kind]++
		default:
			s.Objects = append(s.Objects, o)
		}
	}
}

// logs reads the logs of one snapshot, the listed ones first.
func (l *loader) logs(s *hops.Snapshot, dir string, listed []logFile) {
	pods := podsOf(s.Objects)
	byFile := map[string]logFile{}
	var order []string
	found := l.logFiles(dir)
	for _, f := range listed {
		if slices.Contains(found, f.File) {
			byFile[f.File] = f
			order = append(order, f.File)
		} else {
			l.note("%s: listed in %s, but not there", path.Join(dir, f.File), manifestFile)
		}
	}
	for _, f := range found {
		if _, ok := byFile[f]; !ok {
			order = append(order, f)
		}
	}
	for _, file := range order {
		f, isListed := byFile[file]
		if !isListed {
			var err error
			if f, err = logOf(file, pods); err != nil {
				l.note("%s", path.Join(dir, err.Error()))
				continue
			}
		}
		s.Lines = append(s.Lines, l.log(path.Join(dir, file), f, isListed)...)
	}
}

// logFiles lists the files below logs/, two levels deep, as paths below the snapshot.
func (l *loader) logFiles(dir string) []string {
	var out []string
	for _, e := range l.list(path.Join(dir, logsDir)) {
		at := path.Join(logsDir, e.Name())
		info, err := l.root.Stat(path.Join(dir, at))
		switch {
		case err != nil:
			l.note("%s: cannot be read: %v", path.Join(dir, at), cause(err))
		case info.IsDir():
			for _, inner := range l.list(path.Join(dir, at)) {
				out = append(out, path.Join(at, inner.Name()))
			}
		default:
			out = append(out, at)
		}
	}
	return out
}

// log reads one log.
func (l *loader) log(file string, f logFile, listed bool) []hops.Line {
	in, size, err := l.open(file)
	if err != nil {
		l.note("%v", err)
		return nil
	}
	defer in.Close()
	unnumbered := false
	if size > maxLogFile {
		if _, err := in.Seek(size-maxLogFile, io.SeekStart); err == nil {
			l.note("%s: only the last %d MB of %d were read", file, maxLogFile>>20, size>>20)
			unnumbered = true
		}
	}
	lines, cut, err := readLog(io.LimitReader(in, maxLogFile))
	if err != nil {
		l.note("%s: cannot be read to its end: %v", file, cause(err))
	}
	if cut && !unnumbered {
		l.note("%s: a long log; its beginning, its end and lines that look telling were read", file)
	}
	takeTimes(lines, listed, f.Timestamps)
	for i := range lines {
		lines[i].Source, lines[i].Namespace, lines[i].Pod, lines[i].Container, lines[i].Previous = f.Source, f.Namespace, f.Pod, f.Container, f.Previous
		if unnumbered {
			lines[i].Number = 0
		}
	}
	return lines
}

// decode reads a JSON file into v; a file that is not there leaves v as it is.
func (l *loader) decode(file string, v any) {
	if _, err := l.root.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return
	}
	raw, err := l.read(file)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		l.note("%s: cannot be read: %v", file, cause(err))
	}
}

// list gives the entries of a folder in the order of their names, bounded; none when it is not there.
func (l *loader) list(dir string) []fs.DirEntry {
	f, err := l.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.note("%s: cannot be read: %v", dir, cause(err))
		return nil
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		l.note("%s: cannot be read: %v", dir, cause(err))
	}
	if len(entries) > maxFiles {
		l.note("%s: more than %d entries; the others were left out", dir, maxFiles)
		entries = entries[:maxFiles]
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// open opens a regular file within the folder: a link that leads out of it is not followed, a pipe or device is not read.
func (l *loader) open(file string) (*os.File, int64, error) {
	info, err := l.root.Stat(file)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s: not a file", file)
	case l.files >= maxFiles:
		return nil, 0, fmt.Errorf("%s: left out: more than %d files", file, maxFiles)
	}
	l.files++
	f, err := l.root.Open(file)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	}
	return f, info.Size(), nil
}

// read reads a whole file of a bounded size.
func (l *loader) read(file string) ([]byte, error) {
	f, size, err := l.open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MB", file, maxFile>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// cause drops the path that the os package puts before an error; the note names it already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func sortedKeys(m map[string]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
