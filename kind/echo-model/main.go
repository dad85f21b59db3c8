// Command echo-model is a small model server: V1 and V2 health and inference paths, and an answer that shows the headers that reached it.
// The environment decides how it behaves: PORT; SLOW, a duration before each inference; STATUS, the code of inference answers; REDIRECT, an
// address that every request is sent to, which makes it a login wall.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type settings struct {
	port     string
	slow     time.Duration
	status   int
	redirect string
	host     string
}

func main() {
	s, err := read(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("echo-model listens on :" + s.port)
	server := &http.Server{Addr: ":" + s.port, Handler: s, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func read(env func(string) string) (settings, error) {
	s := settings{port: "8080", status: http.StatusOK, redirect: env("REDIRECT"), host: env("HOSTNAME")}
	var err error
	if v := env("PORT"); v != "" {
		s.port = v
	}
	if v := env("SLOW"); v != "" {
		if s.slow, err = time.ParseDuration(v); err != nil {
			return s, fmt.Errorf("SLOW: %w", err)
		}
	}
	if v := env("STATUS"); v != "" {
		if s.status, err = strconv.Atoi(v); err != nil || s.status < 100 || s.status > 599 {
			return s, fmt.Errorf("STATUS: %q is no HTTP status code", v)
		}
	}
	return s, nil
}

func (s settings) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	log.Printf("%s %s host=%s body=%d traceparent=%q", r.Method, r.URL.Path, r.Host, len(body), r.Header.Get("traceparent"))
	path := r.URL.Path
	switch {
	case err != nil:
		reply(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
	case s.redirect != "":
		http.Redirect(w, r, s.redirect, http.StatusFound)
	case path == "/" || path == "/healthz" || r.Method == http.MethodGet && strings.HasPrefix(path, "/v"):
		reply(w, http.StatusOK, map[string]any{"name": "echo", "ready": true})
	case r.Method == http.MethodPost && strings.HasPrefix(path, "/v1/models/") && strings.HasSuffix(path, ":predict"):
		time.Sleep(s.slow)
		reply(w, s.status, map[string]any{"predictions": []int{1}, "seen": s.seen(r)})
	case r.Method == http.MethodPost && strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/infer"):
		time.Sleep(s.slow)
		output := map[string]any{"name": "out", "datatype": "INT64", "shape": []int{1}, "data": []int{1}}
		reply(w, s.status, map[string]any{"outputs": []any{output}, "seen": s.seen(r)})
	default:
		reply(w, http.StatusNotFound, map[string]any{"detail": "Not Found"})
	}
}

func (s settings) seen(r *http.Request) map[string]string {
	seen := map[string]string{"host": r.Host, "pod": s.host}
	for name, values := range r.Header {
		seen[strings.ToLower(name)] = strings.Join(values, ",")
	}
	return seen
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Print(err)
	}
}
