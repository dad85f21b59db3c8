// Package capture writes a Run to a directory and reads it back. One layout serves --save, explain, recorded scenarios and tests:
//
//	capture.yaml                                  schema version, service, times, what was read in full, gaps, redactions, flow
//	snapshots/N/objects/SOURCE[.partial].json     a List of the objects of one source
//	snapshots/N/events/events.json                a List of events
//	snapshots/N/logs/POD/CONTAINER[.previous].log
//	observations.json, spans.json                 in the form of package hops
//
// The objects/, events/ and logs/ of a single snapshot may lie at the top, and capture.yaml may be missing: such a folder proves no absence.
//
// capture.go: capture.yaml and the names in the layout.
package capture

import (
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"probe/hops"
)

// SchemaVersion is that of the layout; it grows only when a reader of the old one would misread the new.
const SchemaVersion = "probe/capture/v1"

const (
	manifestFile     = "capture.yaml"
	snapshotsDir     = "snapshots"
	objectsDir       = "objects"
	eventsDir        = "events"
	logsDir          = "logs"
	observationsFile = "observations.json"
	spansFile        = "spans.json"
)

// manifest is capture.yaml.
type manifest struct {
	SchemaVersion string    `json:"schemaVersion"`
	Service       hops.Ref  `json:"service"`
	Started       time.Time `json:"started"`
	Ended         time.Time `json:"ended"`
	TraceID       string    `json:"traceId,omitempty"`
	SpanID        string    `json:"spanId,omitempty"`
	Reads         int       `json:"reads,omitempty"`
	ReadTook      string    `json:"readTook,omitempty"` // as time.Duration prints it
	Snapshots     []part    `json:"snapshots,omitempty"`
	Redactions    []string  `json:"redactions,omitempty"`
	Warnings      []string  `json:"warnings,omitempty"`
	Flow          hops.Flow `json:"flow"`
}

// part is what the files of one snapshot do not tell.
type part struct {
	Time time.Time     `json:"time"`
	Full []hops.Source `json:"full,omitempty"`
	Gaps []hops.Gap    `json:"gaps,omitempty"`
	Logs []logFile     `json:"logs,omitempty"`
}

// logFile says which log a file holds; a file that is not listed is told by its path.
type logFile struct {
	File       string      `json:"file"` // below the snapshot, with slashes
	Source     hops.Source `json:"source"`
	Namespace  string      `json:"namespace,omitempty"`
	Pod        string      `json:"pod,omitempty"`
	Container  string      `json:"container,omitempty"`
	Previous   bool        `json:"previous,omitempty"`
	Timestamps bool        `json:"timestamps,omitempty"` // each line begins with its time, as `kubectl logs --timestamps` prints it
}

// parseManifest reads capture.yaml.
func parseManifest(raw []byte) (manifest, error) {
	var m manifest
	if err := yaml.Unmarshal(raw, &m); err != nil {
		return manifest{}, fmt.Errorf("%s: cannot be read: %w", manifestFile, err)
	}
	if m.SchemaVersion != SchemaVersion {
		return manifest{}, fmt.Errorf("%s: schema version %q is not %q; read it with the version of probe that wrote it", manifestFile, m.SchemaVersion, SchemaVersion)
	}
	if m.ReadTook != "" {
		if _, err := time.ParseDuration(m.ReadTook); err != nil {
			return manifest{}, fmt.Errorf("%s: readTook: %w", manifestFile, err)
		}
	}
	return m, nil
}

// run starts a Run with what capture.yaml tells.
func (m manifest) run() hops.Run {
	took, _ := time.ParseDuration(m.ReadTook) // parseManifest has seen it; 0 when there is none
	return hops.Run{Ref: m.Service, Started: m.Started, Ended: m.Ended, TraceID: m.TraceID, SpanID: m.SpanID, Flow: m.Flow, Reads: m.Reads,
		ReadTook: took, Warnings: m.Warnings}
}

// AmbiguousError says that a folder holds several InferenceServices and nothing says which one is meant.
type AmbiguousError struct {
	Dir      string
	Services []hops.Ref
}

func (e *AmbiguousError) Error() string {
	names := make([]string, len(e.Services))
	for i, s := range e.Services {
		names[i] = s.String()
	}
	return fmt.Sprintf("%s holds %d InferenceServices (%s): say which one with --isvc NAME", e.Dir, len(names), strings.Join(names, ", "))
}

// NotCaptureError says that a folder has none of the parts of the layout. It may still be readable as a paste.
type NotCaptureError struct {
	Dir string
	// Within are folders inside that are captures.
	Within []string
}

func (e *NotCaptureError) Error() string {
	if len(e.Within) > 0 {
		return fmt.Sprintf("%s is not a capture, but holds some: give one of %s", e.Dir, strings.Join(e.Within, ", "))
	}
	return fmt.Sprintf("%s is not a capture: it has none of %s, %s/, %s/, %s/, %s/", e.Dir, manifestFile, snapshotsDir, objectsDir, eventsDir, logsDir)
}
