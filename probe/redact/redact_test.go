// redact_test.go: what goes and, as much, what must stay.
package redact

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"probe/hops"
	"probe/probe/redact/redacttest"
)

func TestString(t *testing.T) {
	for in, want := range map[string]string{
		"Authorization: Bearer abc":                                         "Authorization: <redacted>",
		"> authorization: Basic dXNlcjpwYXNz":                               "> authorization: <redacted>",
		`curl -H "Cookie: a=b; c=d" http://h/p`:                             `curl -H "Cookie: <redacted>" http://h/p`,
		`{"authorization":"Bearer x","path":"/p"}`:                          `{"authorization":"<redacted>","path":"/p"}`,
		`map[Cookie:[a=b; c="d"] Host:[h]]`:                                 `map[Cookie:[<redacted>] Host:[h]]`,
		"failed with bearer abcdef0123 at once":                             "failed with bearer <redacted> at once",
		"BEARER ABCDEF0123":                                                 "BEARER <redacted>",
		"x eyJhbGciOi.eyJzdWIiOiJ1.abc y":                                   "x <redacted> y",
		"key AKIAIOSFODNN7EXAMPLE used":                                     "key <redacted> used",
		"https://u:p@h/x?sig=abc&se=1 end":                                  "https://<redacted>@h/x?<redacted> end",
		`Get "http://h:80/a?b": EOF`:                                        `Get "http://h:80/a?<redacted>": EOF`,
		`"GET /v1?token=abc HTTP/1.1" 404`:                                  `"GET /v1?<redacted> HTTP/1.1" 404`,
		"password: hunter2 and more":                                        "password: <redacted> and more",
		"DB_PASSWORD=hunter2,x=1":                                           "DB_PASSWORD=<redacted>,x=1",
		`{"password":"a b\"c","n":1}`:                                       `{"password":"<redacted>","n":1}`,
		`"{\"api_key\":\"abc\",\"n\":1}"`:                                   `"{\"api_key\":\"<redacted>\",\"n\":1}"`,
		"token='abc def' x":                                                 "token='<redacted>' x",
		"serve --token abc --port 1":                                        "serve --token <redacted> --port 1",
		"curl -u me:pw http://h":                                            "curl -u <redacted> http://h",
		`{"instances": [[1, "]"], [2]], "id": "7"}`:                         `{"instances": "<redacted>", "id": "7"}`,
		`{'inputs': [{'data': [1]}]}`:                                       `{'inputs': '<redacted>'}`,
		`msg "{\"instances\":[\"a]b\"],\"id\":1}"`:                          `msg "{\"instances\":\"<redacted>\",\"id\":1}"`,
		"AccountKey=abc==;EndpointSuffix=core":                              "AccountKey=<redacted>;EndpointSuffix=core",
		"a\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nb": "a\n-----BEGIN PRIVATE KEY-----<redacted>-----END PRIVATE KEY-----\nb",
		"-----BEGIN EC PRIVATE KEY-----\nMII cut":                           "-----BEGIN EC PRIVATE KEY-----<redacted>",
		"x-auth-token: abc":                                                 "x-auth-token: <redacted>",
	} {
		if got := String(in); got != want {
			t.Errorf("String(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

// TestStringKeeps: texts that rules match, as the components print them.
func TestStringKeeps(t *testing.T) {
	for _, s := range []string{
		`Configuration "iris-predictor" is waiting for a Revision to become ready.`,
		`Unable to fetch image "h:5000/a@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": failed to resolve image to digest: 401 Unauthorized`,
		`docker-pullable://busybox@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
		`admission webhook "inferenceservice.kserve-webhook-server.pod-mutator" denied the request: can't read storage secret storage-config: secrets "storage-config" not found`,
		`secret "x" not found`, `secret models/serving-certs is not ready yet: secret could not be found`, "error looking up secret: not found",
		"Unable to locate credentials", "or use awsAnonymousCredential=true.", "Invalid AWS credentials. Verify AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.", "Set HF_TOKEN",
		"dial tcp 127.0.0.1:8080: connect: connection refused", "no healthy upstream", "RBAC: access denied", "basic authentication failed",
		"missing bearer token", `Bearer realm="https://auth.example.com/token",service="x"`, "s3://models/iris/model.joblib", "hf://org/model:rev",
		`ModelMissingError: {"error":"Model with name iris does not exist."}`, `Expected "instances" to be a list`, "token: expired",
		`^iris\.models\.example\.com(?::\d{1,5})?$`, `StorageUri [ftp://modelstore/iris] is not supported`, "what? a=b", "max_tokens=512 eos_token='</s>'",
		`{"severity":"INFO","timestamp":"2026-11-22T14:23:46.807310565Z","knative.dev/key":"models/sk-learn-iris-predictor-00001-deployment"}`,
		"exit code 137: OOMKilled", `outbound|80||iris-predictor.models.svc.cluster.local`, "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"containerd://7127b627b7d0656d8ed79c318c51e7d728337672d1e4b6f8a97f501df8c7251c", `signature: {"inputs": "x"`[:10], `{"credentials": {"s3": {"s3AccessKeyIDName": "AWS_ACCESS_KEY_ID"}}}`,
		"git@github.com: Permission denied", "K-Network-Hash: 0a1b2c", "Signature=serving_default",
	} {
		if got := String(s); got != s {
			t.Errorf("String damaged\n     %q\n got %q", s, got)
		}
	}
}

func TestStringTwiceIsOnce(t *testing.T) {
	words := []string{"Authorization: ", "Bearer ", "Basic ", "abcdef0123", "password=", "token: ", `"`, `\"`, "'", "?", "a=b", "://", "u:p@", " ", ",", "--token ", "-u ",
		`"instances"`, ":", "[", "]", "{", "}", "eyJhbGciOi.eyJzdWI", "AKIAIOSFODNN7EXAMPLE", "hf_abcdefghijklmnopqrst", Mask, "<", ">", "\n", "Cookie", "=", "-----BEGIN PRIVATE KEY-----",
		"-----END PRIVATE KEY-----", "@sha256:", "\\", "sig=", "x-api-key", "é", "\x00", "@", "/"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40_000 {
		var b strings.Builder
		for range 1 + rng.IntN(12) {
			b.WriteString(words[rng.IntN(len(words))])
		}
		once := String(b.String())
		if twice := String(once); twice != once {
			t.Fatalf("String is not idempotent for %q:\n once %q\ntwice %q", b.String(), once, twice)
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("Authorization: Bearer abc", "tok3n")
	f.Add(`{"password":"x"`, "a?b=c")
	f.Add("-----BEGIN PRIVATE KEY-----", "MII")
	f.Fuzz(func(t *testing.T, before, after string) {
		s := before + " password=S3CR3Tvalue " + after
		once := String(s)
		if strings.Contains(once, "S3CR3Tvalue") {
			t.Errorf("the password is still in %q", once)
		}
		if twice := String(once); twice != once {
			t.Errorf("not idempotent for %q:\n once %q\ntwice %q", s, once, twice)
		}
	})
}

func TestObject(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.in.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no objects in testdata", err)
	}
	for _, path := range paths {
		in, want := tree(t, path), tree(t, strings.Replace(path, ".in.", ".out.", 1))
		before, _ := json.Marshal(in)
		got := Object(in)
		if !reflect.DeepEqual(got, want) {
			raw, _ := json.MarshalIndent(got, "", "  ")
			t.Errorf("%s: got\n%s", path, raw)
		}
		if after, _ := json.Marshal(in); string(after) != string(before) {
			t.Errorf("%s: the object itself was changed", path)
		}
		if !reflect.DeepEqual(Object(got), got) {
			t.Errorf("%s: not idempotent", path)
		}
	}
}

func tree(t *testing.T, path string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(path, err)
	}
	return m
}

func TestRunHoldsNoCanary(t *testing.T) {
	run := redacttest.Run()
	before, _ := json.Marshal(run)
	out, what := Run(run)
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{redacttest.Canary, redacttest.Encoded} {
		for at, n := 0, 0; n < 5; n++ {
			i := strings.Index(string(raw[at:]), secret)
			if i < 0 {
				break
			}
			at += i + len(secret)
			t.Errorf("the canary is still there: ...%s", raw[max(0, at-160):min(len(raw), at+20)])
		}
	}
	if after, _ := json.Marshal(run); string(after) != string(before) {
		t.Error("the run itself was changed")
	}
	if again, _ := Run(out); !reflect.DeepEqual(again, out) {
		t.Error("not idempotent")
	}
	for _, kind := range []string{kindHeader, kindValue, kindToken, kindPrivateKey, kindUserInfo, kindQuery, kindPayload, kindEnv, kindSecret, kindRoute, kindManaged, kindApplied} {
		if !strings.Contains(strings.Join(what, "\n"), kind+": ") {
			t.Errorf("%q is not among what was redacted: %q", kind, what)
		}
	}
}

// TestRunKeeps: what rules need of the same run.
func TestRunKeeps(t *testing.T) {
	out, _ := Run(redacttest.Run())
	raw, _ := json.Marshal(out)
	for _, s := range []string{`"PORT"`, `"8080"`, `"storage-config"`, `"key":"password"`, "acct.blob.core.windows.net/c/m", `"iris-predictor.models.svc.cluster.local"`, `"exact":"override"`,
		"iris-predictor-00001", "connect: connection refused", "all is well after the key", "route_not_found", `"server":"istio-envoy"`, "/dex/auth", "no such host",
		"@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "--model_name=iris", `\"predictions\"`, "--port 8080"} {
		if !strings.Contains(string(raw), s) {
			t.Errorf("%q is gone", s)
		}
	}
	for _, l := range out.Snapshots[0].Lines {
		if e, ok := hops.ParseAccess(l); ok && e.Path == "/v1/models/iris?"+Mask && e.Flags == "NR" {
			return
		}
	}
	t.Error("the access log line cannot be read any more")
}

func BenchmarkString(b *testing.B) {
	calm := strings.Repeat("2026-11-22 14:23:49.398 1 kserve INFO [model_server.py:register_model():439] Registering model: healthy key: value\n", 90_000)
	busy := strings.Repeat(`[2026-11-22T14:23:49.398Z] "POST /v1/models/iris:predict?token=abc HTTP/1.1" 200 - via_upstream - "-" 12 34 5 - "Bearer abcdef0123" "curl/8" "http://u:p@h/x"`+"\n", 66_000)
	for name, text := range map[string]string{"calm": calm, "busy": busy} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				String(text)
			}
		})
	}
}
