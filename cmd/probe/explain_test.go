// explain_test.go: the same evidence gives the same verdict, however it is packed and wherever it comes from.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"probe/probe/capture"
)

// fetched is a failure as the agent gives it.
func fetched(t *testing.T) []byte {
	t.Helper()
	run, _, err := capture.Load(filepath.Join("..", "..", "scenarios", "container-crash-loop", "recorded", "shown"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := capture.Archive(&out, &run); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unzipped is the tar within, with a folder around its files when there is one.
func unzipped(t *testing.T, raw []byte, folder string) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	in, w := tar.NewReader(zip), tar.NewWriter(&out)
	for {
		head, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		head.Name = folder + head.Name
		if err := w.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, in); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pasted is a tar of loose files.
func pasted(t *testing.T) []byte {
	t.Helper()
	text := "NAME                                              READY   STATUS      RESTARTS   AGE\n" +
		"iris-predictor-default-00001-deployment-6d4-x2x   1/2     OOMKilled   3          2m\n"
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "notes/pods.txt", Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestExplainArchive(t *testing.T) {
	whole := fetched(t)
	var text bytes.Buffer
	zip := gzip.NewWriter(&text)
	_, _ = io.WriteString(zip, "NAME READY\n") // a buffer takes everything
	_ = zip.Close()
	for _, c := range []struct {
		name string
		raw  []byte
		code int
		says string
	}{
		{"as it was fetched", whole, 1, "Cause: container-crash-loop"},
		{"a plain tar", unzipped(t, whole, ""), 1, "Cause: container-crash-loop"},
		{"a folder that was packed", unzipped(t, whole, "evidence/"), 1, "Cause: container-crash-loop"},
		{"loose files", pasted(t), 1, "oom-killed"},
		{"cut short", whole[:len(whole)/2], 2, "damaged or cut short"},
		{"no tar", text.Bytes(), 2, "gzip -dc FILE | probe explain -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			path := write(t, "failure.tgz", string(c.raw))
			for _, from := range []struct{ stdin, path, name string }{{"", path, path}, {string(c.raw), "-", "standard input"}} {
				code, out, errs := try(t, from.stdin, nil, "explain", from.path)
				if code != c.code || !strings.Contains(out+errs, c.says) || strings.Contains(out+errs, os.TempDir()) {
					t.Errorf("%s: exit %d:\n%s%s", from.name, code, out, errs)
				}
				if code == 2 && !strings.Contains(errs, from.name+": ") {
					t.Errorf("%q does not name %s", errs, from.name)
				}
			}
			if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// What a shell opens as standard input is a file with a position; what it substitutes is a pipe with a name.
func TestExplainFromFiles(t *testing.T) {
	path := write(t, "failure.tgz", string(fetched(t)))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	raw := fetched(t)
	go func() {
		_, _ = end.Write(raw) // a reader that stopped shows below
		end.Close()
	}()
	for name, in := range map[string]*os.File{"a file": file, "a pipe": read} {
		s, err := openSource(t.Context(), "-", in)
		defer s.close()
		if err != nil || s.dir == "" {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		run, _, err := capture.LoadAs(s.dir, s.name)
		if err != nil || run.Ref.Name == "" {
			t.Errorf("%s: %v, %v", name, run.Ref, err)
		}
	}
}
