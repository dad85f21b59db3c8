package agent

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"probe/probe/agent/settings"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sample() CronJob {
	return CronJob{Rights: Rights{Namespace: "models", Name: "probe-iris"}, Schedule: "*/5 * * * *", Image: "registry.example.com/probe:v1",
		Args: []string{"--isvc=iris", "--namespace=models"}, Deadline: time.Minute,
		Env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}}
}

// manifests are objects as one text.
func manifests(t *testing.T, objects []any) string {
	t.Helper()
	var b strings.Builder
	for _, o := range objects {
		switch r := o.(type) { // the rules change with the needs of the rules of hops; probe/read tests them
		case *rbacv1.Role:
			r.Rules = nil
		case *rbacv1.ClusterRole:
			r.Rules = nil
		}
		raw, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n" + string(raw))
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); run with -update and read the difference; got\n%s", file, err, got)
	}
}

func TestCronJobGolden(t *testing.T) {
	if err := sample().Check(); err != nil {
		t.Fatal(err)
	}
	golden(t, "cronjob.golden.yaml", manifests(t, sample().Objects()))
}

// The schedule never stops by itself and the pod may do nothing but probe: what a change of the golden file could lose unseen.
func TestCronJobIsBounded(t *testing.T) {
	j := sample().job()
	spec := j.Spec.JobTemplate.Spec
	pod := spec.Template.Spec
	c := pod.Containers[0]
	for name, ok := range map[string]bool{
		"no two at a time":            j.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent,
		"a late start is dropped":     *j.Spec.StartingDeadlineSeconds >= 10, // below 10 s the controller may never see the time
		"history":                     *j.Spec.FailedJobsHistoryLimit > 0 && *j.Spec.FailedJobsHistoryLimit < 10 && *j.Spec.SuccessfulJobsHistoryLimit < 10,
		"no second pod":               *spec.BackoffLimit == 0 && pod.RestartPolicy == "Never",
		"an end, after the probe's":   *spec.ActiveDeadlineSeconds > 60 && *spec.ActiveDeadlineSeconds < 600,
		"not root":                    *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
		"seccomp":                     pod.SecurityContext.SeccompProfile.Type == "RuntimeDefault",
		"read-only, no more rights":   *c.SecurityContext.ReadOnlyRootFilesystem && !*c.SecurityContext.AllowPrivilegeEscalation && c.SecurityContext.Capabilities.Drop[0] == "ALL",
		"requests":                    !c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero() && !c.Resources.Limits.Memory().IsZero(),
		"its own account":             pod.ServiceAccountName == "probe-iris",
		"the message's file is named": strings.HasSuffix(c.Args[len(c.Args)-1], c.TerminationMessagePath),
	} {
		if !ok {
			raw, _ := json.MarshalIndent(j.Spec, "", " ")
			t.Errorf("%s: not so in %s", name, raw)
		}
	}
}

// A token and a sample are mounted, each as the one key that was named, and the probe reads them as files: nothing of them stands in the manifest.
func TestCronJobFiles(t *testing.T) {
	c := sample()
	c.Token, c.Sample = settings.Object{Name: "caller", Key: "token"}, settings.Object{Name: "inputs", Key: "iris.json"}
	pod := c.job().Spec.JobTemplate.Spec.Template.Spec
	box := pod.Containers[0]
	for name, ok := range map[string]bool{
		"the token's file":   slices.Contains(box.Args, "--token-file=/etc/probe/token/token"),
		"the sample's file":  slices.Contains(box.Args, "--data=@/etc/probe/sample/iris.json"),
		"mounted, read only": len(box.VolumeMounts) == 2 && box.VolumeMounts[0].ReadOnly && box.VolumeMounts[1].MountPath == "/etc/probe/sample",
		"one key each": len(pod.Volumes) == 2 && pod.Volumes[0].Secret.SecretName == "caller" && pod.Volumes[0].Secret.Items[0].Key == "token" &&
			pod.Volumes[1].ConfigMap.Name == "inputs" && pod.Volumes[1].ConfigMap.Items[0].Key == "iris.json",
		"none unasked": len(sample().job().Spec.JobTemplate.Spec.Template.Spec.Volumes) == 0,
	} {
		if !ok {
			t.Errorf("%s: not so: %q %+v", name, box.Args, pod.Volumes)
		}
	}
}

func TestCronJobLeavesArguments(t *testing.T) {
	c := sample()
	c.Args = append(make([]string, 0, 8), c.Args...)
	c.job()
	if beyond := c.Args[:3][2]; beyond != "" {
		t.Errorf("wrote %q behind the caller's arguments", beyond)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*CronJob)
		says   string // "" when it is right
	}{
		{"five fields", func(c *CronJob) { c.Schedule = "0 3 * * 1-5" }, ""},
		{"a macro", func(c *CronJob) { c.Schedule = "@hourly" }, ""},
		{"a leap day", func(c *CronJob) { c.Schedule = "0 0 29 2 *" }, ""},
		{"words", func(c *CronJob) { c.Schedule = "every 5 minutes" }, `schedule "every 5 minutes": expected exactly 5 fields, found 3`},
		{"nothing", func(c *CronJob) { c.Schedule = "" }, `schedule "": empty spec string`},
		{"seconds too", func(c *CronJob) { c.Schedule = "0 */5 * * * *" }, "expected exactly 5 fields, found 6"},
		{"minute 60", func(c *CronJob) { c.Schedule = "60 * * * *" }, "end of range (60) above maximum (59)"},
		{"the way out", func(c *CronJob) { c.Schedule = "5 minutes" }, "as in '*/5 * * * *'"},
		{"a day that never comes", func(c *CronJob) { c.Schedule = "0 0 31 2 *" }, "that time never comes"},
		{"a time zone", func(c *CronJob) { c.Schedule = "CRON_TZ=Europe/Berlin 0 3 * * *" }, "a time zone cannot stand in it"},
		{"a time zone cut short", func(c *CronJob) { c.Schedule = "TZ=0" }, "a time zone cannot stand in it"},
		{"a long name", func(c *CronJob) { c.Name = strings.Repeat("a", 53) }, "longer than the 52 characters"},
		{"the longest name", func(c *CronJob) { c.Name = strings.Repeat("a", 52) }, ""},
		{"a name with capitals", func(c *CronJob) { c.Name = "Iris" }, `name "Iris": a lowercase RFC 1123 subdomain`},
		{"a namespace with a slash", func(c *CronJob) { c.Namespace = "a/b" }, `namespace "a/b": `},
		{"no image", func(c *CronJob) { c.Image = " " }, `image " ": give the name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := sample()
			c.change(&j)
			switch err := j.Check(); {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
