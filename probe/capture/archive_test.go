// archive_test.go: what is packed is what is unpacked, and no archive writes where it should not.
package capture

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"probe/probe/redact/redacttest"
)

func TestArchiveRoundTrip(t *testing.T) {
	var packed, again bytes.Buffer
	if err := errors.Join(Archive(&packed, richRun()), Archive(&again, richRun())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed.Bytes(), again.Bytes()) {
		t.Error("the same run gave other bytes")
	}
	plain := gunzip(t, packed.Bytes())
	for name, raw := range map[string][]byte{"gzip": packed.Bytes(), "tar": plain} {
		if !IsArchive(raw[:min(len(raw), ArchiveHead)]) {
			t.Errorf("%s: not told as an archive", name)
		}
		in, notes, err := Unpack(bytes.NewReader(raw), t.TempDir())
		if err != nil || len(notes) > 0 {
			t.Fatal(name, notes, err)
		}
		got, notes, err := LoadAs(in, "x.tgz")
		if err != nil || len(notes) > 0 {
			t.Errorf("%s: notes %q, %v", name, notes, err)
		}
		same(t, got, *richRun())
	}
}

func TestArchiveIsRedacted(t *testing.T) {
	var packed bytes.Buffer
	if err := Archive(&packed, redacttest.Run()); err != nil {
		t.Fatal(err)
	}
	raw := gunzip(t, packed.Bytes())
	for _, secret := range []string{redacttest.Canary, redacttest.Encoded} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Error("the archive holds the canary")
		}
	}
}

