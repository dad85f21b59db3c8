package settings

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"probe/hops"
)

const allNames = "there are enabled, interval, timeout, failures, wake, gateway, protocol, method, path, sample, credentials, expect-status, expect, max-latency"

func TestParse(t *testing.T) {
	base := Defaults()
	for _, c := range []struct {
		name string
		in   map[string]string
		want func(*Settings)
		says []string
	}{
		{name: "nothing"},
		{name: "all", in: map[string]string{"enabled": "false", "interval": "30s", "timeout": "20s", "failures": "3/5", "wake": "false",
			"gateway": "cluster-local", "protocol": "v2", "method": "POST", "path": "/v2/models/iris/infer?x=1", "sample": "iris-sample/input.json",
			"credentials":   "iris/token",
			"expect-status": "200, 404", "expect": "body.n == 1", "max-latency": "1.5s"},
			want: func(s *Settings) {
				*s = Settings{Interval: 30 * time.Second, Timeout: 20 * time.Second, Gateway: hops.ClusterLocal, Method: "POST",
					Path: "/v2/models/iris/infer?x=1", Protocol: "v2", Sample: Object{"iris-sample", "input.json"},
					Credentials: Object{"iris", "token"}, ExpectStatus: "200, 404",
					Expect: "body.n == 1", MaxLatency: 1500 * time.Millisecond, N: 3, M: 5, expressions: s.expressions}
			}},
		{name: "a bad one hurts nothing else", in: map[string]string{"interval": "5", "path": "/x"}, want: func(s *Settings) { s.Path = "/x" },
			says: []string{`probe/interval "5": give a time with its unit, from 1s to 24h, as in 30s; 1m is used`}},
		{name: "white space around", in: map[string]string{"interval": " 30s\n"}, want: func(s *Settings) { s.Interval = 30 * time.Second }},
		{name: "unknown", in: map[string]string{"intervall": "5s"}, says: []string{"probe/intervall: there is no such setting; the nearest is interval"}},
		{name: "unknown, with a value that is not shown", in: map[string]string{"api-token": "abc"},
			says: []string{"probe/api-token: there is no such setting; " + allNames}},
		{name: "empty", in: map[string]string{"interval": ""}, says: []string{`probe/interval "": give a time from 1s to 24h, as in 30s; 1m is used`}},
		{name: "a secret in the wrong place", in: map[string]string{"credentials": "Bearer abc"},
			says: []string{"probe/credentials (not shown, it may hold a secret): give NAME/KEY of a Secret in the service's own namespace; it is not used"}},
		{name: "a key in a query", in: map[string]string{"path": "v1?key=abc"},
			says: []string{`probe/path "v1?...": give a path that begins with one slash; scheme and host are the service's own; it is not used`}},
		{name: "an interval below the timeout", in: map[string]string{"interval": "5s"},
			want: func(s *Settings) { s.Interval, s.Timeout = 5*time.Second, 5*time.Second }},
		{name: "a timeout above the interval", in: map[string]string{"timeout": "90s"},
			says: []string{`probe/timeout "90s": longer than the interval of 1m, so that probes would be left out; give a longer interval or a shorter time; 10s is used`}},
		{name: "a timeout above an interval of its own", in: map[string]string{"interval": "5s", "timeout": "20s"},
			want: func(s *Settings) { s.Interval, s.Timeout = 5*time.Second, 5*time.Second },
			says: []string{`probe/timeout "20s": longer than the interval of 5s, so that probes would be left out; give a longer interval or a shorter time; 5s is used`}},
		{name: "waking takes long", in: map[string]string{"wake": "true"}, want: func(s *Settings) { s.Wake, s.Timeout = true, 5*time.Minute }},
		{name: "waking, with a time of its own", in: map[string]string{"wake": "true", "timeout": "2m"},
			want: func(s *Settings) { s.Wake, s.Timeout = true, 2*time.Minute }},
		{name: "waking, with a bad time", in: map[string]string{"wake": "true", "timeout": "2"},
			want: func(s *Settings) { s.Wake, s.Timeout = true, 5*time.Minute },
			says: []string{`probe/timeout "2": give a time with its unit, from 100ms to 10m, as in 30s; 10s is used`}},
		{name: "a latency that is never seen", in: map[string]string{"max-latency": "11s"},
			says: []string{`probe/max-latency "11s": above the timeout of 10s, which ends a request before it is too slow; give a shorter time or a longer timeout; it is not used`}},
		{name: "a bad expression", in: map[string]string{"expect": "stat == 200"},
			says: []string{`probe/expect "stat == 200": give a CEL expression; line 1, column 1: undeclared reference to 'stat'; it is not used`}},
		{name: "in the order of the table", in: map[string]string{"expct": "", "failures": "3/2", "enabled": "yes"},
			says: []string{`probe/enabled "yes": give true or false; true is used`,
				`probe/failures "3/2": give N/M, with N at least 1 and M not below N and at most 20, as in 2/3; 2/2 is used`,
				"probe/expct: there is no such setting; the nearest is expect"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := base
			if c.want != nil {
				c.want(&want)
			}
			got, says := Parse(c.in, base)
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if !slices.Equal(says, c.says) {
				t.Errorf("says\n%s\nwant\n%s", strings.Join(says, "\n"), strings.Join(c.says, "\n"))
			}
		})
	}
}

