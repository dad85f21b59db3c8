// Package settings holds what is chosen for one InferenceService by its annotations, by a file and by flags: how often and with what it is asked,
// and what answer is right. It reads the ConfigMaps and Secrets that the choices name.
//
// settings.go: the choices of one service, and those of a service that nobody chose anything for.
package settings

import (
	"time"

	"probe/hops"
)

// Prefix begins the names of the annotations. Parse takes the names without it.
const Prefix = "probe/"

// What may be chosen, ends included.
const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
	minTimeout  = 100 * time.Millisecond
	maxTimeout  = 10 * time.Minute
	minLatency  = time.Millisecond
	maxProbes   = 20 // m of n of m
	maxPath     = 2048
	maxMethod   = 32
	maxStatuses = 200  // bytes of a list of statuses
	maxExpect   = 2048 // bytes of an expression
)

const (
	// usualTimeout is long for a warm answer and shorter than the usual interval.
	usualTimeout = 10 * time.Second
	// wakeTimeout is how long a request may take that starts a model, as in probe.Options.
	wakeTimeout = 5 * time.Minute
)

// Object is one key of a ConfigMap or Secret in the service's own namespace. The zero value is none.
type Object struct{ Name, Key string }

// String gives NAME/KEY, "" for none.
func (o Object) String() string {
	if o == (Object{}) {
		return ""
	}
	return o.Name + "/" + o.Key
}

// Settings are the choices for one service. Two are equal (==) when the same was chosen. They begin as Defaults, which all that come of it share
// the compiled expressions of.
type Settings struct {
	Interval time.Duration // between the beginnings of two probes
	Timeout  time.Duration // of one request
	Gateway  hops.Door     // the one front door that is asked; both when empty
	Method   string        // of the request; by its data when empty
	Path     string        // and query; by protocol and model when empty. Of grpc-v2 /SERVICE/METHOD
	Protocol string        // v1, v2 or grpc-v2; the service's own when empty
	// Sample is a key of a ConfigMap: the data of the request.
	Sample Object
	// Credentials is a key of a Secret: the value of Authorization, or a header line.
	Credentials  Object
	ExpectStatus string        // statuses of a right answer, as in "200,404" or "2xx"; 2xx when empty
	Expect       string        // CEL expression that is true of a right answer
	MaxLatency   time.Duration // a longer answer is too slow; 0 is no bound
	N, M         int           // N of the last M probes must agree before a state turns
	Wake         bool          // real requests go also to a service at zero
	Enabled      bool          // it is probed at all

	expressions *expressions
}

// Doors are the front doors to ask, in the form of probe.Options: none is both.
func (s Settings) Doors() []hops.Door {
	if s.Gateway == "" {
		return nil
	}
	return []hops.Door{s.Gateway}
}

// Defaults are the settings of a service whose annotations say nothing, where neither a file nor a flag does.
func Defaults() Settings {
	return Settings{Interval: time.Minute, Timeout: usualTimeout, N: 2, M: 2, Enabled: true, expressions: newExpressions()}
}
