// parts.go: what each part of the data plane answers, as seen on a real cluster with one thing broken at a time.
package inproc

import (
	"fmt"
	"net/http"
	"strings"

	"probe/hops"
)

// entry is the component that the service's own host leads to, and its first weighted revision.
func (p *Plane) entry() (hops.ComponentState, hops.RevisionState) {
	c, _ := p.flow.Component(p.flow.EntryPoint)
	for _, v := range c.Revisions {
		if v.Weight > 0 {
			return c, v
		}
	}
	return c, hops.RevisionState{}
}

func (p *Plane) door(d hops.Door) hops.DoorState {
	for _, s := range p.flow.Doors {
		if s.Door == d {
			return s
		}
	}
	return hops.DoorState{}
}

func (p *Plane) ingressGateway(local string) http.HandlerFunc {
	c, _ := p.entry()
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.faults[GatewayAsksAuth]:
			w.Header().Set("Location", "http://login.example.com/oauth2/start?rd=%2F")
			own(w, http.StatusFound, "")
		case p.faults[NoKServeRoute] || !hostIs(r, p.door(hops.Outside).Host):
			own(w, http.StatusNotFound, "")
		case p.faults[NoLocalGateway]:
			own(w, http.StatusServiceUnavailable, "no healthy upstream")
		default:
			throughEnvoy(w, r, local, c.LocalHost, nil)
		}
	}
}

func (p *Plane) localGateway(activator, queue string) http.HandlerFunc {
	c, v := p.entry()
	return func(w http.ResponseWriter, r *http.Request) {
		own404 := p.faults[NoKnativeRoute] || p.faults[NoKServeRoute] && !hostIs(r, c.LocalHost)
		switch {
		case own404 || !hostIs(r, c.LocalHost, p.door(hops.ClusterLocal).Host):
			own(w, http.StatusNotFound, "")
			return
		case r.Header.Get("K-Network-Hash") == "override": // the probe route of the VirtualService
			r.Header.Set("K-Network-Hash", hash)
		}
		to := queue
		if v.ViaProxy {
			to = activator
		}
		throughEnvoy(w, r, to, c.LocalHost, map[string]string{"Knative-Serving-Namespace": p.flow.Ref.Namespace, "Knative-Serving-Revision": v.Name})
	}
}

// knock answers a probe as knative.dev/networking/pkg/http/probe does.
func knock(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("K-Network-Probe") != "probe" {
		return false
	}
	got := r.Header.Get("K-Network-Hash")
	if got == "" {
		http.Error(w, `a probe request must contain a non-empty "K-Network-Hash" header`, http.StatusBadRequest)
		return true
	}
	w.Header().Set("K-Network-Hash", got)
	return true
}

func (p *Plane) activator(queue string) http.HandlerFunc {
	_, v := p.entry()
	return func(w http.ResponseWriter, r *http.Request) {
		if knock(w, r) {
			return
		}
		if asked := r.Header.Get("Knative-Serving-Revision"); asked != v.Name {
			http.Error(w, fmt.Sprintf("Error getting active endpoint: revision.serving.knative.dev %q not found", asked), http.StatusNotFound)
			return
		}
		forward(queue, "", map[string]string{"K-Proxy-Request": "activator"}, badGateway)(w, r)
	}
}

// badGateway is what Knative's proxies write when they cannot reach what is behind them (knative.dev/pkg/network, ErrorHandler).
func badGateway(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusBadGateway)
}

func (p *Plane) queueProxy(model string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !knock(w, r) {
			forward(model, "", nil, badGateway)(w, r)
		}
	}
}

// model answers as KServe's Python server does.
func (p *Plane) model() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "uvicorn")
		reply(w, r, p.flow.Model, !p.faults[ModelNotLoaded])
	}
}

// reply is the answer of a server that holds one model, or was to hold it.
func reply(w http.ResponseWriter, r *http.Request, name string, loaded bool) {
	w.Header().Set("Content-Type", "application/json")
	asked := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v1/models/"), "/v2/models/")
	model, verb, _ := strings.Cut(strings.NewReplacer("/infer", ":infer", "/ready", ":ready").Replace(asked), ":")
	switch {
	case r.URL.Path == "/v1/models" || r.URL.Path == "/v2/models":
		list := fmt.Sprintf(`[%q]`, name)
		if !loaded {
			list = "[]"
		}
		fmt.Fprintf(w, `{"models":%s}`, list)
	case asked == r.URL.Path:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"Not Found"}`)
	case model != name || !loaded:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"error":"Model with name %s does not exist."}`, model)
	case verb == "predict" && r.Method == http.MethodPost:
		fmt.Fprint(w, `{"predictions":[1,1]}`)
	case verb == "infer" && r.Method == http.MethodPost:
		fmt.Fprintf(w, `{"model_name":%q,"outputs":[]}`, name)
	default:
		fmt.Fprintf(w, `{"name":%q,"ready":true}`, name)
	}
}