// TestDefaultsGiveWay: what a file chose for all can be taken back by one service.
func TestDefaultsGiveWay(t *testing.T) {
	all, err := Defaults().With(map[string]string{"wake": "true", "gateway": "outside", "method": "POST", "path": "/x", "protocol": "v1",
		"sample": "a/b", "credentials": "c/d", "expect-status": "200", "expect": "status == 200", "max-latency": "2s"})
	if err != nil {
		t.Fatal(err)
	}
	if all.Timeout != wakeTimeout || !slices.Equal(all.Doors(), []hops.Door{hops.Outside}) {
		t.Errorf("all: %+v", all)
	}
	got, says := Parse(map[string]string{"wake": "false", "gateway": "both", "method": "", "path": "", "protocol": "", "sample": "", "credentials": "",
		"expect-status": "", "expect": "", "max-latency": ""}, all)
	if want := Defaults(); len(says) > 0 || !same(got, want) || got.Doors() != nil {
		t.Errorf("got %+v\nwant %+v\nsays %q", got, want, says)
	}
	kept, says := Parse(map[string]string{"timeout": "2s", "max-latency": "1h"}, all)
	if kept.MaxLatency != 2*time.Second || len(says) != 1 || !strings.HasSuffix(says[0], "2s is used") {
		t.Errorf("a bad latency: %s, %q", kept.MaxLatency, says)
	}
}

func same(a, b Settings) bool {
	a.expressions, b.expressions = nil, nil
	return a == b
}

// TestValues: which values are right is the same for annotations, flags and the file.
func TestValues(t *testing.T) {
	long := strings.Repeat("a", maxPath)
	for name, c := range map[string]struct{ good, bad []string }{
		"enabled":  {[]string{"true", "false"}, []string{"", "1", "True", "yes"}},
		"interval": {[]string{"1s", "24h", "90s"}, []string{"999ms", "24h1ns", "-1m", "60", "1d", "", "9999999999999h"}},
		"timeout":  {[]string{"100ms", "1m"}, []string{"99ms", "10m1s", "0", "-5s", ""}},
		"failures": {[]string{"1/1", "2/3", "20/20"}, []string{"0/1", "2/1", "1/21", "2", "2/", "/2", "-1/2", "1/2/3", "", "a/b", " 1 / 2 "}},
		"wake":     {[]string{"true", "false"}, []string{"on", ""}},
		"gateway":  {[]string{"outside", "cluster-local", "both"}, []string{"Outside", "", "all"}},
		"protocol": {[]string{"v1", "v2", "grpc-v2", ""}, []string{"V1", "grpc", "v3"}},
		"method":   {[]string{"GET", "M-SEARCH", ""}, []string{"get", "GE T", "CONNECT", "1X", "GET\x00", strings.Repeat("A", maxMethod+1)}},
		"path": {[]string{"/", "/v1/models/iris:predict", "/a%20b?x=y%2F", "/" + long[1:], ""},
			[]string{"v1", "//host/x", "/a b", "/a#b", "/%zz", "/ä", "/a\nb", "/" + long, "http://x/"}},
		"sample":      {[]string{"a/b", "iris-sample.v1/input_1.json", ""}, []string{"a", "a/b/c", "A/b", "a/", "/b", "a/b c", "a/.."}},
		"credentials": {[]string{"a/b", ""}, []string{"a", "Bearer x/y", "a/b:c"}},
		"expect-status": {[]string{"200", "2xx", "200,4XX , 503", ""},
			[]string{"199", "600", "2x", "xxx", "6xx", "1xx", "200,", ",", "200-299", "+20", strings.Repeat("200,", 50) + "200"}},
		"expect": {[]string{"status == 200", "body.predictions.size() == 1", "true", "latency < duration('1s') && 'a' in headers",
			"text.contains('x')", "text.matches('^a+$')", "matches(text, 'x')", ""},
			[]string{"200", "body.ok", "status = 200", "foo == 1", "status == '200'", "latency < duration('x')", "text.matches('(')", "status == 200 &&",
				"[1].all(a, [1].all(b, [1].all(c, true)))", "true || '" + strings.Repeat("x", maxExpect) + "' == text", strings.Repeat("(", 500),
				"google.protobuf.Any{}", "\x00", "text.matches(text)", "matches(text, body.x)", "text.matches('" + strings.Repeat(".{900}", 3) + "')"}},
		"max-latency": {[]string{"1ms", "10s", ""}, []string{"999us", "11m", "0", "-1s"}},
	} {
		base := Defaults()
		for _, v := range c.good {
			if got, err := base.With(map[string]string{name: v}); err != nil {
				t.Errorf("%s %q: %v", name, v, err)
			} else if choice := find(t, name); v == strings.TrimSpace(v) && name != "wake" && !sameTime(choice.get(got), v) {
				t.Errorf("%s %q became %q", name, v, choice.get(got))
			}
		}
		for _, v := range c.bad {
			if got, err := base.With(map[string]string{name: v}); err == nil {
				t.Errorf("%s %q is taken", name, v)
			} else if got != base {
				t.Errorf("%s %q: an error, and yet %+v", name, v, got)
			}
		}
	}
}

