// choices.go: the table of all that can be chosen: names, forms, meanings, and how a value is read.
package settings

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"probe/hops"
)

// choice is one thing that can be chosen.
type choice struct {
	name  string
	form  string // of a value, for the documentation
	means string
	// empty says that an empty value takes a default away.
	empty bool
	// secret says that a wrong value is never shown: somebody may have written the secret itself.
	secret bool
	// set reads a value. Its error says what is right.
	set func(s *Settings, value string) error
	// get gives what is set, in the form of a value; "" for nothing.
	get func(s Settings) string
}

// choices lists them in the order of the documentation.
func choices() []choice {
	out := append(rhythm(), request()...)
	return append(out, answer()...)
}

func rhythm() []choice {
	return []choice{
		{name: "enabled", form: "`true` or `false`", means: "Whether the service is probed.",
			set: func(s *Settings, v string) error { return setBool(&s.Enabled, v) },
			get: func(s Settings) string { return strconv.FormatBool(s.Enabled) }},
		{name: "interval", form: "a time from 1s to 24h, as in `30s`", means: "Between the beginnings of two probes, with a jitter of 5 %.",
			set: func(s *Settings, v string) error { return setTime(&s.Interval, v, minInterval, maxInterval) },
			get: func(s Settings) string { return short(s.Interval) }},
		{name: "timeout", form: "a time from 100ms to 10m", means: "Of one request. Not above the interval, unless the service may be woken; 5m when it may.",
			set: func(s *Settings, v string) error { return setTime(&s.Timeout, v, minTimeout, maxTimeout) },
			get: func(s Settings) string { return short(s.Timeout) }},
		{name: "failures", form: "`N/M`, M at most 20, as in `2/3`", means: "N of the last M probes must agree before the state turns.",
			set: setFailures, get: func(s Settings) string { return fmt.Sprintf("%d/%d", s.N, s.M) }},
		{name: "wake", form: "`true` or `false`", means: "Whether real requests go to a service that may scale to zero. They wake it, and keep it up.",
			set: func(s *Settings, v string) error { return setBool(&s.Wake, v) },
			get: func(s Settings) string { return strconv.FormatBool(s.Wake) }},
	}
}

func request() []choice {
	return []choice{
		{name: "gateway", form: "`outside`, `cluster-local` or `both`", means: "The front doors to ask.", set: setGateway, get: gateway},
		{name: "protocol", form: "`v1`, `v2` or `grpc-v2`", empty: true, means: "What the model server speaks; its runtime says so when nothing is given.",
			set: setProtocol, get: func(s Settings) string { return s.Protocol }},
		{name: "method", form: "as in `POST`", empty: true, means: "Of the request: POST with a sample, else GET, when nothing is given.",
			set: setMethod, get: func(s Settings) string { return s.Method }},
		{name: "path", form: "as in `/v1/models/iris:predict`", empty: true,
			means: "Path and query of the request; of `grpc-v2`, `/SERVICE/METHOD`. The cheapest request of the protocol when nothing is given.",
			set:   setPath, get: func(s Settings) string { return s.Path }},
		{name: "sample", form: "`NAME/KEY` of a ConfigMap", empty: true, means: "The data of the request, at most 1 MiB, from the service's own namespace.",
			set: func(s *Settings, v string) error { return setObject(&s.Sample, v, "ConfigMap") },
			get: func(s Settings) string { return s.Sample.String() }},
		{name: "credentials", form: "`NAME/KEY` of a Secret", empty: true, secret: true,
			means: "The value of the Authorization header, a bare token (sent as Bearer), or a whole line `Name: value`, from the service's own namespace.",
			set:   func(s *Settings, v string) error { return setObject(&s.Credentials, v, "Secret") },
			get:   func(s Settings) string { return s.Credentials.String() }},
	}
}

func answer() []choice {
	return []choice{
		{name: "expect-status", form: "as in `200`, `200,404` or `2xx`", empty: true,
			means: "The statuses of a right answer; 2xx when nothing is given. A 404 or 5xx that the gateway itself wrote is never right.",
			set:   setStatuses, get: func(s Settings) string { return s.ExpectStatus }},
		{name: "expect", form: "a [CEL](https://cel.dev) expression, as in `body.predictions.size() == 1`", empty: true,
			means: "True of a right answer. It may use `status`, `headers` (names in lower case; those that probe keeps, as `content-type`), " +
				"`body` (the JSON, else null), `text` (the body as it came) and `latency` (`latency < duration('500ms')`). What it reads and is not " +
				"there makes it false. One that uses `status` also decides which statuses are right.",
			set: setExpect, get: func(s Settings) string { return s.Expect }},
		{name: "max-latency", form: "a time from 1ms to 10m, not above the timeout", empty: true,
			means: "A warm answer that takes longer makes the service Degraded.", set: setLatency, get: latency},
	}
}

