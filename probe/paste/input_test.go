// input_test.go: encodings, copies through mail and terminals, long and broken input, folders: each must give a clear line or a whole answer.
package paste

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/tools/txtar"

	"probe/hops"
)

const podTable = `$ kubectl get pods -n demo
NAME                                       READY   STATUS             RESTARTS   AGE
iris-predictor-00001-deployment-7b-abcde   1/2     CrashLoopBackOff   6          11m
`

// TestCopies reads one table in every dress that copying gives it.
func TestCopies(t *testing.T) {
	utf16 := func(e unicode.Endianness, bom unicode.BOMPolicy) func(string) string {
		return func(s string) string {
			out, err := unicode.UTF16(e, bom).NewEncoder().String(s)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	each := func(f func(string) string) func(string) string {
		return func(s string) string {
			var b strings.Builder
			for line := range strings.Lines(s) {
				b.WriteString(f(strings.TrimSuffix(line, "\n")) + "\n")
			}
			return b.String()
		}
	}
	for name, dress := range map[string]func(string) string{
		"plain":             func(s string) string { return s },
		"CRLF":              func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"CR":                func(s string) string { return strings.ReplaceAll(s, "\n", "\r") },
		"UTF-8 BOM":         func(s string) string { return "\ufeff" + s },
		"UTF-16 LE BOM":     utf16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16 BE BOM":     utf16(unicode.BigEndian, unicode.UseBOM),
		"UTF-16 LE no BOM":  utf16(unicode.LittleEndian, unicode.IgnoreBOM),
		"UTF-16 BE no BOM":  utf16(unicode.BigEndian, unicode.IgnoreBOM),
		"fence":             func(s string) string { return "```console\n" + s + "```\n" },
		"tilde fence":       func(s string) string { return "~~~\n" + s + "~~~\n" },
		"no end of line":    func(s string) string { return strings.TrimSuffix(s, "\n") },
		"quoted":            each(func(s string) string { return "> " + s }),
		"quoted twice":      each(func(s string) string { return ">> " + s }),
		"quoted fence":      func(s string) string { return each(func(s string) string { return "> " + s })("```\n" + s + "```\n") },
		"indented":          each(func(s string) string { return "    " + s }),
		"colours":           each(func(s string) string { return "\x1b[1;32m" + s + "\x1b[0m\x1b[K" }),
		"lost colours":      each(func(s string) string { return "[1;32m" + s + "[0m" }),
		"visible colours":   each(func(s string) string { return "^[[32m" + s + "^[[0m" }),
		"title sequence":    each(func(s string) string { return "\x1b]0;user@host\x07" + s }),
		"no-break spaces":   func(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") },
		"zero width spaces": each(func(s string) string { return "\u200b" + s }),
		"cp1252 around": func(s string) string {
			head, err := charmap.Windows1252.NewEncoder().String("“Gr\u00fc\u00dfe” \u2026\n\n")
			if err != nil {
				t.Fatal(err)
			}
			return head + s
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Read(t.Context(), Input{Files: []File{{Name: "-", Reader: strings.NewReader(dress(podTable))}}})
			if err != nil {
				t.Fatal(err)
			}
			o := objectOf(t, r, hops.Pods, "iris-predictor-00001-deployment-7b-abcde")
			if o.Namespace != "demo" || o.Str("row", "STATUS") != "CrashLoopBackOff" || o.Str("row", "RESTARTS") != "6" {
				t.Errorf("got %v", o.Tree)
			}
			if r.Subject != (hops.Ref{Namespace: "demo", Name: "iris"}) {
				t.Errorf("subject %v", r.Subject)
			}
		})
	}
}

// TestJunk reads what is no text, or no end, and wants a note that names it.
func TestJunk(t *testing.T) {
	random := make([]byte, 1<<16)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}
	for name, c := range map[string]struct {
		text, why string
	}{
		"empty":          {"", "is empty"},
		"gzip":           {"\x1f\x8b\x08\x00abc", "compressed (gzip)"},
		"zip":            {"PK\x03\x04abc", "archive (zip)"},
		"picture":        {"\x89PNG\r\n\x1a\n", "picture"},
		"nul bytes":      {strings.Repeat("\x00", 5000), "not text"},
		"random":         {string(random), "text"},
		"junk in a text": {strings.Repeat("a line of a log\n", 20) + "\n\x00\x01\x02\x03\x04\x05\x06\x00\x00\n", "no text"},
		"long line":      {strings.Repeat("x", 3<<20) + "\n", "more than a MiB"},
		"long object":    {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + strings.Repeat("x", 900<<10) + "\nspec: [\n", "YAML"},
		"open json":      {"{\n\"kind\": \"Pod\", \"apiVersion\": \"v1\",\n\"metadata\": {\"name\": \"x\"", "cut"},
		"deep json":      {strings.Repeat("[\n", 100000), ""},
		"deep yaml":      {"kind: Pod\nspec:\n" + deepYAML(3000), "YAML"},
		"aliases":        {aliases(), "YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			r, err := Read(t.Context(), Input{Files: []File{{Name: "x", Reader: strings.NewReader(c.text)}}})
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if all := fmt.Sprint(r.Unread); c.why != "" && !strings.Contains(all, c.why) {
				t.Errorf("notes %.300s: want one with %q", all, c.why)
			}
		})
	}
}