// A writer that fails leaves an error, not half an archive that looks whole.
func TestArchiveWriterFails(t *testing.T) {
	if err := Archive(full{}, richRun()); err == nil || !strings.Contains(err.Error(), "capture of models/iris: ") {
		t.Errorf("got %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func gunzip(t *testing.T, raw []byte) []byte {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tarred makes a tar of entries; text goes into regular files.
func tarred(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, head := range entries {
		text := ""
		if head.Typeflag == 0 {
			head.Typeflag, text = tar.TypeReg, "text of "+head.Name
		}
		if head.Size = int64(len(text)); head.Typeflag != tar.TypeXGlobalHeader {
			head.Mode = 0o777
		}
		if err := w.WriteHeader(&head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(raw []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(raw) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

func TestUnpack(t *testing.T) {
	many := make([]tar.Header, maxEntries+1)
	for i := range many {
		many[i] = tar.Header{Name: "d/", Typeflag: tar.TypeDir}
	}
	good := tarred(t, tar.Header{Name: "capture.yaml"})
	for _, c := range []struct {
		name string
		raw  []byte
		err  string // or
		has  []string
		in   string
		note string
	}{
		{name: "files and folders", raw: tarred(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./capture.yaml"}, tar.Header{Name: "a/b/c.txt"}),
			has: []string{"capture.yaml", "a/b/c.txt"}},
		{name: "a folder that was packed whole", raw: tarred(t, tar.Header{Name: "evidence/", Typeflag: tar.TypeDir}, tar.Header{Name: "evidence/capture.yaml"}),
			has: []string{"evidence/capture.yaml"}, in: "evidence"},
		{name: "only objects", raw: tarred(t, tar.Header{Name: "objects/a.json"}), has: []string{"objects/a.json"}},
		{name: "twice the same name", raw: tarred(t, tar.Header{Name: "a"}, tar.Header{Name: "a"}), has: []string{"a"}},
		{name: "what git writes first", raw: tarred(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, tar.Header{Name: "a"}), has: []string{"a"}},
		{name: "links and devices", raw: tarred(t, tar.Header{Name: "a"}, tar.Header{Name: "s", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink},
			tar.Header{Name: "h", Linkname: "a", Typeflag: tar.TypeLink}, tar.Header{Name: "p", Typeflag: tar.TypeFifo}, tar.Header{Name: "n", Typeflag: tar.TypeChar}),
			has: []string{"a"}, note: "s: a link or a device"},
		{name: "through a link", raw: tarred(t, tar.Header{Name: "s", Linkname: "..", Typeflag: tar.TypeSymlink}, tar.Header{Name: "s/escaped"}), has: []string{"s/escaped"}, in: "s",
			note: "s: a link or a device"},
		{name: "upwards", raw: tarred(t, tar.Header{Name: "a"}, tar.Header{Name: "../escaped"}), err: `entry "../escaped" leads out of it`},
		{name: "upwards in the middle", raw: tarred(t, tar.Header{Name: "a/../../escaped"}), err: "leads out of it"},
		{name: "from the root", raw: tarred(t, tar.Header{Name: "/escaped"}), err: "leads out of it"},
		{name: "a file where a folder is", raw: tarred(t, tar.Header{Name: "a/b"}, tar.Header{Name: "a"}), err: `entry "a" cannot be unpacked`},
		{name: "too many entries", raw: tarred(t, many...), err: "more than 4000 entries"},
		{name: "nothing in it", raw: zipped(tarred(t)), err: "no tar"},
		{name: "folders only", raw: tarred(t, many[:3]...), err: "no files"},
		{name: "cut short", raw: good[:520], err: "damaged or cut short"},
		{name: "cut short in a header", raw: append(good[:1024:1024], good[:300]...), err: "damaged or cut short"},
		{name: "gzip cut short", raw: zipped(good)[:40], err: "gzip: unexpected EOF; fetch it again"},
		{name: "gzip of a text", raw: zipped([]byte("NAME READY\n")), err: "no tar; pass what is inside: gzip -dc"},
		{name: "gzip of nothing", raw: zipped(nil), err: "no tar"},
		{name: "a bad gzip header", raw: []byte{0x1f, 0x8b, 99}, err: "gzip: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "in")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			in, notes, err := Unpack(bytes.NewReader(c.raw), dir)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if _, err := os.Lstat(filepath.Join(outer, "escaped")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file was written beside the folder")
			}
			if c.err != "" {
				return
			}
			if in != filepath.Join(dir, c.in) || !strings.Contains(strings.Join(notes, "\n"), c.note) || c.note == "" && len(notes) > 0 {
				t.Errorf("in %s, notes %q", in, notes)
			}
			checkTree(t, dir, c.has)
		})
	}
}

// checkTree wants exactly these plain files, with their own text, for their owner alone.
func checkTree(t *testing.T, dir string, want []string) {
	t.Helper()
	var got []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		raw, err := os.ReadFile(path)
		info, _ := e.Info()
		if info.Mode() != 0o600 || !strings.HasSuffix(string(raw), name) {
			t.Errorf("%s: mode %v, %q, %v", name, info.Mode(), raw, err)
		}
		got = append(got, filepath.ToSlash(name))
		return nil
	})
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("no %s in %q", w, got)
		}
	}
}

// A small file may unpack to a large one: what is written is bounded, whatever the headers say.
func TestUnpackIsBounded(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := unpacker{root: root, left: 1000}
	head := &tar.Header{Name: "a", Typeflag: tar.TypeReg}
	if err := u.entry(head, io.LimitReader(zeros{}, 600)); err != nil {
		t.Fatal(err)
	}
	head.Name = "b"
	if err := u.entry(head, zeros{}); err == nil || !strings.Contains(err.Error(), "more than 256 MB") {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "b")); err != nil || info.Size() > 401 {
		t.Errorf("%v, %v", info, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestIsArchive(t *testing.T) {
	for text, want := range map[string]bool{"": false, "\x1f": false, "\x1f\x8b": true, "apiVersion: v1": false, strings.Repeat("x", 600): false,
		strings.Repeat("\x00", tarMagicAt) + "ustar": true} {
		if IsArchive([]byte(text)) != want {
			t.Errorf("%.20q: %v", text, !want)
		}
	}
}
