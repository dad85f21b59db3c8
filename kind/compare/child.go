// child.go: a process that is measured: how it is built, started and ended, and what /proc says of it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// build makes the two binaries in a folder, unless they are given.
func (o *options) build(ctx context.Context, dir string, blackbox bool) error {
	for _, b := range []struct {
		into               *string
		name, from, module string
		wanted             bool
	}{
		{&o.probe, "probe", filepath.Join("..", ".."), "./cmd/probe", true},
		{&o.blackbox, "blackbox_exporter", "blackbox", "github.com/prometheus/blackbox_exporter", blackbox},
	} {
		if !b.wanted || *b.into != "" {
			continue
		}
		fmt.Fprintf(o.quiet, "building %s\n", b.name)
		*b.into = filepath.Join(dir, b.name)
		cmd := exec.CommandContext(ctx, "go", "build", "-C", b.from, "-o", *b.into, b.module)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s; start this with `go run -C kind/compare .`", b.name, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// child is a process on one core.
type child struct {
	name string
	cmd  *exec.Cmd
	said *tail
	done chan struct{}
	err  error // after done
}

// start starts it with GOMAXPROCS=1.
func start(name, binary string, env []string, args ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(binary, args...), said: &tail{}, done: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), env...)
	c.cmd.Stdout, c.cmd.Stderr = io.Discard, c.said
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// alive says why the process is no longer there.
func (c *child) alive() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s ended early: %v: %s", c.name, c.err, c.said)
	default:
		return nil
	}
}

// stop ends the process, by force when it takes too long.
func (c *child) stop() {
	c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	select {
	case <-c.done:
	case <-time.After(15 * time.Second):
		c.cmd.Process.Kill()
		<-c.done
	}
}

// usage is what a process has used.
type usage struct {
	CPU       time.Duration
	RSS, Peak int64 // bytes; Peak is the most that RSS ever was
}

// usage reads /proc, so this needs Linux.
func (c *child) usage() (u usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", c.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, fmt.Errorf("%s: %w; this needs Linux", c.name, err)
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, fmt.Errorf("%s: %w; this needs Linux", c.name, err)
	}
	return parseUsage(string(stat), string(status))
}

// parseUsage reads the two files as proc(5) describes them: behind the name in brackets, utime and stime are fields 14 and 15, in hundredths of a
// second.
func parseUsage(stat, status string) (u usage, err error) {
	_, rest, _ := strings.Cut(stat[max(0, strings.LastIndex(stat, ")")):], " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("not a line of /proc/PID/stat: %q", stat)
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("not a line of /proc/PID/stat: %w", err)
		}
		u.CPU += time.Duration(ticks) * 10 * time.Millisecond
	}
	for line := range strings.Lines(status) {
		into := map[string]*int64{"VmRSS": &u.RSS, "VmHWM": &u.Peak}[line[:max(0, strings.IndexByte(line, ':'))]]
		if f := strings.Fields(line); into != nil && len(f) == 3 {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return u, fmt.Errorf("not a line of /proc/PID/status: %w", err)
			}
			*into = kib << 10
		}
	}
	return u, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if len(t.end) > 4096 {
		t.end = append([]byte(nil), t.end[len(t.end)-2048:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.end))
}
