// cronjob.go: a scheduled probe as manifests. Pure: the same choices give the same text.
package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"probe/probe/agent/settings"
)

// CronJob is a probe on a schedule.
type CronJob struct {
	Rights
	Schedule string // five fields, or a macro such as @hourly; in the time zone of the cluster's controllers
	Image    string
	Args     []string // of the probe: which service, and how
	Many     bool     // services in one job: it reads and keeps more
	Env      map[string]string
	Deadline time.Duration // of one run of the probe
	// Token is a key of a Secret: a bearer token for the request. Sample is a key of a ConfigMap: its data. Both are mounted, so that the probe
	// itself needs no right to read them.
	Token, Sample settings.Object
}

const (
	// maxCronJobName leaves room for what the controllers add to the names of Jobs and pods (kubernetes/pkg/apis/batch/validation).
	maxCronJobName = 52
	// startingDeadline is how late a run may start, in seconds: later the next one is better. Without any, a hundred missed starts end the schedule
	// for good (kubernetes/pkg/controller/cronjob).
	startingDeadline = 60
	// startAndEnd is what a pod needs beside the probe's own deadline: to be scheduled, to start, to send its trace.
	startAndEnd = time.Minute
	// user is the one of the image; Kubernetes needs it as a number to be sure that it is not root.
	user = 65532
)

// Check says what Kubernetes would refuse, or take and never run.
func (c CronJob) Check() error {
	if problems := validation.IsDNS1123Subdomain(c.Name); len(problems) > 0 {
		return fmt.Errorf("name %q: %s; choose another with --name", c.Name, problems[0])
	}
	if len(c.Name) > maxCronJobName {
		return fmt.Errorf("name %q: longer than the %d characters that a CronJob's name may have; choose another with --name", c.Name, maxCronJobName)
	}
	if problems := validation.IsDNS1123Label(c.Namespace); len(problems) > 0 {
		return fmt.Errorf("namespace %q: %s", c.Namespace, problems[0])
	}
	if strings.TrimSpace(c.Image) == "" || strings.ContainsAny(c.Image, " \t\n") {
		return fmt.Errorf("image %q: give the name that the cluster can pull, as in registry.example.com/probe:v1", c.Image)
	}
	if err := checkSchedule(c.Schedule); err != nil {
		return fmt.Errorf("schedule %q: %w; write minute, hour, day of month, month, day of week, as in '*/5 * * * *'", c.Schedule, err)
	}
	return nil
}

// checkSchedule reads a schedule as Kubernetes does: with this library, and without a time zone, which is a field of its own and would let the
// library panic when cut short (kubernetes/pkg/apis/batch/validation, validateScheduleFormat).
func checkSchedule(schedule string) error {
	if strings.Contains(schedule, "TZ") {
		return errors.New("a time zone cannot stand in it")
	}
	s, err := cron.ParseStandard(schedule)
	if err != nil {
		return err
	}
	if s.Next(time.Unix(0, 0).UTC()).IsZero() { // none within five years
		return errors.New("that time never comes")
	}
	return nil
}

// Objects are the manifests: account, rights, CronJob.
func (c CronJob) Objects() []any { return append(c.Rights.Objects(), c.job()) }

func (c CronJob) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "probe", "app.kubernetes.io/component": "canary", "app.kubernetes.io/instance": c.Name}
}

func (c CronJob) job() *batchv1.CronJob {
	return &batchv1.CronJob{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, Labels: c.labels()},
		Spec: batchv1.CronJobSpec{Schedule: c.Schedule, ConcurrencyPolicy: batchv1.ForbidConcurrent,
			StartingDeadlineSeconds: new(int64(startingDeadline)), SuccessfulJobsHistoryLimit: new(int32(1)), FailedJobsHistoryLimit: new(int32(3)),
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
				// The probe has repeated what failed itself. A pod that never starts ends here, else Forbid would end the schedule silently.
				BackoffLimit: new(int32(0)), ActiveDeadlineSeconds: new(int64((c.Deadline + startAndEnd) / time.Second)),
				Template: c.pod()}}}}
}

func (c CronJob) pod() corev1.PodTemplateSpec {
	labels := c.labels()
	labels["sidecar.istio.io/inject"] = "false" // a sidecar may outlive the probe, and the Job would never end
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{ServiceAccountName: c.Name, RestartPolicy: corev1.RestartPolicyNever, EnableServiceLinks: new(false),
			SecurityContext: plainUser(), Containers: []corev1.Container{c.container()}, Volumes: c.volumes()}}
}

// Where the token and the sample are mounted.
const (
	tokenFolder  = "/etc/probe/token"
	sampleFolder = "/etc/probe/sample"
)

func (c CronJob) volumes() []corev1.Volume {
	var out []corev1.Volume
	if t := c.Token; t != (settings.Object{}) {
		out = append(out, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: t.Name, Items: []corev1.KeyToPath{{Key: t.Key, Path: t.Key}}}}})
	}
	if s := c.Sample; s != (settings.Object{}) {
		out = append(out, corev1.Volume{Name: "sample", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: s.Name}, Items: []corev1.KeyToPath{{Key: s.Key, Path: s.Key}}}}})
	}
	return out
}

// mounts are where the volumes are, and the arguments that name the files in them.
func (c CronJob) mounts() (mounts []corev1.VolumeMount, args []string) {
	if t := c.Token; t != (settings.Object{}) {
		mounts, args = append(mounts, corev1.VolumeMount{Name: "token", MountPath: tokenFolder, ReadOnly: true}), append(args, "--token-file="+tokenFolder+"/"+t.Key)
	}
	if s := c.Sample; s != (settings.Object{}) {
		mounts, args = append(mounts, corev1.VolumeMount{Name: "sample", MountPath: sampleFolder, ReadOnly: true}), append(args, "--data=@"+sampleFolder+"/"+s.Key)
	}
	return mounts, args
}

func (c CronJob) container() corev1.Container {
	mounts, files := c.mounts()
	request, limit := "48Mi", "256Mi"
	if c.Many {
		request, limit = "128Mi", "1Gi"
	}
	return corev1.Container{Name: "probe", Image: c.Image, ImagePullPolicy: corev1.PullIfNotPresent, Env: environment(c.Env),
		Args: append(slices.Concat(c.Args, files), "--termination-log="+corev1.TerminationMessagePathDefault), VolumeMounts: mounts,
		// What fails before the probe can write its own message is in the log.
		TerminationMessagePath: corev1.TerminationMessagePathDefault, TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse(request)},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}},
		SecurityContext: noPrivileges()}
}

// plainUser and noPrivileges are what the "restricted" Pod Security Standard asks of a pod and of a container.
func plainUser() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(user)), RunAsGroup: new(int64(user)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
}

func noPrivileges() *corev1.SecurityContext {
	return &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
}

// environment lists variables in the order of their names.
func environment(vars map[string]string) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, corev1.EnvVar{Name: name, Value: vars[name]})
	}
	return out
}
