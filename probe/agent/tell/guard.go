// guard.go: who may read evidence: whoever is on this machine, else a token that the API server knows, of a user with the right to.
package tell

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	reviewTimeout = 5 * time.Second
	reviewLife    = time.Minute // how long an answer of the API server is believed
	maxReviews    = 1024        // answers that are remembered
	reviewsAtOnce = 4           // others are told to come again: a flood of tokens must not become one of reviews
	maxToken      = 8 << 10
)

// Guard lets requests through that come from this machine, and those whose bearer token passes a TokenReview and a SubjectAccessReview: its user
// may "get" the nonResourceURL that is guarded. A TokenReview alone would let every pod of the cluster in, since each has a token of its own.
// The agent's account needs the right to create tokenreviews and subjectaccessreviews; a reader needs a ClusterRole such as
//
//	rules: [{nonResourceURLs: ["/failures"], verbs: ["get"]}]
type Guard struct {
	client kubernetes.Interface
	now    func() time.Time
	log    *seldom
	busy   chan struct{}

	mu    sync.Mutex
	known map[asked]answer
}

// asked is what the API server was asked. The token itself is not kept.
type asked struct {
	token [sha256.Size]byte
	path  string
}

// answer is the status that a request gets, and until when.
type answer struct {
	status int
	until  time.Time
}

// NewGuard makes a guard. now may be nil for time.Now; log takes a line about reviews that fail, and may be nil.
func NewGuard(client kubernetes.Interface, now func() time.Time, log func(string)) *Guard {
	if now == nil {
		now = time.Now
	}
	return &Guard{client: client, now: now, log: newSeldom(log, now), busy: make(chan struct{}, reviewsAtOnce), known: map[asked]answer{}}
}

// Protect puts the guard before a handler. path is the nonResourceURL of the right to it.
func (g *Guard) Protect(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if fromHere(r) {
			next.ServeHTTP(w, r)
			return
		}
		token, ok := bearer(r)
		if !ok {
			refuse(w, http.StatusUnauthorized, path)
			return
		}
		if status := g.review(r.Context(), token, path); status != http.StatusOK {
			refuse(w, status, path)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse says what is missing.
func refuse(w http.ResponseWriter, status int, path string) {
	text := "the API server could not be asked about the token; try again"
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="probe"`)
		text = "give a token that the API server knows: Authorization: Bearer TOKEN; or come through kubectl port-forward"
	case http.StatusForbidden:
		text = fmt.Sprintf("the token's user may not get the nonResourceURL %s: bind a ClusterRole that allows it", path)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, text, status)
}

// fromHere says whether a request comes from this machine, or through kubectl port-forward, and not through a proxy beside. Istio's sidecar dials
// from 127.0.0.6 (istio/pilot/pkg/networking/util, InboundPassthroughBindIpv4), or leaves Envoy's headers. A browser that was led here by a name
// of somebody else's gives that name as the host.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	at := peer.Addr().Unmap()
	if !at.IsLoopback() || at == netip.AddrFrom4([4]byte{127, 0, 0, 6}) || !loopbackHost(r.Host) {
		return false
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Envoy-") {
			return false
		}
	}
	return true
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if at, err := netip.ParseAddr(host); err == nil {
		return at.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// bearer finds the token.
func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= maxToken
}

// review gives the status for a token: 200, 401, 403, or 503 when the API server does not say.
func (g *Guard) review(ctx context.Context, token, path string) int {
	key := asked{sha256.Sum256([]byte(token)), path}
	if status, ok := g.remembered(key); ok {
		return status
	}
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	default:
		return http.StatusServiceUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	status, err := g.ask(ctx, token, path)
	if err != nil {
		text := strings.ReplaceAll(err.Error(), token, "<token>")
		g.log.line("review", fmt.Sprintf("a token could not be reviewed: %s; the agent's account needs the right to create tokenreviews and subjectaccessreviews "+
			"(`probe agent --manifests` prints it)", clean(text)))
		return http.StatusServiceUnavailable
	}
	g.remember(key, status)
	return status
}

// ask asks who it is, and what they may do.
func (g *Guard) ask(ctx context.Context, token, path string) (int, error) {
	who, err := g.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil // with an error beside it, it is one of the token
	}
	user := who.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	may, err := g.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"}}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return 0, err
	case may.Status.Allowed && !may.Status.Denied:
		return http.StatusOK, nil
	case may.Status.EvaluationError != "" && !may.Status.Denied:
		return 0, errors.New(may.Status.EvaluationError)
	}
	return http.StatusForbidden, nil
}

func (g *Guard) remembered(key asked) (int, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, ok := g.known[key]
	return a.status, ok && g.now().Before(a.until)
}

// remember keeps an answer; what is old makes room, and if nothing is, all do.
func (g *Guard) remember(key asked, status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if len(g.known) >= maxReviews {
		for k, a := range g.known {
			if !now.Before(a.until) {
				delete(g.known, k)
			}
		}
	}
	if len(g.known) >= maxReviews {
		clear(g.known)
	}
	g.known[key] = answer{status, now.Add(reviewLife)}
}
