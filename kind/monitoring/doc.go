// Package monitoring checks the alert rules and the dashboard that the agent ships, with the libraries that promtool is made of and a JSON schema.
// It holds tests only, in a module of its own, so that Prometheus never enters the product's dependencies. The names of series that it knows are
// those of probe/agent/metrics/testdata/metrics.txt, which the product's own tests keep true.
//
// doc.go: what is checked here.
//
//   - series_test.go: the exposition is read by Prometheus' own parser
//   - rules_test.go: the rules are valid, and fire and keep silent as testdata/alerts_test.yaml says; promtool reads that file too
//   - dashboard_test.go: the dashboard is of the form that Grafana reads, and its expressions find something
//   - push_test.go: what a CronJob pushes by OTLP has the same names
//
// Run it with -count=1: Go's test cache does not notice changes of files outside the module.
package monitoring
