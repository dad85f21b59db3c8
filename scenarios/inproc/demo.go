// demo.go: the services that the demo plays: recorded on a real cluster, embedded in the binary.
package inproc

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"time"

	"probe/hops"
	"probe/probe/capture"
)

//go:embed recorded
var recorded embed.FS

// Demo is one recorded service and what a probe of it must say.
type Demo struct {
	Name   string
	Title  string
	Ref    hops.Ref
	Faults []Fault
	State  hops.State
	ID     string // of the first finding
}

// Demos lists them in the order in which they are shown.
func Demos() []Demo {
	return []Demo{
		{Name: "healthy", Title: "a service that works", Ref: hops.Ref{Namespace: "demo", Name: "sklearn-iris"}, State: hops.OK},
		{Name: "broken", Title: "the same model, trained with a library that its runtime does not have", Ref: hops.Ref{Namespace: "demo", Name: "fraud"},
			Faults: []Fault{NoKServeRoute, NoKnativeRoute, ContainerDown}, State: hops.Failed, ID: "container-crash-loop"},
	}
}

// Cluster is a service played in this process.
type Cluster struct {
	API   *API
	Plane *Plane
}

// Start plays the demo's service. Close it.
func (d Demo) Start() (*Cluster, error) {
	run, err := d.load()
	if err != nil {
		return nil, err
	}
	return Start(&run, d.Faults...)
}

// Start plays the service of a recorded run, its clocks moved so that the recording was taken now.
func Start(run *hops.Run, faults ...Fault) (*Cluster, error) {
	s := hops.Join(run.Snapshots)
	rejuvenate(&s, time.Since(s.Time))
	flow := hops.Resolve(&s, run.Ref)
	plane, err := NewPlane(&flow, faults...)
	if err != nil {
		return nil, err
	}
	api, err := NewAPI(&s)
	if err != nil {
		plane.Close()
		return nil, err
	}
	return &Cluster{API: api, Plane: plane}, nil
}

// Close stops it.
func (c *Cluster) Close() {
	c.API.Close()
	c.Plane.Close()
}

// load unpacks the embedded capture for the one reader of captures.
func (d Demo) load() (hops.Run, error) {
	dir, err := os.MkdirTemp("", "probe-demo-")
	if err != nil {
		return hops.Run{}, fmt.Errorf("recording %s: %w", d.Name, err)
	}
	defer os.RemoveAll(dir)
	sub, err := fs.Sub(recorded, "recorded/"+d.Name)
	if err != nil {
		return hops.Run{}, fmt.Errorf("recording %s: %w", d.Name, err)
	}
	if err := os.CopyFS(dir, sub); err != nil {
		return hops.Run{}, fmt.Errorf("recording %s: %w", d.Name, err)
	}
	run, _, err := capture.Load(dir)
	return run, err
}

// rejuvenate moves every time stamp of the snapshot by d, so that ages are what they were when it was taken.
func rejuvenate(s *hops.Snapshot, d time.Duration) {
	for i := range s.Objects {
		move(s.Objects[i].Tree, d)
	}
	for i := range s.Events {
		e := &s.Events[i]
		e.First, e.Last = shift(e.First, d), shift(e.Last, d)
	}
	for i := range s.Lines {
		s.Lines[i].Time = shift(s.Lines[i].Time, d)
	}
	s.Time = s.Time.Add(d)
}

func shift(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(d)
}

// move walks a tree and moves what reads as an RFC 3339 time.
func move(v any, d time.Duration) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = move(v[k], d)
		}
	case []any:
		for i := range v {
			v[i] = move(v[i], d)
		}
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.Add(d).UTC().Format(time.RFC3339)
		}
	}
	return v
}