func setBool(to *bool, v string) error {
	switch v {
	case "true", "false":
		*to = v == "true"
		return nil
	}
	return errors.New("give true or false")
}

func setTime(to *time.Duration, v string, least, most time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("give a time with its unit, from %s to %s, as in %s", short(least), short(most), short(min(30*time.Second, most)))
	}
	if d < least || d > most {
		return fmt.Errorf("give a time from %s to %s", short(least), short(most))
	}
	*to = d
	return nil
}

func setFailures(s *Settings, v string) error {
	first, second, _ := strings.Cut(v, "/")
	n, err := strconv.ParseUint(first, 10, 8)
	m, err2 := strconv.ParseUint(second, 10, 8)
	if err != nil || err2 != nil || n < 1 || n > m || m > maxProbes {
		return fmt.Errorf("give N/M, with N at least 1 and M not below N and at most %d, as in 2/3", maxProbes)
	}
	s.N, s.M = int(n), int(m)
	return nil
}

func setGateway(s *Settings, v string) error {
	switch door := hops.Door(v); {
	case v == "both":
		s.Gateway = ""
	case door == hops.Outside || door == hops.ClusterLocal:
		s.Gateway = door
	default:
		return errors.New("give outside, cluster-local or both")
	}
	return nil
}

func gateway(s Settings) string {
	if s.Gateway == "" {
		return "both"
	}
	return string(s.Gateway)
}

func setProtocol(s *Settings, v string) error {
	switch v {
	case "", "v1", "v2", hops.GRPC:
		s.Protocol = v
		return nil
	}
	return errors.New("give v1, v2 or grpc-v2")
}

// methodForm is narrower than a token of RFC 9110: all methods in use are upper-case, and one in lower case is a slip.
var methodForm = regexp.MustCompile(`^[A-Z][A-Z0-9_-]*$`)

func setMethod(s *Settings, v string) error {
	switch {
	case v != "" && (len(v) > maxMethod || !methodForm.MatchString(v)):
		return errors.New("give an HTTP method in upper case, as in POST")
	case v == "CONNECT":
		return errors.New("CONNECT opens a tunnel and asks a model nothing; give GET or POST")
	}
	s.Method = v
	return nil
}

func setPath(s *Settings, v string) error {
	if v == "" {
		s.Path = ""
		return nil
	}
	if !strings.HasPrefix(v, "/") || strings.HasPrefix(v, "//") {
		return errors.New("give a path that begins with one slash; scheme and host are the service's own")
	}
	if len(v) > maxPath {
		return fmt.Errorf("give a path of at most %d bytes", maxPath)
	}
	if strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
		return errors.New("give a path without white space, # or other letters than ASCII; escape them as in a URL")
	}
	if _, err := url.ParseRequestURI(v); err != nil {
		return errors.New("give a path that is escaped as in a URL: each % followed by two hexadecimal digits")
	}
	s.Path = v
	return nil
}

func setObject(to *Object, v, kind string) error {
	if v == "" {
		*to = Object{}
		return nil
	}
	name, key, ok := strings.Cut(v, "/")
	switch {
	case !ok || strings.Contains(key, "/"):
		return fmt.Errorf("give NAME/KEY of a %s in the service's own namespace", kind)
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		return fmt.Errorf("give NAME/KEY; what stands before the slash cannot be the name of a %s", kind)
	case len(validation.IsConfigMapKey(key)) > 0:
		return fmt.Errorf("give NAME/KEY; what stands behind the slash cannot be a key of a %s", kind)
	}
	*to = Object{name, key}
	return nil
}

func setStatuses(s *Settings, v string) error {
	if _, err := statuses(v); err != nil {
		return err
	}
	s.ExpectStatus = v
	return nil
}

func setExpect(s *Settings, v string) error {
	if v != "" {
		if _, err := s.expressions.compile(v); err != nil {
			return err
		}
	}
	s.Expect = v
	return nil
}

func setLatency(s *Settings, v string) error {
	if v == "" {
		s.MaxLatency = 0
		return nil
	}
	return setTime(&s.MaxLatency, v, minLatency, maxTimeout)
}

func latency(s Settings) string {
	if s.MaxLatency == 0 {
		return ""
	}
	return short(s.MaxLatency)
}

// short writes a time as people do: 1m, not 1m0s.
func short(d time.Duration) string {
	out := d.String()
	if strings.HasSuffix(out, "m0s") {
		out = strings.TrimSuffix(out, "0s")
	}
	if strings.HasSuffix(out, "h0m") {
		out = strings.TrimSuffix(out, "0m")
	}
	return out
}
