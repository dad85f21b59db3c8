// server.go: the agent's HTTP server: metrics, health, failures.
package tell

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTime     = time.Minute // a capture over a slow line, or a profile of 30 s
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	stopTimeout   = 5 * time.Second
	evidenceMost  = 16 // requests for evidence at one time; health is asked for beside them
	profilesPath  = "/debug/pprof"
)

// ServerOptions are what the server gives. A nil handler is left out.
type ServerOptions struct {
	Metrics  http.Handler // at /metrics, for everybody
	Failures http.Handler // at /failures, for those whom Guard lets through
	Guard    *Guard       // needed for Failures and Profiles
	// Alive says why the agent had better be started again, at /healthz; Ready why it is not at work yet, at /readyz. nil is well.
	Alive, Ready func() error
	// Profiles gives /debug/pprof too, behind Guard: a heap may hold secrets.
	Profiles bool
	Version  string
}

// NewServer makes the server. Serve serves.
func NewServer(o ServerOptions) *Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index(o))
	mux.HandleFunc("GET /healthz", health(o.Alive))
	mux.HandleFunc("GET /readyz", health(o.Ready))
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	if o.Guard != nil && o.Failures != nil {
		guarded := o.Guard.Protect(failuresPath, atMost(evidenceMost, o.Failures))
		mux.Handle(failuresPath, guarded)
		mux.Handle(failuresPath+"/", guarded)
	}
	if o.Guard != nil && o.Profiles {
		profiles(mux, o.Guard)
	}
	return &Server{http: &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTime,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}}
}

// Server is the agent's HTTP server.
type Server struct{ http *http.Server }

// Handler gives what the server serves.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve serves until ctx ends; requests that are under way then get 5 s. The listener is closed.
func (s *Server) Serve(ctx context.Context, on net.Listener) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- s.http.Shutdown(ctx)
	})
	err := s.http.Serve(on)
	if !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("http server on %s: %w", on.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return errors.Join(fmt.Errorf("http server on %s: requests were cut after %s: %w", on.Addr(), stopTimeout, err), s.http.Close())
	}
	return nil
}

// health answers 200 when nothing is wrong, else 503 and what is.
func health(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if check != nil {
			if err := check(); err != nil {
				http.Error(w, clean(err.Error()), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	}
}

// atMost bounds the requests at one time.
func atMost(n int, next http.Handler) http.Handler {
	busy := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at one time; try again", http.StatusServiceUnavailable)
		}
	})
}

// index links to what there is.
func index(o ServerOptions) http.HandlerFunc {
	page := "<!doctype html>\n<title>probe</title>\n<h1>probe agent " + html.EscapeString(o.Version) + "</h1>\n<ul>\n"
	link := func(there bool, path, what string) {
		if there {
			page += fmt.Sprintf("<li><a href=\"%s\">%s</a> %s</li>\n", path, path, what)
		}
	}
	link(o.Metrics != nil, "/metrics", "for Prometheus")
	link(o.Failures != nil && o.Guard != nil, failuresPath, "captures of the last failures, for probe explain")
	link(true, "/healthz", "whether services are being probed")
	link(true, "/readyz", "whether the services are known")
	link(o.Profiles && o.Guard != nil, profilesPath+"/", "profiles of the agent itself")
	page += "</ul>\n"
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page)
	}
}

// profiles adds Go's own.
func profiles(mux *http.ServeMux, g *Guard) {
	for path, h := range map[string]http.HandlerFunc{"/": pprof.Index, "/cmdline": pprof.Cmdline, "/profile": pprof.Profile, "/symbol": pprof.Symbol, "/trace": pprof.Trace} {
		mux.Handle(profilesPath+path, g.Protect(profilesPath, h))
	}
}