func sameTime(a, b string) bool {
	x, err := time.ParseDuration(a)
	y, err2 := time.ParseDuration(b)
	return a == b || err == nil && err2 == nil && x == y
}

func find(t *testing.T, name string) choice {
	t.Helper()
	for _, c := range choices() {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no choice %s", name)
	return choice{}
}

// TestManyProblems: a service with hundreds of wrong annotations gets a bounded number of lines.
func TestManyProblems(t *testing.T) {
	in := map[string]string{}
	for c := 'a'; c <= 'z'; c++ {
		in["no-"+string(c)] = ""
	}
	_, says := Parse(in, Defaults())
	if len(says) != maxProblems+1 || says[maxProblems] != "annotations: 6 more are wrong" {
		t.Errorf("%d lines, the last %q", len(says), says[len(says)-1])
	}
}

// FuzzParse: whatever stands in annotations, the settings are usable, what is said of them is short, and can be written back.
func FuzzParse(f *testing.F) {
	f.Add("interval", "30s", "timeout", "1m")
	f.Add("wake", "true", "timeout", "9m")
	f.Add("interval", "5s", "timeout", "20s")
	f.Add("expect", "0\x00", "\x00", "")
	f.Add("credentials", "Bearer s3cr3t/x", "path", "/v1?key=s3cr3t")
	f.Add("expect", "body.a[0] < 1.5 && text.matches('^a')", "expect-status", "2xx,404")
	f.Add("expect", "[1].map(x, [x].map(y, text + text)).size() > 0", "no-such", "x\ny")
	f.Add("failures", "2/3", "max-latency", "11s")
	f.Add("sample", "a/b", "gateway", "both")
	f.Add("path", "/%", "method", "get")
	defaults := Defaults()
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		in := map[string]string{name1: value1, name2: value2}
		s, says := Parse(in, defaults)
		if s.Interval < minInterval || s.Interval > maxInterval || s.Timeout < minTimeout || s.Timeout > maxTimeout || !s.Wake && s.Timeout > s.Interval ||
			s.N < 1 || s.N > s.M || s.M > maxProbes || s.MaxLatency < 0 || s.MaxLatency > maxTimeout {
			t.Fatalf("%q: out of bounds: %+v", in, s)
		}
		if _, err := Compile(s); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		for _, line := range says {
			if len(line) > 1000 || strings.ContainsAny(line, "\n\r\x00") || !strings.HasPrefix(line, Prefix) {
				t.Fatalf("%q: %q", in, line)
			}
			if strings.HasPrefix(line, "probe/credentials") && len(value1) > 100 && strings.Contains(line, value1) {
				t.Fatalf("%q: shown: %q", in, line)
			}
		}
		values := map[string]string{}
		for _, c := range choices() {
			values[c.name] = c.get(s)
		}
		if again, err := defaults.With(values); err != nil || again != s {
			t.Fatalf("%q: written back: %v\n%+v\n%+v", in, err, s, again)
		}
		if len(says) == 0 != good(in) {
			t.Fatalf("%q: %q", in, says)
		}
	})
}

// good says whether each value is right by itself and with the others, by way of flags.
func good(in map[string]string) bool {
	_, err := Defaults().With(maps.Clone(in))
	return err == nil
}
