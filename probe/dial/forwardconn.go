// forwardconn.go: a pair of streams to a pod's port as a net.Conn.
package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"

	"probe/hops"
)

// grace is how long the end of one stream waits for the end of the other: their frames are handled by different workers on either side.
const grace = time.Second

// calm is how many bytes a connection may have sent for its tunnel to be used again: so many fit into the socket's buffers at the pod's end, and
// leave no frame unread in the tunnel.
const calm = 64 << 10

// podConn is one connection to a port on a pod's loopback. Deadlines are those of the pipe that the caller holds one end of.
type podConn struct {
	net.Conn // the caller's end
	far      net.Conn
	owner    *PortForward
	tunnel   httpstream.Connection
	data     httpstream.Stream
	errs     httpstream.Stream
	at       hops.Target

	told    chan struct{} // closed when the error stream has ended
	failure error         // what it said; set before told is closed
	ended   atomic.Bool   // the pod's end is over
	broke   atomic.Bool   // the tunnel ended under the connection
	once    sync.Once
	done    chan struct{} // closed when the tunnel is free again or closed
}

// openStreams opens the streams of one connection (k8s.io/client-go/tools/portforward, handleConnection). A tunnel in which that fails is
// closed. CreateStream knows no context and does not see a tunnel end.
func (p *PortForward) openStreams(ctx context.Context, tunnel httpstream.Connection, at hops.Target) (net.Conn, error) {
	type result struct {
		conn *podConn
		err  error
	}
	out := make(chan result, 1)
	go func() {
		conn, err := p.newStreams(tunnel, at)
		out <- result{conn, err}
	}()
	var err error
	select {
	case r := <-out:
		if r.err == nil {
			r.conn.start()
			return r.conn, nil
		}
		err = r.err
	case <-tunnel.CloseChan():
		err = errors.New("the tunnel broke off")
	case <-p.life.Done():
		err = p.life.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	tunnel.Close()
	return nil, fmt.Errorf("the API server has not opened streams: %w", err)
}

// newStreams opens the pair; the request id joins the two at the other end.
func (p *PortForward) newStreams(tunnel httpstream.Connection, at hops.Target) (*podConn, error) {
	id := strconv.FormatInt(p.pairs.Add(1), 10)
	header := func(kind string) http.Header {
		h := http.Header{}
		h.Set(corev1.StreamType, kind)
		h.Set(corev1.PortHeader, strconv.Itoa(at.Port))
		h.Set(corev1.PortForwardRequestIDHeader, id)
		return h
	}
	errs, err := tunnel.CreateStream(header(corev1.StreamTypeError))
	if err != nil {
		return nil, err
	}
	data, err := tunnel.CreateStream(header(corev1.StreamTypeData))
	if err != nil {
		return nil, err
	}
	c := &podConn{owner: p, tunnel: tunnel, data: data, errs: errs, at: at, told: make(chan struct{}), done: make(chan struct{})}
	c.Conn, c.far = net.Pipe()
	return c, nil
}

func (c *podConn) start() {
	stop := context.AfterFunc(c.owner.life, func() { c.finish(false) })
	go c.watch()
	go c.down()
	go func() {
		defer stop()
		c.up()
	}()
}

// watch reads the error stream, which the other end closes when the connection is over.
func (c *podConn) watch() {
	text, _ := io.ReadAll(io.LimitReader(c.errs, 8<<10)) // a read error is a tunnel that ended, and over sees to that
	if len(text) > 0 {
		c.failure = c.explain(string(text))
	}
	close(c.told)
	if len(text) > 0 {
		time.AfterFunc(grace, func() { _ = c.data.Reset() }) // in case the other end forgets to close the data stream
	}
}

// down carries what the pod sends. What the error stream says is known before the caller sees the end.
func (c *podConn) down() {
	_, _ = io.Copy(c.far, c.data) // either end being gone ends it, and the caller learns from its own end
	c.broke.Store(isClosed(c.tunnel))
	select {
	case <-c.told:
	case <-time.After(grace):
	}
	c.ended.Store(true)
	c.far.Close()
}

// up carries what the caller sends, until either end is gone. The tunnel can be used again when the caller was first, the pod's end had nothing
// to complain of and surely has read all.
func (c *podConn) up() {
	sent, err := io.Copy(c.data, c.far)
	c.finish(err == nil && !c.ended.Load() && sent <= calm)
}

func (c *podConn) finish(well bool) {
	c.once.Do(func() {
		defer close(c.done)
		_ = c.data.Reset()
		_ = c.errs.Reset()
		c.tunnel.RemoveStreams(c.data, c.errs)
		c.far.Close()
		if <-c.told; well && c.failure == nil && !isClosed(c.tunnel) {
			c.owner.put(podName{c.at.Namespace, c.at.Name}, c.tunnel)
			return
		}
		c.tunnel.Close()
	})
}

func (c *podConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.over(err)
}

func (c *podConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.over(err)
}

// over replaces the end of the pipe by its reason.
func (c *podConn) over(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.told:
		if c.failure != nil {
			return c.failure
		}
	default:
	}
	if c.broke.Load() {
		return &VantageError{Vantage: hops.PortForward, Target: c.at, Err: errors.New("the tunnel through the API server broke off")}
	}
	return err
}

// Close ends the connection and waits until its tunnel is free, so that who dials next finds it; not for long, as the API server may have hung.
func (c *podConn) Close() error {
	err := c.Conn.Close()
	select {
	case <-c.done:
	case <-time.After(grace):
	}
	return err
}

// RemoteAddr names the pod; what is dialled in it is its loopback.
func (c *podConn) RemoteAddr() net.Addr { return podAddr(c.at) }

// Place implements Placed.
func (c *podConn) Place() Place { return Place{Target: c.at} }

type podAddr hops.Target

func (podAddr) Network() string  { return "port-forward" }
func (a podAddr) String() string { return fmt.Sprintf("%s/%s:%d", a.Namespace, a.Name, a.Port) }

// forwardError is a failure that the pod's side reported.
type forwardError struct {
	text string
	is   error
}

func (e *forwardError) Error() string { return e.text }
func (e *forwardError) Unwrap() error { return e.is }

// explain reads the text of an error stream. A container runtime dials the port in the pod's network namespace and reports in words, such as
// "failed to connect to localhost:81 inside namespace ...: dial tcp4 127.0.0.1:81: connect: connection refused" (containerd,
// internal/cri/server/sandbox_portforward_linux.go). All else is a fault of the way.
func (c *podConn) explain(text string) error {
	if _, cut, ok := strings.Cut(text, "failed to connect to "); ok { // what stands before are ids of the sandbox
		text = "failed to connect to " + cut
	}
	text = fmt.Sprintf("port %d of pod %s/%s: %s", c.at.Port, c.at.Namespace, c.at.Name, strings.TrimSpace(clip(text, 512)))
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "connection refused"):
		return &forwardError{text: text, is: syscall.ECONNREFUSED}
	case strings.Contains(lower, "connection reset by peer"), strings.Contains(lower, "broken pipe"):
		return &forwardError{text: text, is: syscall.ECONNRESET}
	}
	return &VantageError{Vantage: hops.PortForward, Target: c.at, Err: errors.New(text)}
}
