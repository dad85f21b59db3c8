package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

func deployed() Deployment {
	return Deployment{Rights: Rights{Namespace: "models", Name: "probe-agent"}, Image: "registry.example.com/probe:v1", Port: 9464, Replicas: 1, Grace: 10 * time.Second,
		Args: []string{"--namespace=models"}, Env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}}
}

func TestDeploymentGolden(t *testing.T) {
	golden(t, "agent.golden.yaml", manifests(t, deployed().Objects()))
	many := deployed()
	many.Everywhere, many.Replicas, many.Reviews = true, 3, true
	golden(t, "agent-sharded.golden.yaml", manifests(t, many.Objects()))
}

// rules are all the rules of the roles in a namespace; "" are those of ClusterRoles.
func rules(objects []any, namespace string) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, o := range objects {
		switch r := o.(type) {
		case *rbacv1.Role:
			if r.Namespace == namespace {
				out = append(out, r.Rules...)
			}
		case *rbacv1.ClusterRole:
			if namespace == "" {
				out = append(out, r.Rules...)
			}
		}
	}
	return out
}

// may says whether rules allow a verb on a resource; named, only of these objects.
func may(rules []rbacv1.PolicyRule, verb, resource string, names ...string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, verb) && slices.Contains(r.Resources, resource) && slices.Equal(r.ResourceNames, names)
	})
}

// The agent watches services, writes Events, and no more unless asked: Secrets and ConfigMaps by name, leases for shards, reviews for /failures.
func TestDeploymentRights(t *testing.T) {
	plain := rules(deployed().Objects(), "models")
	for _, want := range []struct{ verb, resource string }{{"watch", "inferenceservices"}, {"list", "inferenceservices"}, {"get", "inferenceservices"},
		{"create", "events"}, {"patch", "events"}, {"list", "pods"}} {
		if !may(plain, want.verb, want.resource) {
			t.Errorf("it may not %s %s", want.verb, want.resource)
		}
	}
	for _, r := range plain {
		for _, verb := range r.Verbs {
			read := verb == "get" || verb == "list" || verb == "watch"
			if events := slices.Equal(r.Resources, []string{"events"}); !read && !events {
				t.Errorf("it may %s %v", verb, r.Resources)
			}
		}
		if slices.Contains(r.Resources, "secrets") || slices.Contains(r.Resources, "configmaps") || slices.Contains(r.Resources, "leases") {
			t.Errorf("unasked: %+v", r)
		}
	}
	more := deployed()
	more.Secrets, more.Samples, more.Replicas, more.Reviews = []string{"token"}, []string{"inputs"}, 2, true
	asked := rules(more.Objects(), "models")
	if !may(asked, "get", "secrets", "token") || may(asked, "get", "secrets") || !may(asked, "get", "configmaps", "inputs") {
		t.Errorf("Secrets and ConfigMaps are read by name: %+v", asked)
	}
	if !may(asked, "update", "leases") {
		t.Errorf("replicas share by leases: %+v", asked)
	}
	if !slices.ContainsFunc(more.Objects(), func(o any) bool {
		b, ok := o.(*rbacv1.ClusterRoleBinding)
		return ok && b.RoleRef.Name == "system:auth-delegator"
	}) {
		t.Error("tokens cannot be reviewed")
	}
}

// In all namespaces the same rights are those of one ClusterRole, but leases stay where the agent is.
func TestDeploymentEverywhere(t *testing.T) {
	d := deployed()
	d.Everywhere, d.Replicas = true, 2
	wide := rules(d.Objects(), "")
	if !may(wide, "watch", "inferenceservices") || !may(wide, "create", "events") || may(wide, "update", "leases") {
		t.Errorf("everywhere: %+v", wide)
	}
	if own := rules(d.Objects(), "models"); !may(own, "update", "leases") || len(own) != 1 {
		t.Errorf("at home: %+v", own)
	}
}

func TestDeploymentPod(t *testing.T) {
	d := deployed()
	one := d.workload().(*appsv1.Deployment)
	d.Replicas = 3
	many := d.workload().(*appsv1.StatefulSet)
	for name, pod := range map[string]corev1.PodSpec{"one": one.Spec.Template.Spec, "many": many.Spec.Template.Spec} {
		c := pod.Containers[0]
		for what, ok := range map[string]bool{
			"not root":            *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
			"read-only":           *c.SecurityContext.ReadOnlyRootFilesystem && !*c.SecurityContext.AllowPrivilegeEscalation,
			"time to end":         *pod.TerminationGracePeriodSeconds == 20,
			"health is asked for": c.LivenessProbe.HTTPGet.Path == "/healthz" && c.ReadinessProbe.HTTPGet.Path == "/readyz",
			"requests":            !c.Resources.Requests.Cpu().IsZero() && !c.Resources.Limits.Memory().IsZero(),
			"shards":              slices.Contains(c.Args, "--shard=auto") == (name == "many"),
		} {
			if !ok {
				t.Errorf("%s: %s: not so", name, what)
			}
		}
	}
	if one.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Error("two agents at once would tell each change twice")
	}
}

func TestDeploymentCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Deployment)
		says   string
	}{
		{"right", func(*Deployment) {}, ""},
		{"a name with dots", func(d *Deployment) { d.Name = "a.b" }, `name "a.b": `},
		{"no namespace", func(d *Deployment) { d.Namespace = "" }, `namespace "": `},
		{"no image", func(d *Deployment) { d.Image = "" }, `image "": give the name`},
		{"no replica", func(d *Deployment) { d.Replicas = 0 }, "--replicas 0: give 1 to 100"},
		{"a Secret with its key", func(d *Deployment) { d.Secrets = []string{"token/key"} }, `"token/key": `},
	} {
		d := deployed()
		c.change(&d)
		if err := d.Check(); c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}
