// fleet.go: many services behind the same gateways: copies of recorded ones, for sweeps and load.
package inproc

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// Fleet is several services played in this process.
type Fleet struct {
	API    *API
	planes []*Plane
	hosts  map[string]*Plane // by every host of theirs, and by "namespace/revision"
	gates  *Plane            // serves the parts that all share, and knows no service itself
	at     map[string]string // target -> loopback address
}

// Copy gives the demo's service another name and namespace, everywhere, and another uid.
func (d Demo) Copy(ref hops.Ref) (hops.Run, error) {
	run, err := d.load()
	if err != nil {
		return run, err
	}
	raw, err := json.Marshal(run)
	if err != nil {
		return run, fmt.Errorf("copy %s: %w", d.Ref, err)
	}
	joined := hops.Join(run.Snapshots)
	raw = []byte(parse(gapped(string(raw), d.Ref, uidIn(&joined))).of(ref))
	var out hops.Run
	if err := json.Unmarshal(raw, &out); err != nil {
		return run, fmt.Errorf("copy %s: %w", d.Ref, err)
	}
	return out, nil
}

// Member is one service of a fleet.
type Member struct {
	Run    hops.Run
	Faults []Fault
}

// StartFleet plays the services, their clocks moved so that the recordings were taken now. Close it.
func StartFleet(members []Member) (*Fleet, error) {
	f := &Fleet{hosts: map[string]*Plane{}, at: map[string]string{}, gates: &Plane{parts: map[string]http.Handler{}, counts: map[string]int{}}}
	shared := map[hops.Hop]string{}
	for _, h := range []hops.Hop{hops.IngressGateway, hops.LocalGateway, hops.Activator} {
		shared[h] = f.gates.serve(string(h), f.gate(string(h)))
	}
	var all []hops.Snapshot
	for i := range members {
		s := hops.Join(members[i].Run.Snapshots)
		rejuvenate(&s, time.Since(s.Time))
		all = append(all, s)
		if err := f.add(&s, members[i], shared); err != nil {
			f.Close()
			return nil, err
		}
	}
	joined := hops.Join(all)
	var err error
	if f.API, err = NewAPI(&joined); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// add plays one service.
func (f *Fleet) add(s *hops.Snapshot, m Member, shared map[hops.Hop]string) error {
	flow := hops.Resolve(s, m.Run.Ref)
	p, err := NewPlane(&flow, m.Faults...)
	if err != nil {
		return err
	}
	f.planes = append(f.planes, p)
	for _, d := range flow.Doors {
		f.hosts[d.Host] = p
	}
	for _, c := range flow.Components {
		f.hosts[c.Host], f.hosts[c.LocalHost] = p, p
		for _, v := range c.Revisions {
			f.hosts[flow.Ref.Namespace+"/"+v.Name] = p
		}
	}
	for target, address := range p.at {
		f.at[target] = address
	}
	for _, e := range flow.Entries {
		if address := shared[e.Step.Hop]; address != "" {
			f.at[e.Target.String()] = address
		}
	}
	return nil
}

// gate leads to the same part of the service that a request is for.
func (f *Fleet) gate(part string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, found := strings.Cut(r.Host, ":")
		if !found {
			host = r.Host
		}
		p := f.hosts[host]
		if revision := r.Header.Get("Knative-Serving-Revision"); revision != "" {
			p = f.hosts[r.Header.Get("Knative-Serving-Namespace")+"/"+revision]
		}
		if p == nil || p.parts[part] == nil {
			own(w, http.StatusNotFound, "")
			return
		}
		p.parts[part].ServeHTTP(w, r)
	}
}

// Plane is the data plane of the i-th service.
func (f *Fleet) Plane(i int) *Plane { return f.planes[i] }

// Dial implements dial.Dialer.
func (f *Fleet) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	address, ok := f.at[t.String()]
	if !ok {
		return nil, "", &dial.VantageError{Vantage: hops.InPod, Target: t, Err: fmt.Errorf("the in-process data plane has no %s", t)}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	return conn, hops.InPod, err
}

// Close stops all.
func (f *Fleet) Close() {
	f.gates.Close()
	for _, p := range f.planes {
		p.Close()
	}
	if f.API != nil {
		f.API.Close()
	}
}
