// deployment.go: the agent as manifests: a Deployment, or a StatefulSet whose replicas share the services.
package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"probe/probe/read"
)

// Deployment is the agent in a cluster.
type Deployment struct {
	Rights
	Image    string
	Args     []string // of `probe agent`, beside those that follow from the fields here
	Env      map[string]string
	Port     int           // of metrics, health and failures
	Replicas int           // more than one share the services
	Grace    time.Duration // that running probes get at the end
	// Secrets and Samples are the names of the Secrets and ConfigMaps that annotations may point to.
	Secrets, Samples []string
	// Reviews lets callers fetch failures with a token, which the API server is asked about.
	Reviews bool
}

// Check says what Kubernetes would refuse.
func (d Deployment) Check() error {
	if problems := validation.IsDNS1123Label(d.Name); len(problems) > 0 {
		return fmt.Errorf("name %q: %s; choose another with --name", d.Name, problems[0])
	}
	if problems := validation.IsDNS1123Label(d.Namespace); len(problems) > 0 {
		return fmt.Errorf("namespace %q: %s", d.Namespace, problems[0])
	}
	for _, name := range slices.Concat(d.Secrets, d.Samples) {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return fmt.Errorf("--secret and --sample take the names of Secrets and ConfigMaps: %q: %s", name, problems[0])
		}
	}
	if strings.TrimSpace(d.Image) == "" || strings.ContainsAny(d.Image, " \t\n") {
		return fmt.Errorf("image %q: give the name that the cluster can pull, as in registry.example.com/probe:v1", d.Image)
	}
	if d.Replicas < 1 || d.Replicas > 100 {
		return fmt.Errorf("--replicas %d: give 1 to 100", d.Replicas)
	}
	return nil
}

// Objects are the manifests: account, rights, Service, Deployment or StatefulSet.
func (d Deployment) Objects() []any {
	out := d.Rights.Objects()
	d.add(out, right("serving.kserve.io", "inferenceservices", "watch"), right("", "events", "create", "patch"))
	if len(d.Secrets) > 0 {
		d.add(out, named(right("", "secrets", "get"), d.Secrets))
	}
	if len(d.Samples) > 0 {
		d.add(out, named(right("", "configmaps", "get"), d.Samples))
	}
	if d.Replicas > 1 {
		name := d.Name + "-shards"
		leases := right("coordination.k8s.io", "leases", "create", "delete", "list", "update")
		out = append(out, read.Role(d.Namespace, name, []rbacv1.PolicyRule{leases}), d.binding(d.Namespace, name))
	}
	if d.Reviews { // this role is Kubernetes' own: create TokenReviews and SubjectAccessReviews
		out = append(out, &rbacv1.ClusterRoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: d.Name + "-" + d.Namespace + "-reviews"}, Subjects: d.subjects(),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"}})
	}
	return append(out, d.service(), d.workload())
}

func right(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// named is a right to objects of these names only.
func named(r rbacv1.PolicyRule, names []string) rbacv1.PolicyRule {
	r.ResourceNames = names
	return r
}

// add puts rights to those on the services: into the Role of their namespace, or the ClusterRole where they are in all.
func (d Deployment) add(objects []any, rules ...rbacv1.PolicyRule) {
	for _, o := range objects {
		switch role := o.(type) {
		case *rbacv1.Role:
			if !d.Everywhere && role.Namespace == d.Namespace {
				role.Rules = read.Merge(role.Rules, read.SweepRules(), rules)
			}
		case *rbacv1.ClusterRole:
			if d.Everywhere {
				role.Rules = read.Merge(role.Rules, rules)
			}
		}
	}
}

func (d Deployment) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "probe", "app.kubernetes.io/component": "agent", "app.kubernetes.io/instance": d.Name}
}

// service is for whoever scrapes; it has no address of its own, since each replica knows its own services only.
func (d Deployment) service() *corev1.Service {
	return &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name, Labels: d.labels()},
		Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: d.labels(),
			Ports: []corev1.ServicePort{{Name: "http-metrics", Port: int32(d.Port), TargetPort: intstr.FromString("http-metrics")}}}}
}

func (d Deployment) workload() any {
	selector := &metav1.LabelSelector{MatchLabels: d.labels()}
	meta := metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name, Labels: d.labels()}
	if d.Replicas > 1 {
		return &appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: meta,
			Spec: appsv1.StatefulSetSpec{Replicas: new(int32(d.Replicas)), Selector: selector, ServiceName: d.Name, Template: d.pod(),
				PodManagementPolicy: appsv1.ParallelPodManagement}}
	}
	return &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(1)), Selector: selector, Template: d.pod(), RevisionHistoryLimit: new(int32(2)),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}}} // two would tell each change twice
}

func (d Deployment) pod() corev1.PodTemplateSpec {
	labels := d.labels()
	// Probes should come from where callers stand, but a sidecar that is not ready yet would fail them all. Who wants one sets the label.
	labels["sidecar.istio.io/inject"] = "false"
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": fmt.Sprint(d.Port)}},
		Spec: corev1.PodSpec{ServiceAccountName: d.Name, EnableServiceLinks: new(false), TerminationGracePeriodSeconds: new(int64((d.Grace + leave) / time.Second)),
			SecurityContext: plainUser(), Containers: []corev1.Container{d.container()}}}
}

// leave is what an agent needs beside the grace of its probes: to send the last traces, to give up its lease.
const leave = 10 * time.Second

func (d Deployment) container() corev1.Container {
	args := append([]string{"agent"}, d.Args...)
	if d.Replicas > 1 {
		args = append(args, "--shard=auto")
	}
	env := append(environment(d.Env), corev1.EnvVar{Name: "PROBE_AGENT", Value: d.Name}, from("POD_NAME", "metadata.name"),
		from("POD_NAMESPACE", "metadata.namespace"), from("POD_UID", "metadata.uid"))
	asked := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http-metrics")}}
	}
	return corev1.Container{Name: "probe", Image: d.Image, ImagePullPolicy: corev1.PullIfNotPresent, Args: args, Env: env,
		Ports:                    []corev1.ContainerPort{{Name: "http-metrics", ContainerPort: int32(d.Port)}},
		LivenessProbe:            &corev1.Probe{ProbeHandler: asked("/healthz"), PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6},
		ReadinessProbe:           &corev1.Probe{ProbeHandler: asked("/readyz"), PeriodSeconds: 5, TimeoutSeconds: 5},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
		SecurityContext: noPrivileges()}
}

// from is a variable that tells a pod something of itself.
func from(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}}
}
