// files.go: which files of a folder are read, in which order, and how much of each.
package paste

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
)

// readFolder reads the files below a folder, at most maxFiles of them. Nothing outside the folder is opened, whatever its links say.
func (p *parser) readFolder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("folder %s: cannot be opened: %w", dir, err)
	}
	defer root.Close()
	names := p.list(root)
	if len(names) == 0 {
		p.note(dir, 0, "the folder holds no files")
	}
	if len(names) > maxFiles {
		p.note(dir, 0, fmt.Sprintf("the folder holds more than %d files: only the first %d were read; give the folder of one service", maxFiles, maxFiles))
		names = names[:maxFiles]
	}
	for _, name := range names {
		if p.ctx.Err() != nil {
			return nil
		}
		if p.total > maxTotal {
			p.note(name, 0, fmt.Sprintf("not read, like all that follow: %d MiB were read already", maxTotal>>20))
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			p.note(name, 0, "cannot be opened: "+reason(err))
			continue
		}
		p.readFile(name, f)
		f.Close()
	}
	return nil
}

// list gives the names of what can be read, those first that bear the wanted service's name. The walk itself is bounded.
func (p *parser) list(root *os.Root) []string {
	var names []string
	seen := 0
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if seen++; seen > 20*maxFiles || p.ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil {
			p.note(name, 0, "cannot be listed: "+reason(err))
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if base := path.Base(name); name != "." && (base == ".git" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if p.readable(root, name, d) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		p.note(".", 0, "cannot be listed: "+reason(err))
	}
	sort.SliceStable(names, func(i, j int) bool { return p.wanted(names[i]) && !p.wanted(names[j]) })
	return names
}

// readable says whether an entry is a plain file of the folder, by itself or through a link that stays inside. A pipe or a device could block
// for ever.
func (p *parser) readable(root *os.Root, name string, d fs.DirEntry) bool {
	if d.Type().IsRegular() {
		return true
	}
	if d.Type()&fs.ModeSymlink == 0 {
		p.note(name, 0, "is not a plain file: not read")
		return false
	}
	info, err := root.Stat(name)
	switch {
	case err != nil:
		p.note(name, 0, "is a symbolic link out of the folder, or to nothing: not read")
	case info.IsDir():
		p.note(name, 0, "is a symbolic link to a folder: not read")
	case !info.Mode().IsRegular():
		p.note(name, 0, "is a symbolic link to something that is not a plain file: not read")
	default:
		return true
	}
	return false
}

// wanted says whether a name speaks of the wanted service.
func (p *parser) wanted(name string) bool {
	return p.want.Name != "" && strings.Contains(name, p.want.Name)
}

// reason is the last part of a path error: the path is in the note already.
func reason(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		return s[i+2:]
	}
	return s
}

// readFile reads one text, in two parts when it is too long to be read whole.
func (p *parser) readFile(name string, r io.Reader) {
	if name == "" || name == "-" {
		name = "stdin"
	}
	size := int64(-1)
	seek, ok := r.(io.ReadSeeker)
	if f, isFile := r.(*os.File); isFile {
		info, err := f.Stat()
		ok = err == nil && info.Mode().IsRegular()
	}
	if ok {
		if end, err := seek.Seek(0, io.SeekEnd); err == nil {
			size = end
			if _, err := seek.Seek(0, io.SeekStart); err != nil {
				p.note(name, 0, "cannot be read: "+reason(err))
				return
			}
		}
	}
	if size <= maxFile {
		p.readStream(name, r)
		return
	}
	p.note(name, 0, fmt.Sprintf("%d MiB long: only the first %d and the last %d MiB were read", size>>20, maxFileHead>>20, maxFileTail>>20))
	p.readText(name, io.LimitReader(r, maxFileHead), false)
	if _, err := seek.Seek((size-maxFileTail)&^1, io.SeekStart); err == nil { // an even offset keeps UTF-16 in step
		p.readText(name, io.LimitReader(r, maxFileTail), true)
	}
}

// readStream reads what cannot seek: the front as it comes, and of what is too long the end.
func (p *parser) readStream(name string, r io.Reader) {
	front := &capped{r: r, left: maxFile}
	p.readText(name, front, false)
	if front.left > 0 || p.ctx.Err() != nil {
		return
	}
	end, skipped := p.lastBytes(r)
	if len(end) == 0 {
		return
	}
	p.note(name, 0, fmt.Sprintf("longer than %d MiB: %d MiB in its middle were not read", maxFile>>20, skipped>>20))
	p.readText(name, bytes.NewReader(end), skipped > 0)
}

// lastBytes goes through a stream without looking at it, up to a bound, and gives its last bytes.
func (p *parser) lastBytes(r io.Reader) (end []byte, skipped int64) {
	ring := make([]byte, maxStreamTail)
	at, full := 0, false
	for skipped = -maxStreamTail; skipped < maxStream && p.ctx.Err() == nil; {
		n, err := r.Read(ring[at:min(len(ring), at+1<<20)])
		at += n
		skipped += int64(n)
		if at == len(ring) {
			at, full = 0, true
		}
		if err != nil {
			break
		}
	}
	if !full {
		return ring[:at], 0
	}
	return append(append(make([]byte, 0, len(ring)), ring[at:]...), ring[:at]...), max(0, skipped)
}

// capped ends a stream at its bound.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(b)) > c.left {
		b = b[:c.left]
	}
	n, err := c.r.Read(b)
	c.left -= int64(n)
	return n, err
}
