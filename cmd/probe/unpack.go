// unpack.go: what explain is pointed at: a folder, a text, or an archive, from a file, a pipe or standard input. Archives are told by content.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"probe/probe/capture"
)

// source is what was found: dir for a folder and for an archive that was unpacked; text for what can be read only once; else path.
type source struct {
	name  string // the user's own for it
	path  string
	dir   string
	text  io.Reader
	notes []string // what of an archive was left out
	done  []func()
}

func (s *source) close() {
	for _, f := range s.done {
		f()
	}
}

// openSource looks at what a path names; "-" is standard input. What cannot be opened is left to the parser to complain about.
func openSource(ctx context.Context, path string, stdin io.Reader) (*source, error) {
	if path == "-" {
		s := &source{name: "standard input"}
		if f, ok := stdin.(*os.File); ok && regular(f) {
			s.text = f
			return s, s.unpack(f, startOf(f))
		}
		return s, s.pipe(stdin)
	}
	s := &source{name: path, path: path}
	info, err := os.Stat(path)
	if err != nil {
		return s, nil
	}
	if info.IsDir() {
		s.dir = path
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return s, nil
	}
	s.done = append(s.done, func() { f.Close() })
	if regular(f) {
		return s, s.unpack(f, startOf(f))
	}
	// A pipe that stays silent is given up when the context ends.
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	s.done = append(s.done, func() { stop() })
	return s, s.pipe(f)
}

func regular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// startOf reads the first bytes of a file and leaves its position alone.
func startOf(f *os.File) []byte {
	head := make([]byte, capture.ArchiveHead)
	n, _ := f.ReadAt(head, 0) // what cannot be read is no archive, and the parser says why
	return head[:n]
}

// pipe looks at the beginning of what can be read only once.
func (s *source) pipe(in io.Reader) error {
	text := bufio.NewReaderSize(in, 1<<15)
	head, _ := text.Peek(capture.ArchiveHead) // an error comes again when the text is read
	s.text = text
	return s.unpack(text, head)
}

// unpack puts an archive into a folder that is removed when the source is closed. Anything else is left as it is.
func (s *source) unpack(in io.Reader, head []byte) error {
	if !capture.IsArchive(head) {
		return nil
	}
	dir, err := os.MkdirTemp("", "probe-explain-*")
	if err != nil {
		return fmt.Errorf("%s: no room to unpack it: %w; name a folder that can be written in TMPDIR", s.name, withoutPath(err))
	}
	s.done = append(s.done, func() { os.RemoveAll(dir) })
	s.dir, s.notes, err = capture.Unpack(in, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// withoutPath drops the name of a folder that is none of the user's.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// label is the name of a text, a hint to what it holds.
func (s *source) label() string { return filepath.Base(s.name) }
