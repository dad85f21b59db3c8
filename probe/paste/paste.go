// Package paste turns what people paste into a bug report into facts: objects, events, log lines and what requests saw. It asks nothing of the
// reader: encodings, quote marks, fences and prompts are taken off, kinds are told by content, and what could not be read is named.
//
// paste.go: what goes in, what comes out, and the order of the work.
package paste

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"probe/hops"
)

// Input is a file or a folder by its path, or texts that are already open, or both.
type Input struct {
	Path  string
	Files []File
	// Want narrows the reading to one service: where there is too much to keep, what bears its name is kept.
	Want hops.Ref
	// Now is the time of the reading. Ages in tables are counted back from the latest time stamp of the paste, or from Now when it has none;
	// with neither they stay unknown.
	Now time.Time
}

// File is one text. Its name is a hint only: "logs-storage-initializer.txt", "pods.yaml".
type File struct {
	Name   string
	Reader io.Reader
}

// Result is what the paste holds.
type Result struct {
	Snapshot     hops.Snapshot
	Observations []hops.Observation
	// Services are the InferenceServices that the paste speaks of; those that it is about come first. A namespace that it does not tell is "".
	Services []hops.Ref
	// Subject is the one service that the paste is about; its name is "" when there is none or more than one to choose from.
	Subject hops.Ref
	// Unread lists what could not be read, or was left out, and why.
	Unread []Note
	// Time is the latest time stamp of the paste, else Input.Now.
	Time time.Time
}

// Note is something that was not read.
type Note struct {
	Name string // of the file
	Line int    // 0 for the whole file
	Why  string // in the user's words, with what to do about it when there is something
}

func (n Note) String() string {
	if n.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", n.Name, n.Line, n.Why)
	}
	return fmt.Sprintf("%s: %s", n.Name, n.Why)
}

// Bounds of one reading. Bytes are of text as it stands in the files.
const (
	maxFiles       = 2000
	maxFileHead    = 24 << 20 // read from the front of a file that is longer than maxFile
	maxFileTail    = 40 << 20 // and from its end
	maxFile        = 64 << 20 // read whole
	maxStream      = 2 << 30  // gone through, when it cannot seek, to find its end
	maxStreamTail  = 8 << 20  // which is read then
	maxTotal       = 256 << 20
	maxLine        = 1 << 20  // one line; JSON may be longer
	maxJSONLine    = 12 << 20 // one line that starts like JSON
	maxRests       = 5000     // pieces of JSON on one line
	maxLogLine     = 16 << 10 // one line of a log as it is kept
	maxDocument    = 4 << 20  // one object
	maxKeys        = 1000     // of one mapping, in YAML that is not plain
	maxRetried     = 8 << 20  // of all broken YAML that is decoded again in parts
	maxObjectBytes = 16 << 20 // of all objects that are kept
	maxWrapped     = 4000     // what a terminal put on further lines of one row
	maxRows        = 6000     // objects from tables
	maxLogBytes    = 16 << 20 // of all log lines that are kept, with what is known about them
	maxEvents      = 10000
	maxNotes       = 200
	maxSeen        = 500 // observations
)

// Read reads everything. It fails only when the path cannot be opened at all or the context ends; whatever else is wrong is a Note.
func Read(ctx context.Context, in Input) (Result, error) {
	p := newParser(ctx, in)
	if in.Path != "" {
		if err := p.readPath(in.Path); err != nil {
			return Result{}, err
		}
	}
	for _, f := range in.Files {
		p.readFile(f.Name, f.Reader)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("reading the paste stopped: %w", err)
	}
	return p.result(), nil
}

// readPath reads a file or a folder.
func (p *parser) readPath(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("paste %s: cannot be opened: %w", path, err)
	}
	if info.IsDir() {
		return p.readFolder(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("paste %s: cannot be opened: %w", path, err)
	}
	defer f.Close()
	// A pipe that stays silent is given up when the context ends; on plain files the deadline is not supported and not needed.
	stop := context.AfterFunc(p.ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	p.readFile(info.Name(), f)
	return nil
}
