// logs.go: logs as files.
package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

// maxLogBytes bounds what is written of all logs of a capture: a recording stays under 400 KB. maxLine bounds one line.
const (
	maxLogBytes = 160 << 10
	maxLine     = 16 << 10
)

// writtenLog is one log on its way to a file.
type writtenLog struct {
	logFile
	lines []hops.Line
}

// logsOf sorts lines into logs, in the order in which the logs first appear. budget is in bytes, for all of them.
func logsOf(lines []hops.Line, budget int) []*writtenLog {
	var out []*writtenLog
	at := map[logFile]*writtenLog{}
	taken := map[string]bool{}
	for _, l := range lines {
		id := logFile{Source: l.Source, Namespace: l.Namespace, Pod: l.Pod, Container: l.Container, Previous: l.Previous}
		w := at[id]
		if w == nil {
			w = &writtenLog{logFile: id}
			w.File = logPath(id, taken)
			at[id] = w
			out = append(out, w)
		}
		w.Timestamps = w.Timestamps || !l.Time.IsZero()
		w.lines = append(w.lines, l)
	}
	return shorten(out, budget)
}

// logPath names a log's file; two pods of one name in two namespaces get two.
func logPath(id logFile, taken map[string]bool) string {
	pod, container := fileName(id.Pod), fileName(id.Container)
	if id.Container == "" {
		container = fileName(string(id.Source))
	}
	if id.Previous {
		container += ".previous"
	}
	p := path.Join(logsDir, pod, container+".log")
	for n := 2; taken[strings.ToLower(p)]; n++ { // some file systems fold case
		p = path.Join(logsDir, pod, container+"~"+strconv.Itoa(n)+".log")
	}
	taken[strings.ToLower(p)] = true
	return p
}

// fileName makes one path element of a name that may come from a paste.
func fileName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, name)
	if strings.Trim(safe, ".") == "" {
		return "_" + safe
	}
	return safe[:min(len(safe), 200)]
}

// shorten cuts the middle out of long logs until all of them fit.
func shorten(logs []*writtenLog, budget int) []*writtenLog {
	for _, keep := range [...]keeper{{}, {first: 200, last: 2000, telling: 200}, {first: 100, last: 500, telling: 100}, {first: 50, last: 200, telling: 50},
		{first: 20, last: 60, telling: 20}, {first: 5, last: 20, telling: 5}} {
		total := 0
		for _, w := range logs {
			if keep.last > 0 && len(w.lines) > keep.first+keep.last {
				k := keep
				number(w.lines)
				for _, l := range w.lines {
					k.add(l)
				}
				w.lines = k.lines()
			}
			for _, l := range w.lines {
				total += len(l.Text) + 32
			}
		}
		if total <= budget {
			break
		}
	}
	return logs
}

// number gives numbers to lines that have none, so that a cut shows.
func number(lines []hops.Line) {
	last := 0
	for i := range lines {
		lines[i].Number = max(lines[i].Number, last+1)
		last = lines[i].Number
	}
}

// text is the content of a log's file.
func (w *writtenLog) text() []byte {
	var b bytes.Buffer
	last := 0
	for _, l := range w.lines {
		if n := l.Number; n > last+1 {
			b.WriteString(leftOut(n-last-1) + "\n")
			last = n - 1
		}
		last++
		if w.Timestamps {
			b.WriteString(l.Time.UTC().Format(time.RFC3339Nano) + " ")
		}
		text := strings.NewReplacer("\r", "", "\n", `\n`).Replace(l.Text)
		if len(text) > maxLine {
			text = strings.ToValidUTF8(text[:maxLine], "") + "…"
		}
		b.WriteString(text + "\n")
	}
	return b.Bytes()
}

