// archive.go: a capture as one file: tar, gzip'd. What is unpacked may come from a stranger: it stays inside its folder, and is bounded.
package capture

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"probe/hops"
)

const (
	maxEntries  = 2 * maxFiles // folders count too
	maxUnpacked = 256 << 20    // bytes of all files together

	// ArchiveHead is how many bytes of a file IsArchive looks at.
	ArchiveHead = 512
	tarMagicAt  = 257 // of the header (POSIX.1-1988, ustar)
)

// Archive writes a run as a gzip'd tar of what Save writes, redacted alike. The same run gives the same bytes.
func Archive(w io.Writer, run *hops.Run) error {
	files, err := render(run)
	if err != nil {
		return fmt.Errorf("capture of %s: %w", run.Ref, err)
	}
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(files[name])), ModTime: run.Ended.Truncate(1e9)}
		if err := out.WriteHeader(head); err != nil {
			return fmt.Errorf("capture of %s: %s: %w", run.Ref, name, err)
		}
		if _, err := out.Write(files[name]); err != nil {
			return fmt.Errorf("capture of %s: %s: %w", run.Ref, name, err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		return fmt.Errorf("capture of %s: %w", run.Ref, err)
	}
	return nil
}

// IsArchive tells a tar, gzip'd or not, by its first ArchiveHead bytes. Whatever is gzip'd counts: nothing else that can be explained is.
func IsArchive(head []byte) bool { return isGzip(head) || isTar(head) }

func isGzip(head []byte) bool { return bytes.HasPrefix(head, []byte{0x1f, 0x8b}) }

func isTar(head []byte) bool {
	return len(head) > tarMagicAt && bytes.HasPrefix(head[tarMagicAt:], []byte("ustar"))
}

// Unpack writes the files of a tar, gzip'd or not, below an empty folder, and gives the folder in which they lie: that one, or the only one within
// it. notes name entries that were left out: links and devices. A tar that leads out of the folder, or is beyond all bounds, is an error.
func Unpack(r io.Reader, dir string) (in string, notes []string, err error) {
	files, err := tarOf(r)
	if err != nil {
		return "", nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, err
	}
	defer root.Close()
	u := unpacker{root: root, left: maxUnpacked}
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, damaged(err)
		}
		if err := u.entry(head, files); err != nil {
			return "", nil, err
		}
	}
	if u.files == 0 {
		return "", nil, errors.New("the archive holds no files")
	}
	return onlyFolder(dir), u.notes, nil
}

// tarOf finds the tar in what may be gzip'd.
func tarOf(r io.Reader) (*tar.Reader, error) {
	in := bufio.NewReaderSize(r, 1<<15)
	head, err := in.Peek(ArchiveHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if isGzip(head) {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w; fetch it again", err)
		}
		in = bufio.NewReaderSize(zip, 1<<15)
		if head, err = in.Peek(ArchiveHead); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("gzip: %w; fetch it again", err)
		}
	}
	if !isTar(head) {
		return nil, errors.New("it is gzip'd, but no tar; pass what is inside: gzip -dc FILE | probe explain -")
	}
	return tar.NewReader(in), nil
}

// unpacker is an archive being unpacked.
type unpacker struct {
	root    *os.Root
	entries int
	files   int
	left    int64 // bytes that may still be written
	notes   []string
}

// entry writes one entry.
func (u *unpacker) entry(head *tar.Header, content io.Reader) error {
	if u.entries++; u.entries > maxEntries {
		return fmt.Errorf("the archive holds more than %d entries; give the archive of one service", maxEntries)
	}
	name := path.Clean(head.Name)
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("the archive's entry %q leads out of it: nothing of it was read", head.Name)
	}
	switch head.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeDir:
		return u.problem(name, u.root.MkdirAll(name, 0o700))
	case tar.TypeReg:
		return u.problem(name, u.file(name, content))
	}
	if len(u.notes) < maxNotes {
		u.notes = append(u.notes, fmt.Sprintf("%s: a link or a device: not read", name))
	}
	return nil
}

func damaged(err error) error {
	return fmt.Errorf("the archive is damaged or cut short: %w; fetch it again", err)
}

// problem names the entry that could not be written.
func (u *unpacker) problem(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return damaged(err)
	}
	return fmt.Errorf("the archive's entry %q cannot be unpacked: %w", name, cause(err))
}

// file writes one file. What its header says of its size is not trusted.
func (u *unpacker) file(name string, content io.Reader) error {
	if err := u.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, u.left+1))
	err = errors.Join(err, f.Close())
	if u.left -= n; err == nil && u.left < 0 {
		err = fmt.Errorf("all in all more than %d MB; give the archive of one service", maxUnpacked>>20)
	}
	u.files++
	return err
}

// onlyFolder is the folder that a tar of a whole folder begins with.
func onlyFolder(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || !entries[0].IsDir() || slices.Contains(topNames(), entries[0].Name()) {
		return dir
	}
	return filepath.Join(dir, entries[0].Name())
}
