// guard_test.go: who gets in, and how often the API server is asked.
package tell

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"probe/probe/redact/redacttest"
)

// reviewer is an API server that knows tokens by name, and counts what it is asked. Tokens that begin with "reader" may read.
func reviewer(t *testing.T) (client *fake.Clientset, tokens, access *int) {
	t.Helper()
	client, tokens, access = fake.NewClientset(), new(int), new(int)
	client.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		*tokens++
		r := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview)
		switch r.Spec.Token {
		case "reader", "pod", "odd":
			r.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: r.Spec.Token, UID: "7", Groups: []string{"g"},
				Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}}}}
		case "away", "away-" + redacttest.Canary:
			return true, nil, errors.New("dial tcp: connection refused for " + r.Spec.Token)
		default:
			r.Status.Error = "invalid bearer token"
		}
		return true, r, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		*access++
		r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
		s := r.Spec
		if s.NonResourceAttributes == nil || *s.NonResourceAttributes != (authorizationv1.NonResourceAttributes{Path: "/failures", Verb: "get"}) || s.ResourceAttributes != nil ||
			s.UID != "7" || len(s.Groups) != 1 || len(s.Extra["k"]) != 1 {
			t.Errorf("asked for %+v", s)
		}
		r.Status.Allowed = s.User == "reader"
		if s.User == "odd" {
			r.Status.EvaluationError = "webhook authorizer is away"
		}
		return true, r, nil
	})
	return client, tokens, access
}

// asks makes a request of a peer.
func asks(peer, token string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/failures", nil)
	r.RemoteAddr, r.Host = peer, "localhost:8080"
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	return r
}

var evidence = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "evidence") })

func status(g *Guard, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.Protect("/failures", evidence).ServeHTTP(w, r)
	return w
}