func deepYAML(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", 2+i) + "a:\n")
	}
	return b.String()
}

// aliases is a document that would be gigabytes if it were written out.
func aliases() string {
	var b strings.Builder
	b.WriteString("kind: Pod\nmetadata: {name: x}\nspec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	return b.String()
}

func TestFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, path string) {
		t.Helper()
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "pods.txt"), podTable)
	write(filepath.Join(dir, "a", "logs-storage-initializer.previous.txt"), "boom\n")
	write(filepath.Join(dir, "logs", "iris-predictor-00001-deployment-7b-abcde", "queue-proxy.log"), "aggressive probe error\n")
	write(filepath.Join(outside, "secret.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: outside}\n")
	link(filepath.Join(outside, "secret.yaml"), filepath.Join(dir, "link.yaml"))
	link("..", filepath.Join(dir, "up"))
	link("pods.txt", filepath.Join(dir, "inside.txt"))
	link("nothing", filepath.Join(dir, "dangling"))
	r, err := Read(t.Context(), Input{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := show(r)
	for _, want := range []string{"/ storage-initializer previous| boom", "/iris-predictor-00001-deployment-7b-abcde queue-proxy| aggressive",
		"link.yaml: is a symbolic link out of the folder", "up: is a symbolic link", "dangling: is a symbolic link out of the folder, or to nothing"} {
		if !strings.Contains(s, want) {
			t.Errorf("want %q in\n%s", want, s)
		}
	}
	if strings.Contains(s, "outside") {
		t.Errorf("read outside of the folder:\n%s", s)
	}
	objectOf(t, r, hops.Pods, "iris-predictor-00001-deployment-7b-abcde")
}

func TestFolderOfManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 10000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d.txt", i)), []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "zz-iris-pods.txt"), []byte(podTable), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), Input{Path: dir, Want: hops.Ref{Name: "iris"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "more than 2000 files") {
		t.Errorf("notes %.300s", s)
	}
	objectOf(t, r, hops.Pods, "iris-predictor-00001-deployment-7b-abcde") // its file's name comes last, but bears the wanted service
}

