// fetch.go: /failures: what is kept as a list, and each capture as a file that `probe explain` reads.
package tell

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

// failuresPath is where failures are fetched, and the nonResourceURL of the right to.
const failuresPath = "/failures"

// ServeHTTP implements http.Handler:
//
//	GET /failures                    {"failures": [{namespace, name, time, id, state, hop, reason, summary, bytes, href, lastOK}]}, the latest first
//	GET /failures/NAMESPACE/NAME     the latest capture of the service: a tar, gzip'd
//	  ?at=RFC3339                    the latest that is not later; a time in whole seconds takes in all of its second
//	  ?id=TRACE                      the one of a trace, as an Event names it
func (f *Failures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "failures can be read only: use GET", http.StatusMethodNotAllowed)
		return
	}
	rest := strings.TrimPrefix(r.URL.Path, failuresPath)
	if rest == "" || rest == "/" {
		f.serveList(w)
		return
	}
	namespace, name, ok := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		http.Error(w, "ask for /failures or /failures/NAMESPACE/NAME", http.StatusNotFound)
		return
	}
	f.serveOne(w, r, hops.Ref{Namespace: namespace, Name: name})
}

func (f *Failures) serveList(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(map[string]any{"failures": f.List()}) // the caller may have gone
}

func (f *Failures) serveOne(w http.ResponseWriter, r *http.Request, ref hops.Ref) {
	at, err := askedTime(r.URL.Query().Get("at"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, ok := f.find(ref, at, r.URL.Query().Get("id"))
	if !ok {
		http.Error(w, fmt.Sprintf("no such failure of %s is kept; %s lists what is", ref, failuresPath), http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/gzip")
	h.Set("Content-Length", strconv.Itoa(len(found.raw)))
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s-%s.tgz"`, found.Namespace, found.Name, found.Time.Format("20060102T150405Z")))
	h.Set("Last-Modified", found.Time.Format(http.TimeFormat))
	if r.Method == http.MethodGet {
		_, _ = w.Write(found.raw) // the caller may have gone
	}
}

// askedTime reads ?at=. A "+" in a URL that was typed is a space when it arrives.
func askedTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	text = strings.ReplaceAll(text, " ", "+")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("at=%q: not a time; write it as 2006-01-02T15:04:05Z", text)
	}
	if !strings.Contains(text, ".") {
		at = at.Add(time.Second - 1)
	}
	return at, nil
}