// readLog reads a log of any length: its beginning, its end and what looks telling between. cut says that lines were left out.
func readLog(r io.Reader) (lines []hops.Line, cut bool, err error) {
	k := keeper{first: 200, last: 2000, telling: 500}
	in := bufio.NewReaderSize(r, maxLine)
	n, read := 0, 0
	for {
		text, err := readLine(in)
		if err != nil && text == "" {
			out := k.lines()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return out, len(out) < read, err
		}
		if skipped, ok := wasLeftOut(text); ok {
			n += skipped
			continue
		}
		n++
		read++
		k.add(hops.Line{Text: text, Number: n})
	}
}

// readLine reads one line and drops what is beyond maxLine.
func readLine(in *bufio.Reader) (string, error) {
	raw, err := in.ReadSlice('\n')
	text := string(bytes.ToValidUTF8(bytes.TrimRight(raw, "\r\n"), []byte("\uFFFD")))
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	return text, err
}

// takeTimes moves the time at the beginning of each line into Line.Time. Without word from capture.yaml that is done only when nearly every line
// begins with one: a program's own time stamps stay in the text.
func takeTimes(lines []hops.Line, listed, stamped bool) {
	if !listed {
		with := 0
		for _, l := range lines {
			if _, _, ok := stamp(l.Text); ok {
				with++
			}
		}
		stamped = with > 0 && with*10 >= len(lines)*9
	}
	if !stamped {
		return
	}
	for i := range lines {
		if at, rest, ok := stamp(lines[i].Text); ok {
			lines[i].Time, lines[i].Text = at, rest
		}
	}
}

// stamp reads the prefix that `kubectl logs --timestamps` prints: RFC 3339 with nanoseconds and one space.
func stamp(text string) (at time.Time, rest string, ok bool) {
	if len(text) < len("2006-01-02T15:04:05Z") || text[4] != '-' || text[10] != 'T' {
		return time.Time{}, text, false
	}
	first, rest, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, first)
	if err != nil {
		return time.Time{}, text, false
	}
	if at.IsZero() {
		return time.Time{}, rest, true
	}
	return at.UTC(), rest, true
}

// logOf tells by its path which log a file holds: logs/POD/CONTAINER[.previous].log, logs/previous/CONTAINER.log, logs/CONTAINER.log.
func logOf(file string, pods map[string]podNames) (logFile, error) {
	parts := strings.Split(strings.TrimPrefix(file, logsDir+"/"), "/")
	name, ok := strings.CutSuffix(parts[len(parts)-1], ".log")
	if !ok || name == "" || len(parts) > 2 {
		return logFile{}, fmt.Errorf("%s: not a log: the layout has %s/POD/CONTAINER.log", file, logsDir)
	}
	l := logFile{File: file, Source: hops.ContainerLogs}
	l.Container, l.Previous = strings.CutSuffix(name, ".previous")
	if len(parts) == 2 && parts[0] != "previous" {
		l.Pod = parts[0]
	} else {
		l.Previous = l.Previous || len(parts) == 2
		l.Pod = onlyPodWith(l.Container, pods)
	}
	l.Namespace = pods[l.Pod].namespace
	l.Source = sourceOfLog(l)
	return l, nil
}

// sourceOfLog tells the logs of gateways and of the system's own pods by the names that Istio, Knative and KServe give them.
func sourceOfLog(l logFile) hops.Source {
	if l.Container == "istio-proxy" && strings.Contains(l.Pod, "gateway") {
		return hops.AccessLogs
	}
	for _, p := range []string{"activator-", "autoscaler-", "controller-", "webhook-", "net-istio-", "kserve-controller-manager-", "istiod-"} {
		if strings.HasPrefix(l.Pod, p) {
			return hops.SystemLogs
		}
	}
	return hops.ContainerLogs
}

// podNames is what the objects tell about a pod.
type podNames struct {
	namespace  string
	containers []string
}

// onlyPodWith is the pod that a log without a pod's name must be from: the only one with such a container; "" when there are several.
func onlyPodWith(container string, pods map[string]podNames) string {
	found := ""
	for name, p := range pods {
		for _, c := range p.containers {
			if c != container {
				continue
			}
			if found != "" {
				return ""
			}
			found = name
		}
	}
	return found
}