func TestNoSuchPath(t *testing.T) {
	_, err := Read(t.Context(), Input{Path: filepath.Join(t.TempDir(), "nothing")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestHugeFile reads a gigabyte, nearly all of it a hole: only its two ends are read.
func TestHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs-kserve-container.txt")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := []byte("2026-11-22 10:00:00.000 1 uvicorn.access INFO:     10.0.0.1:0 1 - \"GET /v1/models/iris HTTP/1.1\" 200 OK\n")
	front := bytes.Repeat(line, maxFileHead/len(line)+1)
	back := append(bytes.Repeat(line, maxFileTail/len(line)+1), "ValueError: the very end\n"...)
	if _, err := f.WriteAt(front, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(back, 1<<30-int64(len(back))); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), Input{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Snapshot.Lines[len(r.Snapshot.Lines)-1]
	if last.Text != "ValueError: the very end" || last.Container != "kserve-container" {
		t.Errorf("last line %+v", last)
	}
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "1024 MiB long: only the first 24 and the last 40 MiB were read") {
		t.Errorf("notes %s", s)
	}
	if len(r.Snapshot.Lines) > 4*(headLines+middleLines+tailLines) {
		t.Errorf("%d lines kept", len(r.Snapshot.Lines))
	}
}

// endless never stops giving lines.
type endless struct{ line []byte }

func (e *endless) Read(b []byte) (int, error) { return copy(b, e.line), nil }

func TestEndlessStream(t *testing.T) {
	r, err := Read(t.Context(), Input{Files: []File{{Name: "-", Reader: &endless{bytes.Repeat([]byte("a line of a log\n"), 4096)}}}})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "longer than 64 MiB") {
		t.Errorf("notes %s", s)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Read(ctx, Input{Files: []File{{Name: "-", Reader: &endless{bytes.Repeat([]byte("a line of a log\n"), 4096)}}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestSilentPipe opens a pipe that nobody writes to: the reading ends with its context.
func TestSilentPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Read(ctx, Input{Path: fmt.Sprintf("/dev/fd/%d", in.Fd())})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestLogKeeps wants the first, the last and the telling lines of a long log, each once.
func TestLogKeeps(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		switch i {
		case 7000:
			b.WriteString("Traceback (most recent call last):\nValueError: in the middle\n")
		case 9000:
			b.WriteString(strings.Repeat("the same again\n", 500))
		}
		fmt.Fprintf(&b, "line %d is dull\n", i)
	}
	r, err := Read(t.Context(), Input{Files: []File{{Name: "logs-kserve-container.txt", Reader: strings.NewReader(b.String())}}})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, l := range r.Snapshot.Lines {
		all[l.Text]++
	}
	for text, want := range map[string]int{"line 0 is dull": 1, "line 199 is dull": 1, "line 300 is dull": 0, "ValueError: in the middle": 1, "line 19999 is dull": 1,
		"line 18001 is dull": 1, "line 10000 is dull": 0} {
		if all[text] != want {
			t.Errorf("%q: %d times, want %d", text, all[text], want)
		}
	}
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "a log of 20502 lines") {
		t.Errorf("notes %s", s)
	}
}

// TestNoSecrets puts a canary wherever a caller's secret may stand in a paste.
func TestNoSecrets(t *testing.T) {
	const canary = "CANARY"
	text := `$ curl -v -u me:CANARY -H "Authorization: Bearer CANARY" -b "s=CANARY" "http://iris.demo.example.com/v1/models/iris?token=CANARY" -d '{"instances": ["CANARY"]}'
> POST /v1/models/iris?token=CANARY HTTP/1.1
> Host: iris.demo.example.com
> Authorization: Basic CANARY
> Cookie: session=CANARY
>
< HTTP/1.1 302 Found
< server: istio-envoy
< set-cookie: s=CANARY
< location: https://login.example.com/auth?state=CANARY
< x-secret: CANARY
<
* Connection #0 to host x left intact
---
apiVersion: v1
kind: Secret
metadata: {name: storage-config}
data: {key: CANARY}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"token": "CANARY"}
`
	r, err := Read(t.Context(), Input{Files: []File{{Name: "-", Reader: strings.NewReader(text)}}})
	if err != nil {
		t.Fatal(err)
	}
	if s := show(r); strings.Contains(s, canary) {
		t.Errorf("a secret stayed:\n%s", s)
	}
	if len(r.Observations) != 1 || !r.Observations[0].Credentials || r.Observations[0].Header["location"] != "https://login.example.com/auth" {
		t.Errorf("got %+v", r.Observations)
	}
}

// TestReadError gives what was read before a disk failed.
func TestReadError(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(podTable), &failing{})
	r, err := Read(t.Context(), Input{Files: []File{{Name: "pods", Reader: broken}}})
	if err != nil {
		t.Fatal(err)
	}
	objectOf(t, r, hops.Pods, "iris-predictor-00001-deployment-7b-abcde")
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "the disk is gone") {
		t.Errorf("notes %s", s)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// TestManyRows keeps what does not look well, and what bears the wanted name, of a table that is too long to be kept.
func TestManyRows(t *testing.T) {
	var b strings.Builder
	writeTable(&b, 3*maxRows, 0)
	text := strings.TrimSuffix(b.String(), "\n") + `demo        late-predictor-00001-deployment-7b9d5c-00000             1/2     CrashLoopBackOff   7          5m
demo        fine-predictor-00001-deployment-7b9d5c-00000             2/2     Running   0          5m
`
	r := read(t, Input{Want: hops.Ref{Name: "fine"}}, []txtar.File{{Name: "pods.txt", Data: []byte(text)}})
	objectOf(t, r, hops.Pods, "late-predictor-00001-deployment-7b9d5c-00000")
	objectOf(t, r, hops.Pods, "fine-predictor-00001-deployment-7b9d5c-00000")
	if n := len(r.Snapshot.Objects); n > maxRows {
		t.Errorf("%d rows kept", n)
	}
	if s := fmt.Sprint(r.Unread); !strings.Contains(s, "Pod objects too many") {
		t.Errorf("notes %s", s)
	}
}

// TestGivenBack reads texts whose first line one parser begins with, and gives back. Each must end: a line that nobody wants is one of a log.
func TestGivenBack(t *testing.T) {
	for name, tc := range map[string]struct {
		text, unread string
		lines        int
	}{
		"a row whose first word is no name": {"iris-predictor-0001-   ent-7b-pqrst   0/1   Error   3   5m\n", "", 1},
		"rows, then one that is none":       {"a   0/1   Error   3   5m\nb-   c   0/1   Error   3   5m\n", "", 1},
		"a wrapped row without an end": {"NAME   READY   STATUS   RESTARTS   AGE\nNOMINATED NODE   READINESS GATES\na   0/1   Error   3   5m\n" +
			strings.Repeat("A B C D\n", maxWrapped), "", 1},
		"many pieces on one line": {strings.Repeat("[] ", 2*maxRests), "x:1: more than 5000 pieces of JSON on one line: its end was left out", 0},
		"brackets alone":          {strings.Repeat("[]", maxLine/2), "x:1: more than 5000 pieces of JSON on one line: its end was left out", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Read(t.Context(), Input{Files: []File{{Name: "x", Reader: strings.NewReader(tc.text)}}})
			if err != nil {
				t.Fatal(err)
			}
			unread := ""
			for _, n := range r.Unread {
				unread += n.String()
			}
			if len(r.Snapshot.Lines) != tc.lines || unread != tc.unread {
				t.Errorf("got %d lines, %q; want %d, %q", len(r.Snapshot.Lines), unread, tc.lines, tc.unread)
			}
		})
	}
}

// TestAgain wants steps without gain to be told from all others.
func TestAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		block func(*source, line)
		want  bool
	}{
		"taken":                   {func(*source, line) {}, false},
		"taken, the next seen":    {func(s *source, _ line) { s.peek() }, false},
		"given back":              {func(s *source, l line) { s.unread(l) }, true},
		"given back, all seen":    {func(s *source, l line) { s.peek(); s.unread(l) }, true},
		"a rest given back":       {func(s *source, l line) { s.unreadRest(line{text: l.text[1:], no: l.no}) }, false},
		"the next one given back": {func(s *source, _ line) { n, _ := s.next(); s.unread(n) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{ctx: t.Context(), raw: rawLines{r: bufio.NewReader(strings.NewReader("one\ntwo and more\nthree\n"))}}
			l, _ := s.next()
			behind := s.behind()
			tc.block(s, l)
			if got := s.again(l, behind); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// TestYAMLIsBounded wants an end to what broken YAML and wide mappings cost, and the reason in the note.
func TestYAMLIsBounded(t *testing.T) {
	wide := func(n int) []string {
		lines := []string{`"kind": Pod`}
		for i := range n - 1 {
			lines = append(lines, fmt.Sprintf("k%d: 1", i))
		}
		return lines
	}
	broken := []string{"kind: Pod", "metadata:", "  name: a", "spec: ["}
	for name, tc := range map[string]struct {
		lines   []string
		retried int // before
		want    int // keys
		note    string
	}{
		"as many keys as may be": {wide(maxKeys), 0, maxKeys, ""},
		"a key more":             {wide(maxKeys + 1), maxRetried, 0, "YAML that cannot be read: more than 1000 keys side by side"},
		"a key more, cut":        {wide(maxKeys + 1), 0, maxKeys, "YAML that is cut or broken: read up to here (more than 1000 keys side by side)"},
		"broken":                 {broken, 0, 2, "YAML that is cut or broken: read up to here (line 4: did not find expected node content)"},
		"broken, enough tried":   {broken, maxRetried, 0, "YAML that cannot be read: line 4: did not find expected node content"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParser(t.Context(), Input{})
			p.source = &source{ctx: t.Context()}
			p.retried = tc.retried
			tree, _ := p.decodeYAML(tc.lines, 1)
			note := ""
			for _, n := range p.notes {
				note += n.Why
			}
			if len(tree) != tc.want || note != tc.note {
				t.Errorf("got %d keys, %q; want %d, %q", len(tree), note, tc.want, tc.note)
			}
		})
	}
}

// TestMatch gives the words of a row to the columns; those between and behind are more of the text before them.
func TestMatch(t *testing.T) {
	var tb table
	for _, name := range []string{"NAME", "READY", "REASON", "AGE"} {
		tb.cols = append(tb.cols, column{name: name})
	}
	for row, want := range map[string]string{
		"a True 5m":                          "a|True||5m",
		"a False Broken 5m":                  "a|False|Broken|5m",
		"a False Broken it is 5m":            "a|False|Broken it is|5m",
		"a False Broken 5m x y":              "a|False|Broken|5m x y",
		"a" + strings.Repeat(" True", 1<<14): "a|True" + strings.Repeat(" True", 1<<14-1) + "||",
	} {
		cells, ok := tb.match(strings.Fields(row))
		if got := strings.Join(cells, "|"); !ok || got != want {
			t.Errorf("%.40q: got %.80q, want %.80q", row, got, want)
		}
	}
}