func TestGuard(t *testing.T) {
	const far = "10.1.2.3:4567"
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		says   string
	}{
		{"this machine", asks("127.0.0.1:4567", ""), 200, "evidence"},
		{"this machine, by number", asks("127.0.0.1:4567", "", "Host: 127.0.0.1:8080"), 200, "evidence"},
		{"this machine, IPv6", asks("[::1]:4567", "", "Host: [::1]:8080"), 200, "evidence"},
		{"this machine, IPv4 in IPv6", asks("[::ffff:127.0.0.1]:4567", "", "Host: localhost"), 200, "evidence"},
		{"this machine does not need its token", asks("127.0.0.1:4567", "Bearer nobody"), 200, "evidence"},
		{"through a proxy beside", asks("127.0.0.1:4567", "", "X-Forwarded-For: 10.1.2.3"), 401, "Authorization: Bearer TOKEN"},
		{"through another proxy", asks("127.0.0.1:4567", "", "Forwarded: for=10.1.2.3"), 401, ""},
		{"through a third", asks("127.0.0.1:4567", "", "Via: 1.1 x"), 401, ""},
		{"through Envoy", asks("127.0.0.1:4567", "", "X-Envoy-Attempt-Count: 1"), 401, ""},
		{"through Istio's sidecar", asks("127.0.0.6:4567", ""), 401, ""},
		{"a browser that was led here", asks("127.0.0.1:4567", "", "Host: evil.example"), 401, ""},
		{"a peer that is none", asks("pipe", ""), 401, ""},
		{"no token", asks(far, ""), 401, "Authorization: Bearer TOKEN"},
		{"another scheme", asks(far, "Basic reader"), 401, ""},
		{"an empty token", asks(far, "Bearer "), 401, ""},
		{"a token that is too long", asks(far, "Bearer "+strings.Repeat("x", maxToken+1)), 401, ""},
		{"an unknown token", asks(far, "Bearer nobody"), 401, "a token that the API server knows"},
		{"a token without the right", asks(far, "Bearer pod"), 403, "may not get the nonResourceURL /failures"},
		{"a token with the right", asks(far, "Bearer reader"), 200, "evidence"},
		{"the scheme in small letters", asks(far, "bearer reader"), 200, "evidence"},
		{"a reader through a proxy", asks("127.0.0.1:4567", "Bearer reader", "X-Forwarded-For: 10.1.2.3"), 200, "evidence"},
		{"the API server is away", asks(far, "Bearer away"), 503, "could not be asked"},
		{"the authorizer is away", asks(far, "Bearer odd"), 503, "could not be asked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _, _ := reviewer(t)
			w := status(NewGuard(client, nil, nil), c.r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || w.Code != 200 && strings.Contains(w.Body.String(), "evidence") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if (w.Header().Get("WWW-Authenticate") != "") != (w.Code == 401) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

// The API server is asked once a minute for a token, whatever it says; when it says nothing, each time.
func TestGuardRemembers(t *testing.T) {
	now := began
	client, tokens, access := reviewer(t)
	g := NewGuard(client, func() time.Time { return now }, nil)
	for _, c := range []struct {
		token          string
		after          time.Duration
		tokens, access int // asked since the beginning
	}{
		{"reader", 0, 1, 1}, {"reader", 59 * time.Second, 1, 1}, {"reader", time.Second, 2, 2},
		{"pod", 0, 3, 3}, {"pod", time.Second, 3, 3}, {"nobody", 0, 4, 3}, {"nobody", 0, 4, 3},
		{"away", 0, 5, 3}, {"away", 0, 6, 3},
	} {
		now = now.Add(c.after)
		status(g, asks("10.1.2.3:4567", "Bearer "+c.token))
		if *tokens != c.tokens || *access != c.access {
			t.Errorf("%s: asked %d and %d times, want %d and %d", c.token, *tokens, *access, c.tokens, c.access)
		}
	}
	for i := range 3 * maxReviews {
		now = now.Add(time.Millisecond)
		g.remember(asked{path: fmt.Sprint(i)}, 200)
		if len(g.known) > maxReviews {
			t.Fatalf("%d answers are remembered", len(g.known))
		}
	}
}

// A right to one thing is none to another.
func TestGuardPaths(t *testing.T) {
	client, tokens, _ := reviewer(t)
	g := NewGuard(client, nil, nil)
	g.remembered(asked{})
	status(g, asks("10.1.2.3:4567", "Bearer nobody"))
	w := httptest.NewRecorder()
	g.Protect("/debug/pprof", evidence).ServeHTTP(w, asks("10.1.2.3:4567", "Bearer nobody"))
	if *tokens != 2 {
		t.Errorf("asked %d times", *tokens)
	}
}

// What is logged names no token, and is said seldom.
func TestGuardLog(t *testing.T) {
	client, _, _ := reviewer(t)
	var log []string
	g := NewGuard(client, nil, func(s string) { log = append(log, s) })
	for range 5 {
		status(g, asks("10.1.2.3:4567", "Bearer away-"+redacttest.Canary))
	}
	if len(log) != 1 || strings.Contains(log[0], redacttest.Canary) || !strings.Contains(log[0], "connection refused") || !strings.Contains(log[0], "the right to create tokenreviews") {
		t.Errorf("%q", log)
	}
}

// A flood of tokens is no flood of reviews.
func TestGuardFlood(t *testing.T) {
	client := fake.NewClientset()
	in, out := make(chan struct{}), make(chan struct{})
	g := NewGuard(client, nil, nil)
	client.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, a.(clienttesting.CreateAction).GetObject(), nil
	})
	var wg sync.WaitGroup
	for range reviewsAtOnce {
		wg.Go(func() {
			g.busy <- struct{}{}
			in <- struct{}{}
			<-out
			<-g.busy
		})
		<-in
	}
	w := status(g, asks("10.1.2.3:4567", "Bearer x"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || len(client.Actions()) > 0 {
		t.Errorf("%d, %v", w.Code, client.Actions())
	}
	close(out)
	wg.Wait()
	if w := status(g, asks("10.1.2.3:4567", "Bearer x")); w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
}
