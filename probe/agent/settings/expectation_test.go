package settings

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"probe/hops"
)

// answered is an answer of the model's, through an Envoy.
func answered(status int) hops.Observation {
	return hops.Observation{Step: hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}, Asked: hops.RealRequest, Outcome: hops.Answered,
		Status: status, Took: 12 * time.Millisecond,
		Header: map[string]string{"content-type": "application/json", "server": "istio-envoy", "x-envoy-upstream-service-time": "3"}}
}

func TestCheck(t *testing.T) {
	const reply = `{"predictions": [1, 0.5], "model_name": "iris", "n": null, "count": 3}`
	unready := func(o *hops.Observation) { o.Body, o.Header["content-type"] = `{"ready":false}`, "application/grpc" }
	ownGateway := func(o *hops.Observation) { delete(o.Header, "x-envoy-upstream-service-time") }
	for _, c := range []struct {
		statuses, expect string
		status           int
		body             string
		change           func(*hops.Observation)
		want             string // "" when met
	}{
		{statuses: "200", status: 200},
		{statuses: "2xx,404", status: 404},
		{statuses: "404", status: 200, want: "the answer has status 200, not 404 (after 12ms)"},
		{statuses: "200", status: 503, want: "the answer has status 503, not 200 (after 12ms)"},
		{statuses: "404", status: 404, change: ownGateway, want: "the answer has status 404, but the gateway itself wrote it, not the model"},
		{statuses: "5xx", status: 503, change: ownGateway, want: "the answer has status 503, but the gateway itself wrote it, not the model"},
		{statuses: "403", status: 403, change: ownGateway},
		{statuses: "200", status: 200, change: func(o *hops.Observation) { o.GRPCStatus = 14 }, want: "the answer has gRPC status 14, not 0"},
		{statuses: "200", status: 200, change: unready, want: "the server answers that the model is not ready"},
		{statuses: "200", change: func(o *hops.Observation) { o.Outcome = hops.Timeout },
			want: "there is no answer to compare with what is expected: timeout"},
		{expect: "body.predictions.size() == 2 && body.predictions[0] == 1 && body.count > 2", status: 200, body: reply},
		{expect: "body.predictions.all(p, p >= 0.5)", status: 200, body: reply},
		{expect: "body.n == null && !has(body.error)", status: 200, body: reply},
		{expect: "headers['content-type'].startsWith('application/json')", status: 200},
		{expect: "!('x' in headers)", status: 200, change: func(o *hops.Observation) { o.Header = nil }},
		{expect: "text.contains('iris')", status: 200, body: reply},
		{expect: "text == 'ok\uFFFD' && body == null", status: 200, body: "ok\xff"},
		{expect: "text.matches('iris') && body.model_name.matches('^ir') && !matches(text, '^x')", status: 200, body: reply},
		{expect: "latency < duration('20ms')", status: 200},
		{expect: "latency < duration('5ms')", status: 200, want: "the answer does not meet `latency < duration('5ms')` (status 200 after 12ms)"},
		{expect: "true", status: 503, want: "the answer has status 503, not 2xx"},
		{expect: "status == 404", status: 404},
		{expect: "status == 404", status: 404, change: ownGateway, want: "the answer has status 404, but the gateway itself wrote it, not the model"},
		{statuses: "404", expect: "body.error == 'gone'", status: 404, body: `{"error": "gone"}`},
		{expect: "body.absent == 1", status: 200, body: reply, want: "the answer does not meet `body.absent == 1`: there is no absent (status 200 after 12ms)"},
		{expect: "body.absent\n  == 1", status: 200, body: "<html>",
			want: "the answer does not meet `body.absent == 1`: there is no absent (status 200 after 12ms; the body of 6 bytes is not JSON)"},
		{expect: "body.predictions[5] == 1", status: 200, body: reply,
			want: "the answer does not meet `body.predictions[5] == 1`: a list is too short (status 200 after 12ms)"},
		{expect: "body.count + 'x' == 'y'", status: 200, body: reply,
			want: "the answer does not meet `body.count + 'x' == 'y'`: a value is of another type than it needs (status 200 after 12ms)"},
		{expect: "1 / int(body.n2) == 1", status: 200, body: `{"n2": 0}`,
			want: "the answer does not meet `1 / int(body.n2) == 1`: it divides by zero (status 200 after 12ms)"},
		{expect: "headers['x-y'] == '1'", status: 200, want: "the answer does not meet `headers['x-y'] == '1'`: there is no x-y (status 200 after 12ms)"},
	} {
		t.Run(fmt.Sprintf("%s %s %d", c.statuses, c.expect, c.status), func(t *testing.T) {
			s := Defaults()
			s.ExpectStatus, s.Expect = c.statuses, c.expect
			e, err := Compile(s)
			if err != nil {
				t.Fatal(err)
			}
			o := answered(c.status)
			if c.change != nil {
				c.change(&o)
			}
			got := ""
			if err := e.Check(&o, []byte(c.body)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		statuses, expect string
		want             bool
	}{{"404", "", true}, {"", "status == 404", true}, {"", "body.status == 404", false}, {"", "", false}} {
		s := Defaults()
		s.ExpectStatus, s.Expect = c.statuses, c.expect
		e, err := Compile(s)
		if err != nil || e.Status() != c.want || (e == nil) != (c.statuses+c.expect == "") {
			t.Errorf("%+v: %v, %v", c, e, err)
		}
	}
	var none *Expectation
	good, bad := answered(200), answered(500)
	if none.Check(&good, nil) != nil || none.Check(&bad, nil) == nil {
		t.Error("where nothing is expected, 2xx is right and 500 is not")
	}
}

// TestPrivate: whatever an expression does with a body, the error quotes nothing of it.
func TestPrivate(t *testing.T) {
	const canary = "c4n4ry"
	body := []byte(`{"s": "` + canary + `", "list": ["` + canary + `"], "` + canary + `": 1, "m": {}}`)
	for _, expect := range []string{"int(body.s) == 1", "double(body.s) > 1.0", "timestamp(body.s) > timestamp('2020-01-01T00:00:00Z')",
		"duration(body.s) > duration('1s')", "headers[body.s] == 'x'", "body.m[body.s] == 1", "body.m[body] == 1", "body.list[body.s] == 1",
		"body.s == 1", "text == ''", "bool(body.s)", "uint(body.s) == 1u", "text.matches('^y')", "body.list.matches('x')",
		"body.s.getHours() == 1", "body.list[0] < 1", "-body.s == 1", "{body.s: 1, text: 2}[body.list[0] + 'x'] == 1",
		"dyn(body.s) + 1 == 2", "bytes(body.s) == b''",
		"body.s[0] == 1", "body.s.x == 1", "type(body.s) == int", "body.list.exists_one(x, x > 1)", "body[body.s] == 2"} {
		s, err := Defaults().With(map[string]string{"expect": expect})
		if err != nil {
			t.Errorf("%s: %v", expect, err)
			continue
		}
		e, _ := Compile(s)
		o := answered(200)
		if err := e.Check(&o, body); err == nil || strings.Contains(err.Error(), canary) || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: %v", expect, err)
		}
	}
}

// TestBounded: expressions that would take hours or gigabytes end, and say so.
func TestBounded(t *testing.T) {
	numbers := []byte(`{"l": [` + strings.TrimSuffix(strings.Repeat("1,", 20_000), ",") + `]}`)
	big := []byte(`{"l": [` + strings.TrimSuffix(strings.Repeat("1,", 2000), ",") + `], "s": "` + strings.Repeat("x", 900_000) + `"}`)
	for _, c := range []struct {
		expect string
		body   []byte
	}{
		{"body.l.all(a, body.l.all(b, a == b))", numbers},
		{"body.l.map(a, body.s + body.s).size() == 1", big}, // 3.6 GB
		{"body.l.map(a, string(body.s) + text).size() == 1", big},
		{"body.l.map(a, bytes(body.s)).size() == 1", big},
		{"body.s.matches('(x+x+){20}y')", big},
	} {
		s, err := Defaults().With(map[string]string{"expect": c.expect})
		if err != nil {
			t.Fatal(err)
		}
		s.expressions.time = time.Hour // steps end it, however busy the machine is
		e, _ := Compile(s)
		o := answered(200)
		want := fmt.Sprintf("the answer does not meet `%s`: it takes more steps than it may (status 200 after 12ms)", c.expect)
		if err := e.Check(&o, c.body); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	e, err := Compile(Settings{Expect: "body.l.all(a, a == 1)"})
	o := answered(200)
	if err != nil || e.Check(&o, numbers) != nil {
		t.Errorf("a look at each of 20,000 numbers: %v, %v", err, e.Check(&o, numbers))
	}
}

// TestTime: a loop ends when its time is over, also one within another.
func TestTime(t *testing.T) {
	s, err := Defaults().With(map[string]string{"expect": "body.all(a, body.all(b, body == body))"})
	if err != nil {
		t.Fatal(err)
	}
	s.expressions.time = 1 // over before it begins
	e, _ := Compile(s)
	o := answered(200)
	const want = "the answer does not meet `body.all(a, body.all(b, body == body))`: it takes longer than it may (status 200 after 12ms)"
	body := []byte("[" + strings.Repeat("1,", 999) + "1]")
	if err := e.Check(&o, body); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	s2 := &seen{o: &o, body: body}
	if _, err := e.expr.eval(s2); err == nil || s2.steps.n > 100 {
		t.Errorf("%d steps after the end, %v", s2.steps.n, err)
	}
}

// TestShared: services that expect the same share one compiled expression, and there is a bound to how many are kept.
func TestShared(t *testing.T) {
	defaults := Defaults()
	one, _ := Parse(map[string]string{"expect": "status == 200"}, defaults)
	two, _ := Parse(map[string]string{"expect": "status == 200", "path": "/x"}, defaults)
	a, _ := Compile(one)
	b, _ := Compile(two)
	if a.expr != b.expr {
		t.Error("compiled twice")
	}
	x := newExpressions()
	x.kept = newLRU[string, *expression](2, 2)
	for _, source := range []string{"status == 1", "status == 2", "status == 1", "status == 3"} {
		if _, err := x.compile(source); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := x.kept.at["status == 2"]; ok || x.kept.order.Len() != 2 || len(x.kept.at) != 2 {
		t.Error("what was not asked for the longest is still kept")
	}
}
